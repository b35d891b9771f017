"""Flows, and their credentials."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table

from ml_connector.admin.tables.columns import metadata, ms, string

# What never changes in a flow's life: where it reads, where it writes, the prefix of its external ids.
flow: Final = Table(
    "flow",
    metadata,
    string("flow", primary_key=True),
    string("company"),
    string("account"),
    string("prefix"),
)

# `connector.flows`, of which this service is the only writer: a change is made here, and told to the topic.
flow_version: Final = Table(
    "flow_version",
    metadata,
    string("flow", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    ms("applied_at_ms"),
    string("applied_by"),
    Column("value", LargeBinary, nullable=False),
)

active_flow: Final = Table(
    "active_flow",
    metadata,
    string("flow", primary_key=True),
    Column("version", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),  # of two entries the higher one counts
    Column("paused", Boolean, nullable=False),
    ms("resumed_at_ms"),
)

# `connector.secrets`, encrypted as they are there. This service writes all of them but the tokens of Pipedrive.
secret: Final = Table(
    "secret",
    metadata,
    string("key", primary_key=True),
    string("owner"),
    string("name"),
    string("environment"),
    Column("version", Integer, nullable=False),
    string("kek"),
    Column("value", LargeBinary),  # none: deleted here, which the topic does not say yet
)
