"""Where reading goes on, and what only this database knows: `outbox`, `lease` and `connecting` cannot be made anew."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table

from ml_connector.admin.tables.columns import Serial, metadata, ms, string

# Written in the transaction that folds the messages before it. Two replicas cannot both move a position.
position: Final = Table(
    "position",
    metadata,
    string("topic", primary_key=True),
    Column("topic_partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

# What this database was made from: another cluster, or topics made anew, are another story.
origin: Final = Table("origin", metadata, string("name", primary_key=True), string("value"))

# Messages that follow from what was committed here, until the broker has them.
outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    string("topic"),
    string("partition_key"),
    string("key"),
    Column("value", LargeBinary),
)

# Who materializes and replays, until when.
lease: Final = Table(
    "lease",
    metadata,
    string("name", primary_key=True),
    string("owner"),
    ms("until_ms"),
)

# Authorizations at Pipedrive that somebody asked for, by the SHA-256 of their state.
connecting: Final = Table(
    "connecting",
    metadata,
    string("state_hash", primary_key=True),
    string("company"),
    string("environment"),
    string("token_url"),
    string("redirect_uri"),
    string("actor"),
    string("role"),
    string("reason"),
    ms("expires_at_ms"),
    Column("used", Boolean, nullable=False),
    Index("connecting_by_end", "expires_at_ms"),
)
