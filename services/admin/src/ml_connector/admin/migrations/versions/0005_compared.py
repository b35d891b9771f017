"""What was compared with NetSuite, and what differs."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def _int(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "compared",
        _text("job_id"),
        _text("entity"),
        _int("page"),
        _int("part"),
        _int("parts"),
        _int("first_page"),
        _text("flow"),
        _text("account"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        _int("records"),
        _int("equal"),
        _int("unmapped"),
        sa.Column("failed", sa.Text(), nullable=False),
        sa.Column("covered", sa.LargeBinary(), nullable=False),
        sa.Column("not_comparable", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "entity", "page", "part"),
    )
    op.create_index("compared_by_time", "compared", ["at_ms", "job_id"], unique=False)
    op.create_table(
        "difference",
        _text("job_id"),
        _text("entity"),
        _int("page"),
        _int("part"),
        _int("number"),
        _text("flow"),
        _text("source_id"),
        _text("external_id"),
        _text("found"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "entity", "page", "part", "number"),
    )
    op.create_index("differences_of_object", "difference", ["flow", "entity", "source_id"], unique=False)
