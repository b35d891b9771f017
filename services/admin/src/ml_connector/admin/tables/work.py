"""What is accepted, what waits, and what NetSuite is known to hold."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from ml_connector.admin.tables.columns import generation, metadata, ms, string

# `pipedrive.events` and `pipedrive.requests`: every cause that was accepted, where it stood last, how often it came.
# `account` is empty until the flow is known.
accepted: Final = Table(
    "accepted",
    metadata,
    string("cause", primary_key=True),
    string("account", primary_key=True),
    string("flow"),
    string("topic"),
    Column("topic_partition", Integer, nullable=False),
    Column("topic_offset", BigInteger, nullable=False),
    ms("at_ms"),
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
    string("cause"),
    string("account"),
    string("flow"),
    Index("parked_of_cause", "cause"),
    Index("parked_of_account", "account"),
)

# `netsuite.desired`: the live keys, so exactly the unsettled work.
waiting: Final = Table(
    "waiting",
    metadata,
    string("key", primary_key=True),
    string("cause"),
    string("account"),
    string("flow"),
    string("lane"),
    string("record_key"),
    string("parent_key"),
    Index("waiting_of_account", "account"),
    Index("waiting_of_cause", "cause"),
    Index("waiting_of_record", "record_key"),
    Index("waiting_for_parent", "parent_key"),
)

# `netsuite.observed`: what NetSuite is known to hold. `account` as in the key: in lower case.
observed: Final = Table(
    "observed",
    metadata,
    string("record_key", primary_key=True),
    string("flow"),
    string("account"),
    *generation(),
    string("cause"),
    string("outcome"),
    string("action"),
    string("internal_id"),
    ms("at_ms"),
    Index("observed_internal_id", "internal_id"),
)

# `netsuite.observed`: accounts that are suspended, flows that are halted. Key: `keys.account_key`, `keys.flow_key`.
standing: Final = Table(
    "standing",
    metadata,
    string("key", primary_key=True),
    string("state"),
    string("reason"),
    ms("at_ms"),
)
