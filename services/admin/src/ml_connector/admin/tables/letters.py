"""Dead letters, and what was done to them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from ml_connector.admin.tables.columns import generation, metadata, ms, string

# Where its bytes are (`topic_partition`, `topic_offset` of `dead-letters`) and what its headers say.
dead_letter: Final = Table(
    "dead_letter",
    metadata,
    string("letter_id", primary_key=True),
    string("cause"),
    string("record_key"),
    string("account"),
    string("flow"),
    string("entity"),
    string("source_id"),
    string("stage"),
    string("code"),
    string("field"),
    Column("message", Text, nullable=False),
    string("signature"),  # of its group
    *generation(),
    Column("attempts", Integer, nullable=False),
    ms("first_failed_at_ms"),
    ms("failed_at_ms"),
    ms("expires_at_ms"),
    string("replay_of"),
    string("trace"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("topic_partition", Integer, nullable=False),
    Column("topic_offset", BigInteger, nullable=False),
    string("state"),  # open, resolved, discarded
    string("resolution"),  # of a resolved one: the outcome that a newer state had
    string("resolved_by"),  # its cause
    ms("resolved_at_ms"),
    Index("letters_by_time", "failed_at_ms", "letter_id"),
    Index("letters_by_state", "state", "failed_at_ms", "letter_id"),
    Index("letters_of_flow", "flow", "state", "failed_at_ms", "letter_id"),
    Index("letters_of_account", "account", "state", "failed_at_ms", "letter_id"),
    Index("letters_by_stage", "state", "account", "stage"),
    Index("letters_of_group", "signature", "state"),
    Index("letters_of_record", "record_key", "signature"),
    Index("letters_of_record_by_state", "record_key", "state"),
    Index("letters_of_cause", "cause"),
    Index("letters_by_place", "topic_partition", "topic_offset"),
)

# Kept apart, since an act may be read before its letter.
discarded: Final = Table(
    "discarded",
    metadata,
    string("letter_id", primary_key=True),
    ms("at_ms"),
    string("actor"),
    string("reason"),
)

# The newest edited copy of a letter's event.
edited: Final = Table(
    "edited",
    metadata,
    string("letter_id", primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    ms("at_ms"),
    string("actor"),
    string("reason"),
)
