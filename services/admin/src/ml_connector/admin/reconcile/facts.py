"""What the tables know of the records of a report: letters, work under way, the newest state and its mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, select

from ml_connector.admin.fold.audit import RESOLVED, inflated
from ml_connector.admin.fold.reading import some
from ml_connector.admin.fold.states import OPEN
from ml_connector.admin.reconcile.why import Facts
from ml_connector.admin.tables import cause, dead_letter, flow_version, newest, outcome, step, waiting
from ml_connector.common import keys
from ml_connector.common.errors import ConnectorError
from ml_connector.common.flows import Flow, FlowVersion, mapping_digest
from ml_connector.common.generation import REST_READ_SLACK_MS
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Resolved


@dataclass(frozen=True, slots=True)
class _Newest:
    source_version: int
    cause: str


def facts_of(connection: Connection, flow: Flow, entity: Entity, source_ids: Sequence[str]) -> dict[str, Facts]:
    """By source id. Objects without one, or of an entity that the flow does not map any more, are left out."""
    mapping = flow.mapping_of(entity)
    if mapping is None:
        return {}
    key_of = {
        one: keys.record_key(flow.netsuite.account, mapping.record, keys.external_id(flow.external_ids, entity, one))
        for one in source_ids
        if keys.is_source_id(one)
    }
    record_keys = list(key_of.values())
    letters = _letters(connection, record_keys)
    waits = _waiting(connection, record_keys)
    under_way, seen = _causes(connection, flow, entity, key_of)
    known = _newest(connection, record_keys)
    remapped = _remapped(connection, flow, [one.cause for one in known.values()])
    found = {}
    for source_id, key in key_of.items():
        state = known.get(key)
        found[source_id] = Facts(
            waits=key in waits or source_id in under_way,
            letter_id=letters.get(key, ""),
            seen=source_id in seen,
            known_ms=0 if state is None else _as_of(state),
            remapped=None if state is None else remapped.get(state.cause),
        )
    return found


def _as_of(state: _Newest) -> int:
    """What was read over REST is newer than its generation says (DESIGN section 3)."""
    is_read = state.cause.startswith(("syn:", "hyd:"))
    return state.source_version + (REST_READ_SLACK_MS if is_read else 0)


def _letters(connection: Connection, record_keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in some(record_keys):
        is_open = and_(dead_letter.c.record_key.in_(part), dead_letter.c.state == OPEN)
        rows = connection.execute(select(dead_letter.c.record_key, dead_letter.c.letter_id).where(is_open))
        found.update({row.record_key: row.letter_id for row in rows})
    return found


def _waiting(connection: Connection, record_keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in some(record_keys):
        found.update(connection.scalars(select(waiting.c.record_key).where(waiting.c.record_key.in_(part))))
    return found


def _causes(
    connection: Connection, flow: Flow, entity: Entity, source_ids: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """Objects with a cause that has no outcome yet; those with any."""
    under_way: set[str] = set()
    seen: set[str] = set()
    ended = exists().where(outcome.c.cause == cause.c.cause)
    for part in some(source_ids):
        of_objects = and_(cause.c.source_id.in_(part), cause.c.entity == entity, cause.c.flow == flow.flow)
        for row in connection.execute(select(cause.c.source_id, ended.label("ended")).where(of_objects).distinct()):
            seen.add(row.source_id)
            if not row.ended:
                under_way.add(row.source_id)
    return under_way, seen


def _newest(connection: Connection, record_keys: Sequence[str]) -> dict[str, _Newest]:
    found: dict[str, _Newest] = {}
    for part in some(record_keys):
        for row in connection.execute(select(newest).where(newest.c.record_key.in_(part))):
            found[row.record_key] = _Newest(row.source_version, row.cause)
    return found


def _remapped(connection: Connection, flow: Flow, causes: Sequence[str]) -> dict[str, bool]:
    """Whether each of them was mapped otherwise than the flow maps now; of those that the audit still has."""
    now = mapping_digest(flow)
    same: dict[int, bool] = {}
    found: dict[str, bool] = {}
    for part in some(causes):
        steps = and_(step.c.cause.in_(part), step.c.kind == RESOLVED)
        for row in connection.execute(select(step.c.cause, step.c.value).where(steps)):
            version = Resolved.decode(inflated(row.value)).mapping_version
            if version not in same:
                same[version] = _digest(connection, flow.flow, version) == now
            found[row.cause] = not same[version]
    return found


def _digest(connection: Connection, flow: str, version: int) -> str:
    """Empty for a version that is not known, or that this release would not take any more."""
    of_version = and_(flow_version.c.flow == flow, flow_version.c.version == version)
    value = connection.scalar(select(flow_version.c.value).where(of_version))
    try:
        return "" if value is None else mapping_digest(FlowVersion.decode(value).read())
    except ConnectorError:
        return ""
