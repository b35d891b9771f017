"""Catch-up."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def _value() -> sa.Column[Any]:
    return sa.Column("value", sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    version = sa.Column("version", sa.Integer(), nullable=False)
    op.create_table("catch_up", _text("flow"), version, _value(), sa.PrimaryKeyConstraint("flow"))
    up_ms = sa.Column("up_ms", sa.BigInteger(), nullable=False)
    op.create_table("heard", _text("name"), up_ms, _value(), sa.PrimaryKeyConstraint("name"))
    op.create_table("deliveries", _text("company"), _text("flow"), _value(), sa.PrimaryKeyConstraint("company", "flow"))
