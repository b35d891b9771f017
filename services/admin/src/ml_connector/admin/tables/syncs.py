"""Syncs, what begins them by itself, and what is known of gaps."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Integer, LargeBinary, Table

from ml_connector.admin.tables.columns import metadata, ms, string

sync: Final = Table(
    "sync",
    metadata,
    string("job_id", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    string("flow"),
    string("state"),
    string("purpose"),  # sync, compare
    string("of"),  # the reconcile that it mends
    ms("created_at_ms"),
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
    string("job_id", primary_key=True),
    string("entity", primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# What schedules have begun, and what not.
schedule: Final = Table(
    "schedule",
    metadata,
    string("flow", primary_key=True),
    string("kind", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    Column("value", LargeBinary, nullable=False),  # the entry
)

# What is known of each flow's gaps, and what was done about them.
catch_up: Final = Table(
    "catch_up",
    metadata,
    string("flow", primary_key=True),
    Column("version", Integer, nullable=False),  # of its entry in `connector.jobs`: the higher one counts
    Column("value", LargeBinary, nullable=False),  # the entry
)

# Until when ingest is known to have run.
heard: Final = Table(
    "heard",
    metadata,
    string("name", primary_key=True),
    ms("up_ms"),
    Column("value", LargeBinary, nullable=False),
)

# `pipedrive.state`: whether a flow's deliveries arrive, as the company's owner sees it.
deliveries: Final = Table(
    "deliveries",
    metadata,
    string("company", primary_key=True),
    string("flow", primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
