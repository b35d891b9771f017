"""`audit`: steps, and what follows from them: causes, outcomes, names, the newest state of each record; acts, and what
was compared.

A tombstone (erasure) deletes its step; what had been derived from it is derived anew from the steps that are left.
"""

from __future__ import annotations

import hashlib
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, select, tuple_

from ml_connector.admin.fold import states
from ml_connector.admin.fold.acts import drop_acts, put_acts
from ml_connector.admin.fold.compared import erase_compared, fold_compared
from ml_connector.admin.fold.drift import fold_drift, fold_polled
from ml_connector.admin.fold.letters import object_of
from ml_connector.admin.fold.reading import MOST_CHARS, drop, last_by_key, put, read, refuse, some
from ml_connector.admin.fold.work import put_synced
from ml_connector.admin.replay import keep
from ml_connector.admin.tables import cause, named, newest, outcome, step
from ml_connector.common.comparing import ComparedKey
from ml_connector.common.drift import is_polled
from ml_connector.common.kafka.record import Record
from ml_connector.common.keys import NO_RECORD
from ml_connector.common.wire import Act, Outcome, Received, Resolved

RECEIVED: Final = "received"
RESOLVED: Final = "resolved"
OUTCOME: Final = "outcome"

_ACT: Final = "act/"
_REPLAY: Final = "rpl:"
_KINDS: Final[dict[str, type[Received] | type[Resolved] | type[Outcome]]] = {
    RECEIVED: Received,
    RESOLVED: Resolved,
    OUTCOME: Outcome,
}

Entry = Received | Resolved | Outcome


class StepKey(NamedTuple):
    """Of one audit entry. `record_key` is empty but for an outcome, and may contain slashes."""

    cause: str
    kind: str
    record_key: str

    @classmethod
    def parse(cls, text: str) -> StepKey | None:
        """The reverse of `keys.received_key` and its like."""
        of, _, rest = text.partition("/")
        if rest in (RECEIVED, RESOLVED):
            return cls(of, rest, "")
        record_key, slash, kind = rest.rpartition("/")
        return cls(of, OUTCOME, record_key) if slash and kind == OUTCOME and record_key else None


