"""What stops flows: a person, the writer, or Pipedrive's refusal. Told by doctor, and wherever flows are listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from sqlalchemy import Connection, select

from ml_connector.admin.database import Database
from ml_connector.admin.tables import standing
from ml_connector.common import keys
from ml_connector.common.asking import Finding
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import Flow, FlowVersion
from ml_connector.common.keys import RecordType


class Stop(NamedTuple):
    """`subject`: `flow/<flow>`, `company/<company>`, `account/<account>`, `account/<account>/<record type>`."""

    subject: str
    state: str
    reason: str
    at_ms: int


class Stops:
    """Blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self, live: LiveFlow) -> list[Finding]:
        return [self._paused(live), self._stopped(live)]

    def _paused(self, live: LiveFlow) -> Finding:
        name = live.flow.flow
        if live.paused:
            says = "a person has paused it: its events wait, nothing is written"
            return Finding("flow.active", "warning", says, f"`mlc flows resume {name}`")
        return Finding("flow.active", "ok", f"version {live.version} is active")

    def _stopped(self, live: LiveFlow) -> Finding:
        flow = live.flow
        types = [mapping.record for mapping in flow.entities.values()]
        wanted = subjects_of(flow.flow, flow.pipedrive.company, flow.netsuite.account, types)
        with self._database.read() as connection:
            stops = _read(connection, wanted)
        if not stops:
            return Finding("flow.running", "ok", "neither the flow nor its company or account is stopped")
        says = "; ".join(f"{one.subject.partition('/')[2]} is {one.state}: {one.reason}" for one in stops)
        fixes = dict.fromkeys(_fix(flow, one.subject) for one in stops)
        return Finding("flow.running", "failed", says, "; ".join(fixes))


def all_stops(connection: Connection) -> list[Stop]:
    """By subject. What works has none; while a vendor is away, every account may have one."""
    return _read(connection)


def stops_of(version: FlowVersion, stops: Mapping[str, Stop]) -> list[Stop]:
    """Those of these, by subject, that concern this flow."""
    return [stops[subject] for subject in sorted(_subjects(version)) if subject in stops]


def read_stops_of(connection: Connection, version: FlowVersion) -> list[Stop]:
    """Those that concern this flow."""
    return _read(connection, _subjects(version))


def _read(connection: Connection, subjects: Sequence[str] | None = None) -> list[Stop]:
    wanted = select(standing).order_by(standing.c.key)
    rows = connection.execute(wanted if subjects is None else wanted.where(standing.c.key.in_(subjects)))
    return [Stop(row.key, row.state, row.reason, row.at_ms) for row in rows]


def _subjects(version: FlowVersion) -> list[str]:
    """Its document may be one that this release would not take any more."""
    document = version.document
    types = [mapping.get("record", "") for mapping in document.get("entities", {}).values()]
    company, account = document["pipedrive"]["company"], document["netsuite"]["account"]
    return subjects_of(version.flow, company, account, cast(list[RecordType], types))


def subjects_of(flow: str, company: str, account: str, types: Iterable[RecordType]) -> list[str]:
    """The writer calls accounts in lower case."""
    account = account.lower()
    of_types = dict.fromkeys(keys.account_key(account, one) for one in types)
    return [keys.flow_key(flow), keys.company_key(company), keys.account_key(account), *of_types]


def _fix(flow: Flow, subject: str) -> str:
    if subject == keys.flow_key(flow.flow):
        return f"mend it, then `mlc flows resume {flow.flow}`"
    if subject != keys.company_key(flow.pipedrive.company):
        return "mend it: the writer tries again by itself"
    company = flow.pipedrive.company
    if flow.pipedrive.auth == "oauth2":
        return f"`mlc pipedrive connect {company}`, then it goes on by itself"
    return f"`mlc secrets set pipedrive/{company} api-token`, then it goes on by itself"
