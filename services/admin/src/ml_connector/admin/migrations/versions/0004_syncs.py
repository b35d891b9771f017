"""Syncs and their walks."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def upgrade() -> None:
    op.create_table(
        "sync",
        _text("job_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        _text("flow"),
        _text("state"),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("syncs_by_time", "sync", ["created_at_ms", "job_id"], unique=False)
    op.create_index("syncs_by_state", "sync", ["state"], unique=False)
    op.create_table(
        "sync_walk",
        _text("job_id"),
        _text("entity"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "entity"),
    )
