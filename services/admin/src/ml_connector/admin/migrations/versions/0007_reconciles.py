"""Reconciles beside the syncs, and which sync mends one."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False, server_default=default)


def upgrade() -> None:
    op.add_column("sync", _text("purpose", "sync"))
    op.add_column("sync", _text("of", ""))
    op.create_index("syncs_of", "sync", ["of"], unique=False)