@dataclass(slots=True)
class _Derived:
    """Rows that follow from entries, in the order in which those are given."""

    causes: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)
    newest: list[dict[str, Any]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        known = self.causes.setdefault(entry.cause, {**_NOTHING, "cause": entry.cause})
        known.update({name: value for name, value in _facts(entry).items() if value})
        if isinstance(entry, Received):
            self._add_name(entry)
        elif isinstance(entry, Outcome):
            self._add_outcome(entry)

    def _add_name(self, entry: Received) -> None:
        if entry.name and entry.source_id:
            row = _object_of(entry)
            row |= {"folded": fold_name(entry.name), "name": entry.name, "at_ms": entry.received_at_ms}
            self.names.append(row)

    def _add_outcome(self, entry: Outcome) -> None:
        self.outcomes.append({name: getattr(entry, name) for name in ("cause", "record_key", "account", "outcome")})
        if entry.record_key != NO_RECORD and entry.outcome != "superseded" and entry.generation is not None:
            self.newest.append(
                {
                    "record_key": entry.record_key,
                    "source_version": entry.generation.source_version,
                    "revision": entry.generation.revision,
                    "cause": entry.cause,
                    "outcome": entry.outcome,
                    "at_ms": entry.at_ms,
                }
            )


_TEXTS: Final = (
    "account",
    "flow",
    "company",
    "entity",
    "source_id",
    "record_key",
    "external_id",
    "trace",
    "replay_of",
)
_NOTHING: Final[dict[str, Any]] = {**dict.fromkeys(_TEXTS, ""), "received_at_ms": 0}


def fold_name(name: str) -> str:
    """As names are compared: forms, case and spaces make no difference."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())[:MOST_CHARS]


def inflated(value: bytes) -> bytes:
    """The entry as it was in the topic."""
    return zlib.decompress(value)


def fold_audit(connection: Connection, records: Sequence[Record]) -> None:
    """What is put and what is erased are different keys: of each key only its last message counts."""
    acts: list[Act] = []
    erased_acts: list[str] = []
    entries: dict[StepKey, tuple[Entry, Record]] = {}
    erased: list[StepKey] = []
    compared: dict[ComparedKey, Record] = {}
    polled: dict[str, Record] = {}
    for text, record in last_by_key(records).items():
        key = StepKey.parse(text)
        if text.startswith(_ACT):
            if record.value is None:
                erased_acts.append(text.removeprefix(_ACT))
            elif (act := read(Act, record)) is not None:
                acts.append(act)
        elif (of := ComparedKey.parse(text)) is not None:
            compared[of] = record
        elif is_polled(text):
            polled[text] = record
        elif key is None:
            refuse(record, "its key is none of the audit's")
        elif record.value is None:
            erased.append(key)
        elif (entry := read(_KINDS[key.kind], record)) is not None:
            entries[key] = (entry, record)
    fold_compared(connection, compared)
    fold_drift(connection, compared)
    fold_polled(connection, polled)
    letters = [*put_acts(connection, acts), *drop_acts(connection, erased_acts)]
    touched = _put_entries(connection, entries) | _erase(connection, erased)
    records_, causes = {one.record_key for one in touched}, {one.replay_of for one in touched}
    states.judge(connection, letters=letters, records=records_, causes=causes)


class _Touched(NamedTuple):
    """Letters whose state may change: of this record, and of the cause that was replayed."""

    record_key: str
    replay_of: str


def _put_entries(connection: Connection, entries: dict[StepKey, tuple[Entry, Record]]) -> set[_Touched]:
    derived = _Derived()
    for entry, _ in entries.values():
        derived.add(entry)
    put(connection, step, [_step_row(key, entry, record) for key, (entry, record) in entries.items()])
    _put_derived(connection, derived)
    put_synced(connection, [entry for entry, _ in entries.values() if not isinstance(entry, Resolved)])
    ended = {str(row["cause"]) for row in derived.outcomes if str(row["cause"]).startswith(_REPLAY)}
    keep.take_outcomes(connection, sorted(ended))
    replays = _replayed_by(connection, ended)
    touched = {_Touched(str(row["record_key"]), replays.get(str(row["cause"]), "")) for row in derived.outcomes}
    return touched | {_Touched("", str(row["replay_of"])) for row in derived.causes.values()}


def _put_derived(connection: Connection, derived: _Derived) -> None:
    put(connection, cause, list(derived.causes.values()), fill=[*_TEXTS, "received_at_ms"])
    put(connection, outcome, derived.outcomes)
    put(connection, named, derived.names, only_newer=["at_ms", "name"])
    put(connection, newest, derived.newest, only_newer=["source_version", "revision", "at_ms", "cause"])


def _replayed_by(connection: Connection, replays: Iterable[str]) -> dict[str, str]:
    """The cause that each of them replays, from whichever entry it was known."""
    found: dict[str, str] = {}
    for causes in some(replays):
        rows = connection.execute(select(cause.c.cause, cause.c.replay_of).where(cause.c.cause.in_(causes)))
        found.update({row.cause: row.replay_of for row in rows})
    return found


# -- rows --------------------------------------------------------------------------------------------------------------


def subject_of(flow: str, entity: str, source_id: str) -> int:
    """A number for a flow and a Pipedrive object, so that its steps are one range of an index; 0: no object."""
    if not source_id:
        return 0
    digest = hashlib.blake2b(f"{flow}\0{entity}\0{source_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _step_row(key: StepKey, entry: Entry, record: Record) -> dict[str, Any]:
    at_ms = entry.received_at_ms if isinstance(entry, Received) else entry.at_ms
    if isinstance(entry, Received) and entry.replay_of:
        at_ms = record.timestamp_ms  # a replay brings along when its original was received
    entity, source_id = object_of(entry.record_key) if isinstance(entry, Resolved) else (entry.entity, entry.source_id)
    return {
        **key._asdict(),
        "subject": subject_of(entry.flow, entity, source_id),
        "at_ms": at_ms,
        "value": zlib.compress(record.value or b""),
    }


def _facts(entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {"account": entry.account, "flow": entry.flow}
    if isinstance(entry, Resolved):
        return facts | {"record_key": entry.record_key}
    facts |= {**_object_of(entry), "trace": entry.trace, "replay_of": entry.replay_of or ""}
    facts["received_at_ms"] = entry.received_at_ms
    if isinstance(entry, Outcome):
        facts["record_key"] = "" if entry.record_key == NO_RECORD else entry.record_key
        facts["external_id"] = entry.external_id
    return facts


def _object_of(entry: Received | Outcome) -> dict[str, Any]:
    """Of what we do not map, Pipedrive may call entity and id anything."""
    return {
        "company": entry.company,
        "entity": entry.entity[:MOST_CHARS],
        "source_id": entry.source_id[:MOST_CHARS],
    }


# -- erasure -----------------------------------------------------------------------------------------------------------


def _erase(connection: Connection, erased: Sequence[StepKey]) -> set[_Touched]:
    if not erased:
        return set()
    causes = {key.cause for key in erased}
    before = _rows_of(connection, causes)
    drop(connection, step, [key._asdict() for key in erased])
    drop(connection, outcome, [{"cause": k.cause, "record_key": k.record_key} for k in erased if k.kind == OUTCOME])
    keep.forget_outcomes(connection, sorted({k.cause for k in erased if k.kind == OUTCOME}))
    drop(connection, cause, [{"cause": one} for one in sorted(causes)])
    _derive(connection, _left(connection, step.c.cause, causes))
    records = {key.record_key for key in erased} - {"", NO_RECORD}
    drop(connection, newest, [{"record_key": one} for one in sorted(records)])
    _derive_newest(connection, records)
    named_by = {key.cause for key in erased if key.kind == RECEIVED}
    erase_compared(connection, {(r.flow, r.entity, r.source_id) for r in before if r.cause in named_by})
    _derive_names(connection, {(r.company, r.entity, r.source_id) for r in before if r.cause in named_by})
    return {_Touched(one, "") for one in records} | {_Touched("", row.replay_of) for row in before}


def _rows_of(connection: Connection, causes: Iterable[str]) -> list[Any]:
    return [row for part in some(causes) for row in connection.execute(select(cause).where(cause.c.cause.in_(part)))]


def _left(connection: Connection, column: Any, values: Iterable[Any], kind: str | None = None) -> list[Entry]:
    """Entries of the steps that are left where `column` (of `step` or `cause`) has these values."""
    found: list[Entry] = []
    for part in some(values):
        query = select(step.c.kind, step.c.value).where(column.in_(part))
        if column is not step.c.cause:
            query = query.join_from(step, cause, cause.c.cause == step.c.cause)
        if kind is not None:
            query = query.where(step.c.kind == kind)
        rows = connection.execute(query)
        found += [_KINDS[row.kind].decode(inflated(row.value)) for row in rows]
    return sorted(found, key=lambda entry: list(_KINDS.values()).index(type(entry)))


def _derive(connection: Connection, left: Iterable[Entry]) -> None:
    derived = _Derived()
    for entry in left:
        derived.add(entry)
    _put_derived(connection, derived)


def _derive_newest(connection: Connection, records: Iterable[str]) -> None:
    wanted = set(records)
    objects = {(source_id, entity) for entity, source_id in map(object_of, wanted)}
    left = _left(connection, tuple_(cause.c.source_id, cause.c.entity), objects, OUTCOME)
    _derive(connection, [entry for entry in left if isinstance(entry, Outcome) and entry.record_key in wanted])


def _derive_names(connection: Connection, objects: Iterable[tuple[str, str, str]]) -> None:
    places = tuple_(named.c.company, named.c.entity, named.c.source_id)
    for part in some(objects):
        connection.execute(delete(named).where(places.in_(part)))
    of_cause = tuple_(cause.c.company, cause.c.entity, cause.c.source_id)
    _derive(connection, _left(connection, of_cause, objects, RECEIVED))
