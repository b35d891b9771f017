"""Authorizations at Pipedrive that somebody asked for."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def upgrade() -> None:
    op.create_table(
        "connecting",
        _text("state_hash"),
        _text("company"),
        _text("environment"),
        _text("token_url"),
        _text("redirect_uri"),
        _text("actor"),
        _text("role"),
        _text("reason"),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash"),
    )
    op.create_index("connecting_by_end", "connecting", ["expires_at_ms"], unique=False)
