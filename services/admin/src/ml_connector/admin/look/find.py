"""From what a person types, or a program names, to the Pipedrive objects that are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select

from ml_connector.admin.fold.audit import fold_name
from ml_connector.admin.fold.letters import object_of
from ml_connector.admin.fold.reading import some
from ml_connector.admin.tables import cause, dead_letter, flow, named, observed, standing, waiting
from ml_connector.common import keys
from ml_connector.common.keys import Entity, RecordType, is_source_id

MOST: Final = 50  # objects of one answer
MOST_NAMES: Final = 20  # of one object

ENTITIES: Final[dict[str, Entity]] = {
    "organization": "organization",
    "org": "organization",
    "person": "person",
    "deal": "deal",
}
_TYPES: Final[dict[str, RecordType]] = {"organization": "customer", "person": "contact", "deal": "opportunity"}
_MAPPED: Final = tuple(_TYPES)

_OBJECT: Final = re.compile(r"(?i)(organization|org|person|deal)[ /:#]+([0-9]{1,19})")
_EXTERNAL: Final = re.compile(r"(?i)([a-z0-9]{1,20})-(?:org|person|deal)-[0-9]{1,19}")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_LETTER: Final = re.compile(r"[0-9a-f]{12}")
_CAUSE: Final = re.compile(r"[^\s/#:]+:[^\s/#]+")
_BEHIND_ALL: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Query:
    """`text` as a person types it; or a member that says exactly what is meant, which wins.

    `entity` goes with `source_id`.
    """

    text: str = ""
    entity: str = ""
    source_id: str = ""
    netsuite_id: str = ""
    external_id: str = ""
    cause: str = ""
    trace: str = ""
    letter: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class NetSuiteRecord:
    """The record that a flow keeps for an object; `outcome` and what follows are empty until it has an outcome."""

    flow: str
    account: str
    record_key: str
    external_id: str
    netsuite_id: str = ""
    outcome: str = ""
    action: str = ""
    generation: str = ""
    settled_by: str = ""
    settled_at_ms: int = 0
    waiting: int = 0  # desired states without an outcome
    open_letters: int = 0
    stopped: tuple[str, ...] = ()  # why its account or flow makes no calls now

    @property
    def in_netsuite(self) -> bool:
        return bool(self.netsuite_id)


@dataclass(frozen=True, slots=True)
class Subject:
    """A Pipedrive object; or, if nothing is said of any, a single cause (`cause`)."""

    company: str
    entity: str
    source_id: str
    names: tuple[str, ...] = ()  # the newest first
    flows: tuple[str, ...] = ()  # that work, or have worked, on it
    records: tuple[NetSuiteRecord, ...] = ()
    cause: str = ""


class Place(NamedTuple):
    """Which object."""

    company: str
    entity: str
    source_id: str


def find(connection: Connection, query: Query) -> list[Subject]:
    """The likeliest first; none when nothing is like it."""
    places, causes = _named_exactly(connection, query)
    if not places and not causes and query.text.strip():
        places, causes = _typed(connection, query.text.strip())
    found = _subjects(connection, list(dict.fromkeys(places))[:MOST])
    return found + [Subject("", "", "", cause=one) for one in causes[:MOST]]


# -- which objects -----------------------------------------------------------------------------------------------------

_Found = tuple[list[Place], list[str]]  # objects; causes that concern none


def _named_exactly(connection: Connection, query: Query) -> _Found:
    if query.source_id:
        entity = ENTITIES.get(query.entity)
        return _by_id(connection, query.source_id, [entity] if entity else _MAPPED), []
    if query.netsuite_id:
        return _by_netsuite_id(connection, query.netsuite_id), []
    if query.external_id:
        return _by_external_id(connection, query.external_id), []
    if query.cause:
        return _by_cause(connection, cause.c.cause == query.cause)
    if query.trace:
        return _by_cause(connection, cause.c.trace == query.trace)
    if query.letter:
        return _by_letter(connection, query.letter)
    return (_by_name(connection, query.name), []) if query.name else ([], [])


def _typed(connection: Connection, text: str) -> _Found:
    """What it looks like, then what is called so."""
    places: list[Place] = []
    causes: list[str] = []
    if match := _OBJECT.fullmatch(text):
        places = _by_id(connection, match[2], [ENTITIES[match[1].lower()]])
    elif is_source_id(text):
        places = [*_by_id(connection, text, _MAPPED), *_by_netsuite_id(connection, text)]
    elif _EXTERNAL.fullmatch(text):
        places = _by_external_id(connection, text)
    if not places and _TRACE.fullmatch(text.lower()):
        places, causes = _by_cause(connection, cause.c.trace == text.lower())
    if not places and _LETTER.fullmatch(text.lower()):
        places, causes = _by_letter(connection, text.lower())
    if not places and not causes and _CAUSE.fullmatch(text):
        places, causes = _by_cause(connection, cause.c.cause == text)
    return (places, causes) if causes else ([*places, *_by_name(connection, text)], [])


def _by_id(connection: Connection, source_id: str, entities: Sequence[str]) -> list[Place]:
    """Objects that an event was about, or whose record NetSuite is known to hold."""
    of_cause = (cause.c.company, cause.c.entity, cause.c.source_id)
    rows = connection.execute(
        select(*of_cause).where(cause.c.source_id == source_id, cause.c.entity.in_(entities)).distinct()
    )
    known = [Place(*row) for row in rows]
    if known or not is_source_id(source_id):
        return known
    flows = connection.execute(select(flow)).all()
    wanted = {
        keys.record_key(one.account, _TYPES[entity], keys.external_id(one.prefix, ENTITIES[entity], source_id)): Place(
            one.company, entity, source_id
        )
        for one in flows
        for entity in entities
    }
    held = (
        connection.scalars(select(observed.c.record_key).where(observed.c.record_key.in_(part)))
        for part in some(wanted)
    )
    return [wanted[key] for part in held for key in part]


def _by_external_id(connection: Connection, external: str) -> list[Place]:
    prefix = external.lower().partition("-")[0]
    entity, source_id = object_of(f"-{external}".lower())
    companies = set(connection.scalars(select(flow.c.company).where(func.lower(flow.c.prefix) == prefix)))
    return [place for place in _by_id(connection, source_id, [entity]) if place.company in companies]


def _by_netsuite_id(connection: Connection, internal_id: str) -> list[Place]:
    rows = connection.execute(
        select(observed.c.record_key, flow.c.company)
        .join(flow, flow.c.flow == observed.c.flow)
        .where(observed.c.internal_id == internal_id)
        .limit(MOST)
    )
    return [Place(row.company, *object_of(row.record_key)) for row in rows]


def _by_cause(connection: Connection, which: ColumnElement[bool]) -> _Found:
    rows = connection.execute(
        select(cause.c.cause, cause.c.company, cause.c.entity, cause.c.source_id).where(which).limit(MOST)
    ).all()
    objects = [Place(row.company, row.entity, row.source_id) for row in rows if row.source_id and row.entity in _TYPES]
    return objects, [row.cause for row in rows if not row.source_id or row.entity not in _TYPES]


def _by_letter(connection: Connection, letter_id: str) -> _Found:
    row = connection.execute(
        select(dead_letter.c.cause, dead_letter.c.record_key, flow.c.company)
        .outerjoin(flow, flow.c.flow == dead_letter.c.flow)
        .where(dead_letter.c.letter_id == letter_id)
    ).one_or_none()
    if row is None:
        return [], []
    entity, source_id = object_of(row.record_key)
    if source_id and row.company is not None:
        return [Place(row.company, entity, source_id)], []
    places, causes = _by_cause(connection, cause.c.cause == row.cause)
    return (places, causes) if places or causes else ([], [row.cause])


def _by_name(connection: Connection, name: str) -> list[Place]:
    """Those that are called so, then those whose name begins so."""
    folded = fold_name(name)
    if not folded:
        return []
    columns = (named.c.company, named.c.entity, named.c.source_id)
    exact = connection.execute(
        select(*columns).where(named.c.folded == folded).order_by(named.c.at_ms.desc()).limit(MOST)
    ).all()
    begun = connection.execute(
        select(*columns)
        .where(named.c.folded > folded, named.c.folded < folded + _BEHIND_ALL)
        .order_by(named.c.folded, named.c.source_id)
        .limit(MOST)
    ).all()
    return [Place(*row) for row in (*exact, *begun)]


# -- what is known of them ---------------------------------------------------------------------------------------------


def _subjects(connection: Connection, places: Sequence[Place]) -> list[Subject]:
    if not places:
        return []
    records = _records(connection, places)
    names = _names(connection, places)
    return [
        Subject(
            *place,
            names=names.get(place, ()),
            flows=tuple(one.flow for one in records.get(place, ())) or _flows_of(connection, place),
            records=records.get(place, ()),
        )
        for place in places
    ]


def _flows_of(connection: Connection, place: Place) -> tuple[str, ...]:
    """Of an object whose flows are gone."""
    of_object = select(cause.c.flow).where(_of(cause, place))
    return tuple(connection.scalars(of_object.distinct().order_by(cause.c.flow)))


def _of(table: Table, place: Place) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in place._asdict().items()))


def _records(connection: Connection, places: Sequence[Place]) -> dict[Place, tuple[NetSuiteRecord, ...]]:
    """Of each flow of the object's company the record that it keeps."""
    flows = connection.execute(
        select(flow).where(flow.c.company.in_({place.company for place in places})).order_by(flow.c.flow)
    ).all()
    wanted: dict[Place, list[tuple[Any, str, str]]] = {}
    for place in places:
        entity = ENTITIES.get(place.entity)
        if entity is None:
            continue
        for one in flows:
            if one.company == place.company:
                external = keys.external_id(one.prefix, entity, place.source_id)
                key = keys.record_key(one.account, _TYPES[entity], external)
                wanted.setdefault(place, []).append((one, key, external))
    states = _States.of(connection, {key for some in wanted.values() for _, key, _ in some}, flows)
    return {
        place: tuple(states.record(one, key, external, _TYPES[place.entity]) for one, key, external in some)
        for place, some in wanted.items()
    }


