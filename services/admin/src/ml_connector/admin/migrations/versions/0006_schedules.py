"""Schedules."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def upgrade() -> None:
    op.create_table(
        "schedule",
        _text("flow"),
        _text("kind"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "kind"),
    )
    op.create_index("syncs_of_flow", "sync", ["flow", "created_at_ms"], unique=False)
