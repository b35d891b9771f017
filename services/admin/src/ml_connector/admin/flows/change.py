"""Apply a flow, activate one of its versions, pause it, let it go on. Only this writes `connector.flows`.

Each is one transaction: the tables, the act, and the messages that tell of both. Before it the tables must hold all
that the topic holds: a version's number is given once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from ml_connector.admin.acts import record_act
from ml_connector.admin.changing import LEVEL_S, Level, Said, alone
from ml_connector.admin.database import Database
from ml_connector.admin.flows.fits import Fit
from ml_connector.admin.flows.look import Known, find, find_version, identities
from ml_connector.admin.fold.flows import put_active, put_versions
from ml_connector.admin.outbox import put_message
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.tables import flow_version
from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.codec import Wire
from ml_connector.common.errors import InvalidFlow
from ml_connector.common.flow_identity import identity_problems
from ml_connector.common.flows import ActiveFlow, Flow, FlowVersion, document_of, parse_flow
from ml_connector.common.wire import ActKind

Fitting = Callable[[Flow], Awaitable[Fit]]


class Changed(NamedTuple):
    """`changed`: False when it was like that already, and nothing was done. `unchecked`: as of a Fit."""

    known: Known
    changed: bool
    unchecked: str = ""


class Flows:
    """`expect` that does not hold is a Conflict. All raise TryLater while the topic is not read to its end."""

    def __init__(self, database: Database, level: Level, fits: Fitting, clock: Clock) -> None:
        self._database = database
        self._level = level
        self._fits = fits
        self._clock = clock

    async def apply(self, document: Mapping[str, Any], said: Said, *, check: bool = True) -> Changed:
        """Give it the next version and activate it. Raises InvalidFlow with every problem, Conflict.

        `check`: ask the company's owner, too; if it cannot look now, that is no reason not to apply.
        """
        flow = await asyncio.to_thread(parse_flow, document)
        fit = Fit(unchecked="it was not asked for")
        if check and not await asyncio.to_thread(self._is_active, flow):
            fit = await self._fits(flow)
        if fit.problems:
            raise InvalidFlow([*fit.problems])
        changed = await self._change(lambda connection, now_ms: self._apply(connection, flow, said, now_ms))
        return changed._replace(unchecked=fit.unchecked if changed.changed else "")

    async def activate(self, name: str, number: int, said: Said) -> Changed:
        """Another version that was applied before. Raises NotFound, Conflict, InvalidFlow."""

        def change(connection: Connection, now_ms: int) -> Changed:
            before = find(connection, name)
            _refuse_unexpected(before, said)
            version = find_version(connection, name, number)
            version.read()  # what an older release took, this one may not
            if before.active.version == number:
                return Changed(before, changed=False)
            after = _next(before.active, version=number, resumed_at_ms=now_ms)
            return _keep(connection, "flow.activate", Known(after, version), said, now_ms)

        return await self._change(change)

    async def pause(self, name: str, said: Said) -> Changed:
        """Write nothing of it to NetSuite. Raises NotFound, Conflict."""

        def change(connection: Connection, now_ms: int) -> Changed:
            before = find(connection, name)
            _refuse_unexpected(before, said)
            if before.active.paused:
                return Changed(before, changed=False)
            after = before._replace(active=_next(before.active, paused=True))
            return _keep(connection, "flow.pause", after, said, now_ms)

        return await self._change(change)

    async def resume(self, name: str, said: Said) -> Changed:
        """Also one that has been halted by itself, of which nothing is said here. Raises NotFound, Conflict."""

        def change(connection: Connection, now_ms: int) -> Changed:
            before = find(connection, name)
            _refuse_unexpected(before, said)
            after = before._replace(active=_next(before.active, paused=False, resumed_at_ms=now_ms))
            return _keep(connection, "flow.resume", after, said, now_ms)

        return await self._change(change)

    async def _change(self, change: Callable[[Connection, int], Changed]) -> Changed:
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.FLOWS)
        return await alone(self._database, lambda connection: change(connection, self._clock.now_ms()))

    def _is_active(self, flow: Flow) -> bool:
        with self._database.read() as connection:
            known = _perhaps(connection, flow.flow)
        return known is not None and known.version.document == document_of(flow)

    def _apply(self, connection: Connection, flow: Flow, said: Said, now_ms: int) -> Changed:
        before = _perhaps(connection, flow.flow)
        _refuse_unexpected(before, said)
        if problems := identity_problems(flow, identities(connection)):
            raise InvalidFlow(problems)
        document = document_of(flow)
        if before is not None and before.version.document == document:
            return Changed(before, changed=False)
        version = FlowVersion(
            flow=flow.flow,
            version=_newest(connection, flow.flow) + 1,
            document=document,
            applied_at_ms=now_ms,
            applied_by=said.by.subject,
        )
        put_versions(connection, [version])
        _tell(connection, f"{flow.flow}/v{version.version}", version)
        active = before.active if before is not None else ActiveFlow(flow=flow.flow, version=0)
        after = _next(active, version=version.version, resumed_at_ms=now_ms)
        return _keep(connection, "flow.apply", Known(after, version), said, now_ms)


def _perhaps(connection: Connection, name: str) -> Known | None:
    try:
        return find(connection, name)
    except NotFound:
        return None


def _refuse_unexpected(before: Known | None, said: Said) -> None:
    now = before.active.version if before is not None else 0
    if said.expect is not None and said.expect != now:
        raise Conflict(f"version {now} is active, not {said.expect}: look at it, then ask again")


def _newest(connection: Connection, name: str) -> int:
    return connection.scalar(select(func.max(flow_version.c.version)).where(flow_version.c.flow == name)) or 0


def _next(active: ActiveFlow, **different: Any) -> ActiveFlow:
    return msgspec.structs.replace(active, revision=active.revision + 1, **different)


def _keep(connection: Connection, what: ActKind, known: Known, said: Said, now_ms: int) -> Changed:
    put_active(connection, [known.active])
    _tell(connection, known.active.flow, known.active)
    record_act(
        connection,
        what,
        by=said.by,
        now_ms=now_ms,
        reason=said.reason,
        targets=[known.active.flow],
        detail={"version": known.active.version},
    )
    return Changed(known, changed=True)


def _tell(connection: Connection, key: str, value: Wire) -> None:
    put_message(connection, topics.FLOWS, partition_key=key, key=key, value=value.encode())