@dataclass(frozen=True, slots=True)
class _States:
    observed: dict[str, Any]
    waiting: dict[str, int]
    letters: dict[str, int]
    standings: dict[str, str]

    @classmethod
    def of(cls, connection: Connection, records: set[str], flows: Sequence[Any]) -> _States:
        def count(table: Any, *conditions: ColumnElement[bool]) -> dict[str, int]:
            query = select(table.c.record_key, func.count()).where(table.c.record_key.in_(records), *conditions)
            return {row[0]: row[1] for row in connection.execute(query.group_by(table.c.record_key))}

        stops = [key for one in flows for kind in (None, *_TYPES.values()) for key in _standing_keys(one, kind)]
        reasons = connection.execute(select(standing.c.key, standing.c.reason).where(standing.c.key.in_(set(stops))))
        rows = connection.execute(select(observed).where(observed.c.record_key.in_(records)))
        return cls(
            {row.record_key: row for row in rows},
            count(waiting),
            count(dead_letter, dead_letter.c.state == "open"),
            {row.key: row.reason for row in reasons},
        )

    def record(self, one: Any, key: str, external: str, record_type: RecordType) -> NetSuiteRecord:
        stops = [
            self.standings.get(k)
            for k in dict.fromkeys((*_standing_keys(one, None), *_standing_keys(one, record_type)))
        ]
        facts: dict[str, Any] = {}
        if (seen := self.observed.get(key)) is not None:
            facts = {
                "netsuite_id": seen.internal_id,
                "outcome": seen.outcome,
                "action": seen.action,
                "generation": f"{seen.source_version}.{seen.revision}",
                "settled_by": seen.cause,
                "settled_at_ms": seen.at_ms,
            }
        return NetSuiteRecord(
            flow=one.flow,
            account=one.account,
            record_key=key,
            external_id=external,
            waiting=self.waiting.get(key, 0),
            open_letters=self.letters.get(key, 0),
            stopped=tuple(reason for reason in stops if reason),
            **facts,
        )


def _standing_keys(one: Any, record_type: RecordType | None) -> list[str]:
    """The writer calls accounts in lower case."""
    return [keys.account_key(one.account.lower(), record_type), keys.flow_key(one.flow), keys.company_key(one.company)]


def _names(connection: Connection, places: Iterable[Place]) -> dict[Place, tuple[str, ...]]:
    of_object = or_(*(_of(named, place) for place in places))  # by the index; SQLite reads all rows for an IN of tuples
    rows = connection.execute(
        select(named.c.company, named.c.entity, named.c.source_id, named.c.name)
        .where(of_object)
        .order_by(named.c.at_ms.desc(), named.c.name)
    )
    found: dict[Place, tuple[str, ...]] = {}
    for *place, name in rows:
        known = found.get(Place(*place), ())
        if len(known) < MOST_NAMES:
            found[Place(*place)] = (*known, name)
    return found
