"""Flows and credentials."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def upgrade() -> None:
    op.create_table(
        "flow_version",
        _text("flow"),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("applied_at_ms", sa.BigInteger(), nullable=False),
        _text("applied_by"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "version"),
    )
    op.create_table(
        "active_flow",
        _text("flow"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("resumed_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("flow"),
    )
    op.create_table(
        "secret",
        _text("key"),
        _text("owner"),
        _text("name"),
        _text("environment"),
        sa.Column("version", sa.Integer(), nullable=False),
        _text("kek"),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
