"""What comparisons with NetSuite found."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from ml_connector.admin.tables.columns import metadata, ms, string

# `audit`: a part of a page that was compared with NetSuite, of whichever job. Void are a page before the newest
# `first_page` of its walk, and a part above the `parts` that the page's part 1 tells of: see `compared.valid`.
compared: Final = Table(
    "compared",
    metadata,
    string("job_id", primary_key=True),
    string("entity", primary_key=True),
    Column("page", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("parts", Integer, nullable=False),
    Column("first_page", Integer, nullable=False),
    string("flow"),
    string("account"),
    ms("at_ms"),
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
    string("job_id", primary_key=True),
    string("entity", primary_key=True),
    Column("page", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    string("flow"),
    string("source_id"),
    string("external_id"),
    string("found"),
    Column("value", LargeBinary, nullable=False),  # JSON: a `comparing.Difference`
    Index("differences_of_object", "flow", "entity", "source_id"),
)

# What drift checks found, one row for each time; `ended_at_ms` 0: no later comparison found the record as it should be.
drift: Final = Table(
    "drift",
    metadata,
    string("flow", primary_key=True),
    string("entity", primary_key=True),
    string("source_id", primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    string("job_id"),
    Column("page", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    string("account"),
    string("external_id"),
    string("found"),
    string("did"),
    ms("ended_at_ms"),
    Column("value", LargeBinary, nullable=False),  # JSON: a `comparing.Difference`
    Index("drift_by_time", "flow", "at_ms"),
    Index("drift_of_all", "at_ms"),
    Index("drift_by_end", "ended_at_ms", "did", "at_ms"),
    Index("drift_left", "flow", "entity", "ended_at_ms"),
    Index("drift_of_job", "job_id"),
)

# `audit`: a page of a poll.
polled: Final = Table(
    "polled",
    metadata,
    string("job_id", primary_key=True),
    Column("page", Integer, primary_key=True, autoincrement=False),
    string("entity"),
    ms("at_ms"),
    Column("rows", Integer, nullable=False),
    Column("known", Integer, nullable=False),
    Column("strange", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("last", Boolean, nullable=False),
    Column("failed", Text, nullable=False),
)
