"""Replays, and each of their items."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, UniqueConstraint

from ml_connector.admin.tables.columns import metadata, ms, string

job: Final = Table(
    "job",
    metadata,
    string("job_id", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    string("state"),
    Column("dry_run", Boolean, nullable=False),
    ms("created_at_ms"),
    ms("changed_at_ms"),
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
    string("job_id", primary_key=True),
    Column("number", Integer, primary_key=True),
    string("letter_id"),
    string("record_key"),
    string("account"),
    string("cause"),
    Column("topic_partition", Integer, nullable=False),
    Column("topic_offset", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    string("state"),
    string("why"),
    Column("found", LargeBinary),  # of a dry run: what would be written
    ms("at_ms"),
    UniqueConstraint("cause", name="item_of_cause"),
    Index("items_by_state", "job_id", "state", "number"),
    Index("items_of_letter", "letter_id"),
)
