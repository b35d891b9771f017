"""What is accepted, what waits, what NetSuite is known to hold: five topics."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from ml_connector.admin.fold.reading import drop, last_by_key, put, read, refuse, some
from ml_connector.admin.fold.standings import put_standings
from ml_connector.admin.tables import accepted, flow, observed, parked, waiting
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.kafka.record import Record
from ml_connector.common.keys import DesiredKey
from ml_connector.common.syncing import is_sync
from ml_connector.common.wire import Desired, Observed, Outcome, Received

_SKIPPED: Final = ("attempt/", "job/")
_STANDINGS: Final = ("account/", "flow/")
SYNC: Final = "syn:"
NOWHERE: Final = -1

# -- accepted, put aside -----------------------------------------------------------------------------------------------


class _Work(NamedTuple):
    """Which cause a message is, and whose. `account` is empty when only the flow says it."""

    cause: str
    flow: str
    account: str


class _Said(msgspec.Struct):
    """What a body says of itself."""

    kind: Any = None
    flow: Any = None
    request_id: Any = None
    meta: dict[str, Any] = {}


def fold_events(connection: Connection, records: Sequence[Record]) -> None:
    """Each offset is one delivery, however often it is read."""
    given = [record for record in records if not (h.asks(record.headers) or is_sync(record.headers))]
    work = [(record, _work_of(record)) for record in given]
    accounts = _accounts(connection, [one for _, one in work])
    rows = [
        {
            "cause": one.cause,
            "account": one.account or accounts.get(one.flow, ""),
            "flow": one.flow,
            "topic": _topic_name(record),
            "topic_partition": record.partition,
            "topic_offset": record.offset,
            "at_ms": record.timestamp_ms,
            "deliveries": 1,
        }
        for record, one in work
    ]
    put(connection, accepted, rows, add=["deliveries"], only_newer=["topic", "topic_partition", "topic_offset"])


def fold_deferred(connection: Connection, records: Sequence[Record]) -> None:
    work = [(record, _work_of(record)) for record in records if not is_sync(record.headers)]
    accounts = _accounts(connection, [one for _, one in work])
    rows = [
        {
            "topic_partition": record.partition,
            "topic_offset": record.offset,
            "cause": one.cause,
            "account": one.account or accounts.get(one.flow, ""),
            "flow": one.flow,
        }
        for record, one in work
    ]
    put(connection, parked, rows)


def put_synced(connection: Connection, entries: Sequence[Received | Outcome]) -> None:
    """A page of a sync is no cause; its objects are, and only the audit names them. Each is accepted by whatever is
    told of it: what is to be written of an object is written before the audit says that it was read."""
    rows = [
        {
            "cause": entry.cause,
            "account": entry.account,
            "flow": entry.flow,
            "topic": topics.PIPEDRIVE_REQUESTS.name,
            "topic_partition": entry.partition if isinstance(entry, Received) else NOWHERE,
            "topic_offset": entry.offset if isinstance(entry, Received) else NOWHERE,
            "at_ms": entry.received_at_ms,
            "deliveries": 1,
        }
        for entry in entries
        if entry.cause.startswith(SYNC)
    ]
    put(connection, accepted, rows, only_newer=["topic_offset", "topic_partition"])


def _topic_name(record: Record) -> str:
    """Without the environment's prefix."""
    name = topics.PIPEDRIVE_REQUESTS.name
    return name if record.topic.endswith(name) else topics.EVENTS.name


def _work_of(record: Record) -> _Work:
    """As the resolver finds the cause, in a few lines of our own."""
    of_flow, account = h.text(record.headers, h.FLOW), h.text(record.headers, h.ACCOUNT)
    cause = h.text(record.headers, h.CAUSE)
    if cause:
        return _Work(cause, of_flow, account)
    body = record.value or b""
    said = _said(body)
    if said.kind == "hydrate":
        return _Work(f"hyd:{said.request_id}", said.flow if isinstance(said.flow, str) else "", "")
    if said.meta.get("webhook_id") and said.meta.get("id"):
        return _Work(f"{said.meta['webhook_id']}:{said.meta['id']}", of_flow, account)
    return _Work(f"raw:{hashlib.sha256(body).hexdigest()[:32]}", of_flow, account)


def _said(body: bytes) -> _Said:
    """Nothing when it is not JSON, or not UTF-8."""
    try:
        body.decode()
        return msgspec.json.decode(body, type=_Said)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return _Said()


def _accounts(connection: Connection, work: Sequence[_Work]) -> dict[str, str]:
    """Of the flows that messages name instead of an account."""
    found: dict[str, str] = {}
    for part in some(one.flow for one in work if not one.account):
        rows = connection.execute(select(flow).where(flow.c.flow.in_(part)))
        found.update({row.flow: row.account for row in rows})
    return found


# -- waiting -----------------------------------------------------------------------------------------------------------


def fold_desired(connection: Connection, records: Sequence[Record]) -> None:
    """The live keys are the unsettled work; nearly all of the topic is tombstones."""
    rows, gone = [], []
    for key, record in last_by_key(records).items():
        if record.value is None:
            gone.append({"key": key})
        elif (desired := read(Desired, record)) is not None:
            row = _waiting_row(key, desired)
            if row is None:
                refuse(record, "its key is not that of a desired state")
            else:
                rows.append(row)
    put(connection, waiting, rows)
    drop(connection, waiting, gone)


def _waiting_row(key: str, desired: Desired) -> dict[str, Any] | None:
    try:
        parsed = DesiredKey.parse(key)
    except ValueError:
        return None
    return {
        "key": key,
        "cause": parsed.cause,
        "account": desired.account,
        "flow": desired.flow,
        "lane": desired.lane,
        "record_key": parsed.record,
        "parent_key": desired.parent.record_key if desired.parent is not None else "",
    }


# -- observed ----------------------------------------------------------------------------------------------------------


def fold_observed(connection: Connection, records: Sequence[Record]) -> None:
    """Records; accounts and flows that are stopped. Attempts and batches are the writer's own affair."""
    rows, gone = [], []
    standings: dict[str, Record] = {}
    for key, record in last_by_key(records).items():
        if key.startswith(_SKIPPED):
            continue
        if key.startswith(_STANDINGS):
            standings[key] = record
        elif record.value is None:
            gone.append({"record_key": key})
        elif (found := read(Observed, record)) is not None:
            rows.append(_observed_row(key, found))
    put(connection, observed, rows)
    drop(connection, observed, gone)
    put_standings(connection, standings)


def _observed_row(key: str, found: Observed) -> dict[str, Any]:
    return {
        "record_key": key,
        "flow": found.flow,
        "account": key.partition("/")[0],
        "source_version": found.generation.source_version,
        "revision": found.generation.revision,
        "cause": found.cause,
        "outcome": found.outcome,
        "action": found.action,
        "internal_id": found.internal_id or "",
        "at_ms": found.at_ms,
    }
