"""Indexes for what pages and timers ask for: without them they read whole tables, or one for each row of another."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"

_INDEXES: Final = (
    ("parked_of_cause", "parked", ["cause"]),
    ("parked_of_account", "parked", ["account"]),
    ("waiting_of_cause", "waiting", ["cause"]),
    ("letters_of_flow", "dead_letter", ["flow", "state", "failed_at_ms", "letter_id"]),
    ("letters_of_account", "dead_letter", ["account", "state", "failed_at_ms", "letter_id"]),
    ("letters_of_record_by_state", "dead_letter", ["record_key", "state"]),
    ("letters_by_stage", "dead_letter", ["state", "account", "stage"]),
    ("drift_of_all", "drift", ["at_ms"]),
    ("drift_by_end", "drift", ["ended_at_ms", "did", "at_ms"]),
)


def upgrade() -> None:
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns, unique=False)
