"""What happened: `audit`, folded."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, Table, text

from ml_connector.admin.tables.columns import generation, metadata, ms, string

_REPLAYS: Final = text("replay_of <> ''")

# One row for each cause: what its audit entries say together.
cause: Final = Table(
    "cause",
    metadata,
    string("cause", primary_key=True),
    string("account"),
    string("flow"),
    string("company"),
    string("entity"),
    string("source_id"),
    string("record_key"),
    string("external_id"),
    string("trace"),
    string("replay_of"),
    ms("received_at_ms"),
    Index("cause_of_object", "source_id", "entity", "company", "received_at_ms"),
    Index("cause_of_trace", "trace"),
    Index("cause_replays", "replay_of", sqlite_where=_REPLAYS, postgresql_where=_REPLAYS),
)

# The audit entries themselves, deflated: `received`, `resolved`, `outcome`. Only an outcome's key names a record.
# `subject` is a number for the flow and the Pipedrive object (`fold.audit.subject_of`): a timeline is one range.
step: Final = Table(
    "step",
    metadata,
    string("cause", primary_key=True),
    string("kind", primary_key=True),
    string("record_key", primary_key=True),
    ms("subject"),
    ms("at_ms"),
    Column("value", LargeBinary, nullable=False),
    Index("step_of_subject", "subject", "at_ms"),
)

# The outcome of a cause for a record, as accounting counts them. Bytes that name no event are one cause wherever they
# came in, so also of two accounts.
outcome: Final = Table(
    "outcome",
    metadata,
    string("cause", primary_key=True),
    string("record_key", primary_key=True),
    string("account", primary_key=True),
    string("outcome"),
    Index("outcome_of_account", "account", "outcome"),
)

# Every name that an object has had, folded for the search.
named: Final = Table(
    "named",
    metadata,
    string("folded", primary_key=True),
    string("company", primary_key=True),
    string("entity", primary_key=True),
    string("source_id", primary_key=True),
    string("name"),
    ms("at_ms"),
    Index("name_of_object", "company", "entity", "source_id"),
)

# The newest state of a record that has an outcome of its own, by generation (a superseded one has a newer beside it).
newest: Final = Table(
    "newest",
    metadata,
    string("record_key", primary_key=True),
    *generation(),
    string("cause"),
    string("outcome"),
    ms("at_ms"),
)

# `act/<id>`: who did what, why, to what.
act: Final = Table(
    "act",
    metadata,
    string("act_id", primary_key=True),
    ms("at_ms"),
    string("actor"),
    string("role"),
    string("act"),
    string("reason"),
    Column("value", LargeBinary, nullable=False),
    Index("act_by_time", "at_ms", "act_id"),
)

# Which letters, records and jobs an act was about.
act_target: Final = Table(
    "act_target",
    metadata,
    string("target", primary_key=True),
    string("act_id", primary_key=True),
)
