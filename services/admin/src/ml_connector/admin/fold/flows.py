"""`connector.flows`: the versions of each flow, which of them is active, and whose its records are.

Of two entries that say which version is active the one with the higher revision counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, select, update

from ml_connector.admin.fold.reading import drop, last_by_key, put, read, refuse, some
from ml_connector.admin.tables import accepted, active_flow, flow, flow_version, parked
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.kafka.record import Record


class _Pipedrive(msgspec.Struct):
    company: str


class _NetSuite(msgspec.Struct):
    account: str


class _Document(msgspec.Struct):
    """The part of a flow that never changes."""

    pipedrive: _Pipedrive
    netsuite: _NetSuite
    external_ids: str


def fold_flows(connection: Connection, records: Sequence[Record]) -> None:
    """An entry under another key than its own is refused."""
    last = last_by_key(records)
    _fold_versions(connection, {key: record for key, record in last.items() if "/v" in key})
    _fold_active(connection, {key: record for key, record in last.items() if "/v" not in key})


def _fold_versions(connection: Connection, records: dict[str, Record]) -> None:
    """Of a deleted version what never changes in a flow's life stays known: its records are still there."""
    versions: list[FlowVersion] = []
    gone: list[dict[str, Any]] = []
    for key, record in records.items():
        name, _, number = key.rpartition("/v")
        if record.value is None:
            gone += [{"flow": name, "version": int(number)}] if number.isdecimal() else []
        elif (version := read(FlowVersion, record)) is not None:
            if key == f"{version.flow}/v{version.version}":
                versions.append(version)
            else:
                refuse(record, "it belongs under another key")
    for version in put_versions(connection, versions):
        refuse(records[f"{version.flow}/v{version.version}"], "a flow without a company or an account")
    drop(connection, flow_version, gone)


def put_versions(connection: Connection, versions: Sequence[FlowVersion]) -> list[FlowVersion]:
    """Those that do not say whose they are. Messages may have been read before their flow was known."""
    put(connection, flow_version, [_version_row(one) for one in versions])
    rows: dict[str, dict[str, str]] = {}
    nobodys: list[FlowVersion] = []
    for version in versions:
        row = _flow_row(version)
        if row is None:
            nobodys.append(version)
        else:
            rows[version.flow] = row
    put(connection, flow, list(rows.values()))
    for table in (accepted, parked):
        for part in some(rows):
            of_nobody = and_(table.c.account == "", table.c.flow.in_(part))
            for name in connection.scalars(select(table.c.flow).where(of_nobody).distinct()).all():
                unknown = update(table).where(table.c.account == "", table.c.flow == name)
                connection.execute(unknown.values(account=rows[name]["account"]))
    return nobodys


def _version_row(version: FlowVersion) -> dict[str, Any]:
    return {
        "flow": version.flow,
        "version": version.version,
        "applied_at_ms": version.applied_at_ms,
        "applied_by": version.applied_by,
        "value": version.encode(),
    }


def _fold_active(connection: Connection, records: dict[str, Record]) -> None:
    entries: list[ActiveFlow] = []
    gone: list[dict[str, Any]] = []
    for key, record in records.items():
        if record.value is None:
            gone.append({"flow": key})
        elif (entry := read(ActiveFlow, record)) is not None:
            if entry.flow == key:
                entries.append(entry)
            else:
                refuse(record, "it belongs under another key")
    known: dict[str, int] = {}
    for part in some(entry.flow for entry in entries):
        rows = connection.execute(select(active_flow).where(active_flow.c.flow.in_(part)))
        known |= {row.flow: row.revision for row in rows}
    put_active(connection, [one for one in entries if one.revision >= known.get(one.flow, 0)])
    drop(connection, active_flow, gone)


def put_active(connection: Connection, entries: Sequence[ActiveFlow]) -> None:
    rows = [
        {
            "flow": one.flow,
            "version": one.version,
            "revision": one.revision,
            "paused": one.paused,
            "resumed_at_ms": one.resumed_at_ms,
        }
        for one in entries
    ]
    put(connection, active_flow, rows)


def _flow_row(version: FlowVersion) -> dict[str, str] | None:
    """Also of a document that this release would not take any more."""
    try:
        found = msgspec.convert(version.document, _Document)
    except msgspec.ValidationError:
        return None
    return {
        "flow": version.flow,
        "company": found.pipedrive.company,
        "account": found.netsuite.account,
        "prefix": found.external_ids,
    }
