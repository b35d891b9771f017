"""What the admin service keeps in SQL: everything but `outbox`, `lease` and `connecting`
can be rebuilt from the topics alone.

Times are ms since the epoch. A generation is two columns, compared in that order. `alembic` makes these tables from
`migrations/`; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData()

# SQLite counts up by itself only in a column of its own INTEGER.
_Number: Final = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte on either database, so that a prefix is a range.
_Text: Final = String().with_variant(String(collation="C"), "postgresql")


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, _Text, nullable=False, **more)


def _ms(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _generation() -> tuple[Column[int], Column[int]]:
    return _ms("source_version"), _ms("revision")


# -- where reading goes on ---------------------------------------------------------------------------------------------

# Written in the transaction that folds the messages before it. Two replicas cannot both move a position.
position: Final = Table(
    "position",
    metadata,
    _text("topic", primary_key=True),
    Column("topic_partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

# What this database was made from: another cluster, or topics made anew, are another story.
origin: Final = Table("origin", metadata, _text("name", primary_key=True), _text("value"))

# -- what happened -----------------------------------------------------------------------------------------------------

_REPLAYS: Final = text("replay_of <> ''")

# One row for each cause: what its audit entries say together. `subject` is the Pipedrive object.
cause: Final = Table(
    "cause",
    metadata,
    _text("cause", primary_key=True),
    _text("account"),
    _text("flow"),
    _text("company"),
    _text("entity"),
    _text("source_id"),
    _text("record_key"),
    _text("external_id"),
    _text("trace"),
    _text("replay_of"),
    _ms("received_at_ms"),
    Index("cause_of_object", "source_id", "entity", "company", "received_at_ms"),
    Index("cause_of_trace", "trace"),
    Index("cause_replays", "replay_of", sqlite_where=_REPLAYS, postgresql_where=_REPLAYS),
)

# The audit entries themselves, deflated: `received`, `resolved`, `outcome`. Only an outcome's key names a record.
# `subject` is a number for the flow and the Pipedrive object (`fold.audit.subject_of`): a timeline is one range.
step: Final = Table(
    "step",
    metadata,
    _text("cause", primary_key=True),
    _text("kind", primary_key=True),
    _text("record_key", primary_key=True),
    _ms("subject"),
    _ms("at_ms"),
    Column("value", LargeBinary, nullable=False),
    Index("step_of_subject", "subject", "at_ms"),
)

# The outcome of a cause for a record, as accounting counts them. Bytes that name no event are one cause wherever they
# came in, so also of two accounts.
outcome: Final = Table(
    "outcome",
    metadata,
    _text("cause", primary_key=True),
    _text("record_key", primary_key=True),
    _text("account", primary_key=True),
    _text("outcome"),
    Index("outcome_of_account", "account", "outcome"),
)

# Every name that an object has had, folded for the search.
named: Final = Table(
    "named",
    metadata,
    _text("folded", primary_key=True),
    _text("company", primary_key=True),
    _text("entity", primary_key=True),
    _text("source_id", primary_key=True),
    _text("name"),
    _ms("at_ms"),
    Index("name_of_object", "company", "entity", "source_id"),
)

# The newest state of a record that has an outcome of its own, by generation (a superseded one has a newer beside it).
newest: Final = Table(
    "newest",
    metadata,
    _text("record_key", primary_key=True),
    *_generation(),
    _text("cause"),
    _text("outcome"),
    _ms("at_ms"),
)

# `netsuite.observed`: what NetSuite is known to hold. `account` as in the key: in lower case.
observed: Final = Table(
    "observed",
    metadata,
    _text("record_key", primary_key=True),
    _text("flow"),
    _text("account"),
    *_generation(),
    _text("cause"),
    _text("outcome"),
    _text("action"),
    _text("internal_id"),
    _ms("at_ms"),
    Index("observed_internal_id", "internal_id"),
)

# `netsuite.observed`: accounts that are suspended, flows that are halted. Key: `keys.account_key`, `keys.flow_key`.
standing: Final = Table(
    "standing",
    metadata,
    _text("key", primary_key=True),
    _text("state"),
    _text("reason"),
    _ms("at_ms"),
)

# `act/<id>`: who did what, why, to what.
act: Final = Table(
    "act",
    metadata,
    _text("act_id", primary_key=True),
    _ms("at_ms"),
    _text("actor"),
    _text("role"),
    _text("act"),
    _text("reason"),
    Column("value", LargeBinary, nullable=False),
    Index("act_by_time", "at_ms", "act_id"),
)

# Which letters, records and jobs an act was about.
act_target: Final = Table(
    "act_target",
    metadata,
    _text("target", primary_key=True),
    _text("act_id", primary_key=True),
)

# -- what is accepted and waits ----------------------------------------------------------------------------------------

# What never changes in a flow's life: where it reads, where it writes, the prefix of its external ids.
flow: Final = Table(
    "flow",
    metadata,
    _text("flow", primary_key=True),
    _text("company"),
    _text("account"),
    _text("prefix"),
)

# `connector.flows`, of which this service is the only writer: a change is made here, and told to the topic.
flow_version: Final = Table(
    "flow_version",
    metadata,
    _text("flow", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _ms("applied_at_ms"),
    _text("applied_by"),
    Column("value", LargeBinary, nullable=False),
)
active_flow: Final = Table(
    "active_flow",
    metadata,
    _text("flow", primary_key=True),
    Column("version", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),  # of two entries the higher one counts
    Column("paused", Boolean, nullable=False),
    _ms("resumed_at_ms"),
)

# `connector.secrets`, encrypted as they are there. This service writes all of them but the tokens of Pipedrive.
secret: Final = Table(
    "secret",
    metadata,
    _text("key", primary_key=True),
    _text("owner"),
    _text("name"),
    _text("environment"),
    Column("version", Integer, nullable=False),
    _text("kek"),
    Column("value", LargeBinary),  # none: deleted here, which the topic does not say yet
)

# `pipedrive.events` and `pipedrive.requests`: every cause that was accepted, where it stood last, how often it came.
# `account` is empty until the flow is known.
accepted: Final = Table(
    "accepted",
    metadata,
    _text("cause", primary_key=True),
    _text("account", primary_key=True),
    _text("flow"),
    _text("topic"),
    Column("topic_partition", Integer, nullable=False),
    Column("topic_offset", BigInteger, nullable=False),
    _ms("at_ms"),
    Column("deliveries", Integer, nullable=False),
    Index("accepted_of_account", "account"),
    Index("accepted_by_place", "topic", "topic_partition", "topic_offset"),
)

# `pipedrive.deferred`: what was put aside; done with once the resolver has committed beyond it.
parked: Final = Table(
    "parked",
    metadata,
    Column("topic_partition", Integer, primary_key=True),
    Column("topic_offset", BigInteger, primary_key=True),
    _text("cause"),
    _text("account"),
    _text("flow"),
)

# `netsuite.desired`: the live keys, so exactly the unsettled work.
waiting: Final = Table(
    "waiting",
    metadata,
    _text("key", primary_key=True),
    _text("cause"),
    _text("account"),
    _text("flow"),
    _text("lane"),
    _text("record_key"),
    _text("parent_key"),
    Index("waiting_of_account", "account"),
    Index("waiting_of_record", "record_key"),
    Index("waiting_for_parent", "parent_key"),
)

# -- dead letters ------------------------------------------------------------------------------------------------------

# Where its bytes are (`topic_partition`, `topic_offset` of `dead-letters`) and what its headers say.
dead_letter: Final = Table(
    "dead_letter",
    metadata,
    _text("letter_id", primary_key=True),
    _text("cause"),
    _text("record_key"),
    _text("account"),
    _text("flow"),
    _text("entity"),
    _text("source_id"),
    _text("stage"),
    _text("code"),
    _text("field"),
    Column("message", Text, nullable=False),
    _text("signature"),  # of its group
    *_generation(),
    Column("attempts", Integer, nullable=False),
    _ms("first_failed_at_ms"),
    _ms("failed_at_ms"),
    _ms("expires_at_ms"),
    _text("replay_of"),
    _text("trace"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("topic_partition", Integer, nullable=False),
    Column("topic_offset", BigInteger, nullable=False),
    _text("state"),  # open, resolved, discarded
    _text("resolution"),  # of a resolved one: the outcome that a newer state had
    _text("resolved_by"),  # its cause
    _ms("resolved_at_ms"),
    Index("letters_by_time", "failed_at_ms", "letter_id"),
    Index("letters_by_state", "state", "failed_at_ms", "letter_id"),
    Index("letters_of_group", "signature", "state"),
    Index("letters_of_record", "record_key", "signature"),
    Index("letters_of_cause", "cause"),
    Index("letters_by_place", "topic_partition", "topic_offset"),
)

# Kept apart, since an act may be read before its letter.
discarded: Final = Table(
    "discarded",
    metadata,
    _text("letter_id", primary_key=True),
    _ms("at_ms"),
    _text("actor"),
    _text("reason"),
)

# The newest edited copy of a letter's event.
edited: Final = Table(
    "edited",
    metadata,
    _text("letter_id", primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _ms("at_ms"),
    _text("actor"),
    _text("reason"),
)

# -- replays -----------------------------------------------------------------------------------------------------------

job: Final = Table(
    "job",
    metadata,
    _text("job_id", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    _text("state"),
    Column("dry_run", Boolean, nullable=False),
    _ms("created_at_ms"),
    _ms("changed_at_ms"),
    Column("total", Integer, nullable=False),
    Column("issued", Integer, nullable=False),  # items below this number have been written to their topic
    Column("value", LargeBinary, nullable=False),  # the entry
    Index("jobs_by_time", "created_at_ms", "job_id"),
    Index("jobs_by_state", "state"),
)

# `state`: waiting, issued, or how it ended: an outcome, `skipped`, or what a dry run found.
job_item: Final = Table(
    "job_item",
    metadata,
    _text("job_id", primary_key=True),
    Column("number", Integer, primary_key=True),
    _text("letter_id"),
    _text("record_key"),
    _text("account"),
    _text("cause"),
    Column("topic_partition", Integer, nullable=False),
    Column("topic_offset", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    _text("state"),
    _text("why"),
    Column("found", LargeBinary),  # of a dry run: what would be written
    _ms("at_ms"),
    UniqueConstraint("cause", name="item_of_cause"),
    Index("items_by_state", "job_id", "state", "number"),
    Index("items_of_letter", "letter_id"),
)

# -- syncs, reconciles ------------------------------------------------------------------------------------------------

sync: Final = Table(
    "sync",
    metadata,
    _text("job_id", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    _text("flow"),
    _text("state"),
    _text("purpose"),  # sync, compare
    _text("of"),  # the reconcile that it mends
    _ms("created_at_ms"),
    Column("value", LargeBinary, nullable=False),  # the entry
    Index("syncs_by_time", "created_at_ms", "job_id"),
    Index("syncs_by_state", "state"),
    Index("syncs_of_flow", "flow", "created_at_ms"),
    Index("syncs_of", "of"),
)

# `pipedrive.state`: how far the owner's walk over one entity is; gone once the sync has its result.
sync_walk: Final = Table(
    "sync_walk",
    metadata,
    _text("job_id", primary_key=True),
    _text("entity", primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# -- comparisons -------------------------------------------------------------------------------------------------------

# `audit`: a part of a page that was compared with NetSuite, of whichever job. Void are a page before the newest
# `first_page` of its walk, and a part above the `parts` that the page's part 1 tells of: see `compared.valid`.
compared: Final = Table(
    "compared",
    metadata,
    _text("job_id", primary_key=True),
    _text("entity", primary_key=True),
    Column("page", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("parts", Integer, nullable=False),
    Column("first_page", Integer, nullable=False),
    _text("flow"),
    _text("account"),
    _ms("at_ms"),
    Column("records", Integer, nullable=False),
    Column("equal", Integer, nullable=False),
    Column("unmapped", Integer, nullable=False),
    Column("failed", Text, nullable=False),
    Column("covered", LargeBinary, nullable=False),
    Column("not_comparable", LargeBinary, nullable=False),  # JSON: field -> why
    Index("compared_by_time", "at_ms", "job_id"),
)

# One record of such a part that is not as it should be; `found`: `comparing.Found`, or `unmapped`.
difference: Final = Table(
    "difference",
    metadata,
    _text("job_id", primary_key=True),
    _text("entity", primary_key=True),
    Column("page", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("flow"),
    _text("source_id"),
    _text("external_id"),
    _text("found"),
    Column("value", LargeBinary, nullable=False),  # JSON: a `comparing.Difference`
    Index("differences_of_object", "flow", "entity", "source_id"),
)

# What drift checks found, one row for each time; `ended_at_ms` 0: no later comparison found the record as it should be.
drift: Final = Table(
    "drift",
    metadata,
    _text("flow", primary_key=True),
    _text("entity", primary_key=True),
    _text("source_id", primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    _text("job_id"),
    Column("page", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    _text("account"),
    _text("external_id"),
    _text("found"),
    _text("did"),
    _ms("ended_at_ms"),
    Column("value", LargeBinary, nullable=False),  # JSON: a `comparing.Difference`
    Index("drift_by_time", "flow", "at_ms"),
    Index("drift_left", "flow", "entity", "ended_at_ms"),
    Index("drift_of_job", "job_id"),
)

# `audit`: a page of a poll.
polled: Final = Table(
    "polled",
    metadata,
    _text("job_id", primary_key=True),
    Column("page", Integer, primary_key=True, autoincrement=False),
    _text("entity"),
    _ms("at_ms"),
    Column("rows", Integer, nullable=False),
    Column("known", Integer, nullable=False),
    Column("strange", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("last", Boolean, nullable=False),
    Column("failed", Text, nullable=False),
)

# -- schedules ---------------------------------------------------------------------------------------------------------

# What schedules have begun, and what not.
schedule: Final = Table(
    "schedule",
    metadata,
    _text("flow", primary_key=True),
    _text("kind", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    Column("value", LargeBinary, nullable=False),  # the entry
)

# -- catch-up ----------------------------------------------------------------------------------------------------------

# What is known of each flow's gaps, and what was done about them.
catch_up: Final = Table(
    "catch_up",
    metadata,
    _text("flow", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    Column("value", LargeBinary, nullable=False),  # the entry
)

# Until when ingest is known to have run.
heard: Final = Table(
    "heard",
    metadata,
    _text("name", primary_key=True),
    _ms("up_ms"),
    Column("value", LargeBinary, nullable=False),
)

# `pipedrive.state`: whether a flow's deliveries arrive, as the company's owner sees it.
deliveries: Final = Table(
    "deliveries",
    metadata,
    _text("company", primary_key=True),
    _text("flow", primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# -- of this database only ---------------------------------------------------------------------------------------------

# Messages that follow from what was committed here, until the broker has them.
outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    _text("topic"),
    _text("partition_key"),
    _text("key"),
    Column("value", LargeBinary),
)

# Who materializes and replays, until when.
lease: Final = Table(
    "lease",
    metadata,
    _text("name", primary_key=True),
    _text("owner"),
    _ms("until_ms"),
)

# Authorizations at Pipedrive that somebody asked for, by the SHA-256 of their state.
connecting: Final = Table(
    "connecting",
    metadata,
    _text("state_hash", primary_key=True),
    _text("company"),
    _text("environment"),
    _text("token_url"),
    _text("redirect_uri"),
    _text("actor"),
    _text("role"),
    _text("reason"),
    _ms("expires_at_ms"),
    Column("used", Boolean, nullable=False),
    Index("connecting_by_end", "expires_at_ms"),
)
