"""What drift checks found, and the pages of polls."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def _ms(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "drift",
        *map(_text, ("flow", "entity", "source_id")),
        _ms("at_ms"),
        _text("job_id"),
        *map(_number, ("page", "part")),
        *map(_text, ("account", "external_id", "found", "did")),
        _ms("ended_at_ms"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "entity", "source_id", "at_ms"),
    )
    op.create_index("drift_by_time", "drift", ["flow", "at_ms"], unique=False)
    op.create_index("drift_left", "drift", ["flow", "entity", "ended_at_ms"], unique=False)
    op.create_index("drift_of_job", "drift", ["job_id"], unique=False)
    op.create_table(
        "polled",
        _text("job_id"),
        _number("page"),
        _text("entity"),
        _ms("at_ms"),
        *map(_number, ("rows", "known", "strange", "asked")),
        sa.Column("last", sa.Boolean(), nullable=False),
        sa.Column("failed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "page"),
    )
