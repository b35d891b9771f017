"""Judge a writer from NetSuite's request log: did it lose, double, reorder or overrun anything?

In: the log of the stand-in (with `keep_bodies`), its final records, the states that were emitted, the audit's outcomes.
Out: every violation. Never: I/O, asking the writer what it thinks that it did.

A body carries the version of its state ("Acme v3"). Several states may carry the same version (a hydrate's answer): then
the log proves no more than that one of them was sent, and the one that fits is meant.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any, Final, Literal, cast

from ml_connector.common.generation import Generation
from ml_connector.common.keys import RecordType, record_key
from ml_connector.common.wire import Desired, Outcome

Rule = Literal[
    "generation order",  # no older generation is sent after a newer one of its record
    "final state",  # NetSuite ends at the newest state
    "one in flight",  # at most one write of a record at any instant, batches alike
    "slots",  # requests in flight of one account never exceed its limit
    "parent first",  # a child's write starts after its customer's first commit
    "duplicate record",  # one external id, one record
    "accounting",  # each (cause, record) has one outcome, and it is true; nothing is sent that nobody emitted
    "batch",  # 1 to 100 records of one type, each once, no parent with its child
    "evidence",  # the log or the states do not say enough to judge
]
VersionOf = Callable[[Mapping[str, Any]], int | None]
Line = Mapping[str, Any]
MAX_BATCH: Final = 100  # Oracle article_0127092747
SKIPPED: Final = "already holds exactly this"  # in the reason of an outcome that needed no call
CLOCK_STEP_MS: Final = 1  # outcomes have whole milliseconds
_WRITES: Final = frozenset({"PUT", "POST", "PATCH", "DELETE"})
_VERSION: Final = re.compile(r"(?:^|\s)v(\d+)\Z")


@dataclass(frozen=True, slots=True)
class Violation:
    rule: Rule
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """`log`: lines of `GET /_sandbox/log`. `records`: account -> record type -> dumps of `GET /_sandbox/records/...`.
    `outcomes`: all of the audit, repetitions included. `slots`: the limit of each account. `parents`: record key of a
    child -> its customer's, where the states do not say it. `client_timeout_s`: after it the client has hung up, and the
    request is no longer the client's; None: every request counts until the vendor ends it."""

    log: Sequence[Line]
    records: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
    states: Sequence[Desired]
    outcomes: Sequence[Outcome]
    slots: int
    parents: Mapping[str, str] = field(default_factory=dict)
    client_timeout_s: float | None = None


def judge(evidence: Evidence, *, version_of: VersionOf | None = None) -> list[Violation]:
    """All violations, rule by rule; empty for a good writer."""
    case = _Case(evidence, version_of or version_in)
    return [found for rule in _RULES for found in dict.fromkeys(rule(case))]


def version_in(body: Mapping[str, Any]) -> int | None:
    """Of a name that ends with "v<version>"."""
    for name in ("companyName", "lastName", "title"):
        found = _VERSION.search(str(body.get(name) or ""))
        if found is not None:
            return int(found[1])
    return None


@dataclass(frozen=True, slots=True)
class _Sending:
    """One record on its way to NetSuite: a request, a member of a job from its submit until its task's end, or that task.
    `flight`: what belongs to one job (submit, repeated submits of the same key, tasks) is one flight. `body` None: not
    known."""

    record: str
    start_ms: float
    end_ms: float
    flight: str
    body: Mapping[str, Any] | None
    line: Line

    def __str__(self) -> str:
        return f"{self.record or self.line['path']} (log {self.line['seq']})"


@dataclass(frozen=True, slots=True)
class _Batch:
    """`number`: of its line in the log."""

    number: int
    account: str
    kinds: frozenset[str]
    records: tuple[str, ...]


class _Case:
    """The evidence, put in order once."""

    def __init__(self, evidence: Evidence, version_of: VersionOf) -> None:
        self.evidence = evidence
        self.version_of = version_of
        self.states: dict[str, list[Desired]] = defaultdict(list)
        for state in evidence.states:
            self.states[state.record_key].append(state)
        self.outcomes: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
        for outcome in evidence.outcomes:
            self.outcomes[outcome.cause, outcome.record_key].append(outcome)
        self.holds: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._names: dict[tuple[str, str, str], str] = {}
        for account, kind, dump in _dumps(evidence):
            if dump.get("externalId"):
                self.holds[_key(account, kind, dump["externalId"])].append(dump)
                self._names[account, kind, str(dump["id"])] = dump["externalId"]
        self.tasks: dict[tuple[str, str], list[_Sending]] = defaultdict(list)
        self.batches: list[_Batch] = []
        self.sendings = list(self._read())

    # -- the log -----------------------------------------------------------------------------------------------------

    def _read(self) -> Iterator[_Sending]:
        writes = [line for line in self.evidence.log if line["method"] in _WRITES and line["record_type"]]
        flights = {(line["account"], line["submitted"]): _flight(line) for line in writes if line["submitted"]}
        for line in writes:
            if line["job"]:
                flight = flights.get((line["account"], line["job"]), f"job {line['account']} {line['job']}")
                task = self._single(line, flight, line["end_ms"] or inf)
                self.tasks[line["account"], line["job"]].append(task)
                yield task
        for line in writes:
            # A refused repetition of a key asks where the job is; it sends nothing.
            if not line["job"] and line["code"] != "IDEMPOTENCY_ERROR":
                yield from self._request(line)
        self._read_batches_without_submit(flights)

    def _request(self, line: Line) -> Iterator[_Sending]:
        items = _items(line)
        if items is None:
            one = self._single(line, _flight(line), self.end_ms(line))
            yield _until(one, self._member_end_ms(line, one.record, 1)) if line["submitted"] else one
            return
        account, kind = line["account"], line["record_type"]
        records = [self._record_of(account, kind, item, str(item.get("id", ""))) for item in items]
        self.batches.append(_Batch(line["seq"], account, frozenset({kind}), tuple(records)))
        for record, item in zip(records, items, strict=True):
            end_ms = self._member_end_ms(line, record, len(items)) if line["submitted"] else self.end_ms(line)
            yield _Sending(record, line["start_ms"], end_ms, _flight(line), item, line)

    def _single(self, line: Line, flight: str, end_ms: float) -> _Sending:
        body = _body(line)
        name = line["path"].partition("/record/v1/")[2].partition("/")[2]
        named = {"externalId": line["external_id"] or (body or {}).get("externalId")}
        record = self._record_of(line["account"], line["record_type"], named, name)
        return _Sending(record, line["start_ms"], end_ms, flight, body, line)

    def _record_of(self, account: str, kind: str, named: Mapping[str, Any], internal_id: str) -> str:
        external = named.get("externalId") or self._names.get((account, kind, internal_id))
        return _key(account, kind, str(external)) if external else ""

    def _member_end_ms(self, line: Line, record: str, members: int) -> float:
        """A member without a task of its own may still run, unless the job stopped at a failure before it."""
        tasks = self.tasks[line["account"], line["submitted"]]
        own = [task.end_ms for task in tasks if task.record == record]
        if own:
            return max(own)
        over = bool(tasks) and (len(tasks) >= members or _failed(tasks[-1].line))
        return max(task.end_ms for task in tasks) if over else inf

    def _read_batches_without_submit(self, flights: Mapping[tuple[str, str], str]) -> None:
        for job, tasks in self.tasks.items():
            if job not in flights:
                kinds = frozenset(task.line["record_type"] for task in tasks)
                records = tuple(task.record for task in tasks)
                self.batches.append(_Batch(tasks[0].line["seq"], job[0], kinds, records))

    def end_ms(self, line: Line) -> float:
        """When a request left the client's hands."""
        timeout_s = self.evidence.client_timeout_s
        return min(line["end_ms"] or inf, inf if timeout_s is None else line["start_ms"] + timeout_s * 1000)

    # -- what it means -----------------------------------------------------------------------------------------------

    @cached_property
    def by_record(self) -> dict[str, list[_Sending]]:
        """In the order in which they started."""
        found: dict[str, list[_Sending]] = defaultdict(list)
        for sending in sorted(self.sendings, key=lambda one: (one.start_ms, one.line["seq"])):
            if sending.record:
                found[sending.record].append(sending)
        return found

    @cached_property
    def commits(self) -> dict[str, list[_Sending]]:
        """By record, in the order in which NetSuite made them."""
        found: dict[str, list[_Sending]] = defaultdict(list)
        done = [one for one in self.sendings if one.line["commit_seq"] is not None and one.record]
        for sending in sorted(done, key=lambda one: int(one.line["commit_seq"])):
            found[sending.record].append(sending)
        return found

    def meant(self, sending: _Sending) -> list[Desired] | None:
        """The states that it may carry, oldest first; None: it carries none (it only claims a record)."""
        body, known = sending.body or {}, self.states.get(sending.record, [])
        version = self.version_of(body)
        if version is not None:
            found = [state for state in known if self.version_of(state.fields) == version]
        elif _inactivates(sending):
            found = [state for state in known if state.action != "upsert"]
        else:
            return None
        return sorted(found, key=lambda state: state.generation)

    def parents_of(self, record: str) -> set[str]:
        said = {state.parent.record_key for state in self.states.get(record, []) if state.parent is not None}
        told = self.evidence.parents.get(record)
        return said or ({told} if told is not None else set())

    def outcome(self, state: Desired) -> Outcome | None:
        return next(iter(self.outcomes.get((state.cause, state.record_key), [])), None)


# -- the rules -----------------------------------------------------------------------------------------------------------


def _generation_order(case: _Case) -> Iterator[Violation]:
    for sendings in case.by_record.values():
        newest = Generation(0)
        for sending in sendings:
            generations = [state.generation for state in case.meant(sending) or ()]
            fitting = [generation for generation in generations if generation >= newest]
            if fitting:
                newest = fitting[0]
            elif generations:
                yield Violation("generation order", f"{sending.record}: {generations[-1]} sent after {newest}")


def _final_state(case: _Case) -> Iterator[Violation]:
    for record, states in case.states.items():
        generation = max(state.generation for state in states)
        newest = [state for state in states if state.generation == generation]
        outcomes = [case.outcome(state) for state in newest]
        if not all(outcome is not None and outcome.outcome == "written" for outcome in outcomes):
            continue
        wrong = [_difference(case, state) for state in newest]
        if all(wrong):
            yield Violation("final state", f"{record}: newest is {generation}, {wrong[0]}")


def _difference(case: _Case, state: Desired) -> str:
    """Empty: NetSuite holds this state."""
    dump = next(iter(case.holds.get(state.record_key, [])), None)
    if dump is None:
        return "but NetSuite has no such record"
    if state.action != "upsert":
        return _still_active(case, state, dump)
    held, wanted = case.version_of(dump), case.version_of(state.fields)
    if held != wanted:
        return f"version {wanted}, but NetSuite holds version {held}"
    lower = {name.lower(): value for name, value in dump.items()}
    wanted_fields = {"isInactive": False, **state.fields}
    for name, value in wanted_fields.items():
        plain = isinstance(value, bool | str) or value is None
        # False, empty and not there are one; NetSuite may number entity ids itself.
        if plain and name != "entityId" and (lower.get(name.lower()) or None) != (value or None):
            return f"but {name} is another"
    return ""


def _still_active(case: _Case, state: Desired, dump: Mapping[str, Any]) -> str:
    """An opportunity has no isInactive; it has the status that its last write gave it."""
    if state.record_type != "opportunity":
        return "" if dump.get("isInactive") is True else "but NetSuite's record is active"
    last = case.commits.get(state.record_key, [])[-1:]
    status = (last[0].body or {}).get("entityStatus") if last and _inactivates(last[0]) else None
    lost = status.get("id") if isinstance(status, dict) else status
    return "" if lost is not None and str(lost) == str(dump.get("entityStatus")) else "but it is not lost"


def _one_in_flight(case: _Case) -> Iterator[Violation]:
    for sendings in case.by_record.values():
        flying: list[_Sending] = []
        for sending in sendings:
            flying = [one for one in flying if one.end_ms > sending.start_ms]
            for other in flying:
                if other.flight != sending.flight:
                    yield Violation("one in flight", f"{sending} started while {other} was in flight")
            flying.append(sending)


def _slots(case: _Case) -> Iterator[Violation]:
    """Job tasks take none, and whoever asks for a token has no account yet."""
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in case.evidence.log:
        if line["account"] and not line["job"]:
            lines[line["account"]].append(line)
    for account, requests in lines.items():
        peak = _peak((line["start_ms"], case.end_ms(line)) for line in requests)
        if case.evidence.client_timeout_s is None:  # NetSuite counts also what the client has given up
            peak = max(peak, *(line["in_flight_at_start"] + 1 for line in requests))
        if peak > case.evidence.slots:
            yield Violation("slots", f"{account}: {peak} in flight, {case.evidence.slots} allowed")


def _peak(intervals: Iterable[tuple[float, float]]) -> int:
    """Of equal stamps the end comes first; a request that ends as it starts counts for nothing."""
    steps = [step for start, end in intervals if end > start for step in ((start, 1), (end, -1))]
    peak = now = 0
    for _, change in sorted(steps):
        now += change
        peak = max(peak, now)
    return peak


def _parent_first(case: _Case) -> Iterator[Violation]:
    for record, sendings in case.by_record.items():
        for sending in sendings:
            meant = case.meant(sending) or []
            if _inactivates(sending):
                continue  # it names no customer
            said = [state.parent.record_key if state.parent is not None else None for state in meant]
            if not any(said):
                said = [case.evidence.parents.get(record)]
            if not any(parent is None or _was_there(case, parent, sending.start_ms) for parent in said):
                yield Violation("parent first", f"{sending} started before {said[0]} was committed")


def _was_there(case: _Case, parent: str, at_ms: float) -> bool:
    """Committed by then, never the log's business (it was there before), or known not to come."""
    commits = case.commits.get(parent)
    if commits and min(float(one.line["commit_ms"]) for one in commits) <= at_ms:
        return True
    if not commits and parent in case.holds:
        return True
    absent = [case.outcome(state) for state in case.states.get(parent, []) if state.action != "upsert"]
    return any(outcome is not None and outcome.at_ms <= at_ms + CLOCK_STEP_MS for outcome in absent)


def _duplicate_record(case: _Case) -> Iterator[Violation]:
    names: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for record, commits in case.commits.items():
        ids = {one.line["internal_id"] for one in commits}
        if len(ids) > 1:
            yield Violation("duplicate record", f"{record} was written as {', '.join(sorted(ids))}")
        for one in commits:
            names[one.line["account"], one.line["record_type"], one.line["internal_id"]].add(record)
    for (_, kind, internal_id), records in names.items():
        if len(records) > 1:
            yield Violation("duplicate record", f"{kind} {internal_id} became {' and '.join(sorted(records))}")
    for record, dumps in case.holds.items():
        if len(dumps) > 1:
            yield Violation("duplicate record", f"NetSuite holds {len(dumps)} of {record}")
    for one in case.sendings:
        if one.line["method"] == "POST" and one.line["commit_seq"] is not None and not one.record:
            yield Violation("duplicate record", f"{one} made {one.line['internal_id']} without an external id")


def _accounting(case: _Case) -> Iterator[Violation]:
    emitted = {(state.cause, state.record_key): state for state in case.evidence.states}
    for key, state in emitted.items():
        outcomes = case.outcomes.get(key, [])
        if len(outcomes) != 1:
            told = [f"{one.outcome} at {one.at_ms} {one.reason}".rstrip() for one in outcomes]
            yield Violation("accounting", f"{' for '.join(key)} has {len(outcomes)} outcomes: {told}")
        for outcome in outcomes[:1]:
            wrong = _untrue(case, state, outcome)
            if wrong:
                yield Violation("accounting", f"{' for '.join(key)}: {outcome.outcome}, but {wrong}")
    for key in case.outcomes.keys() - emitted.keys():
        yield Violation("accounting", f"{' for '.join(key)} has an outcome, but nobody emitted it")
    for sending in case.sendings:
        if sending.body is not None and case.meant(sending) == []:
            yield Violation("accounting", f"{sending} carries a state that nobody emitted")


def _untrue(case: _Case, state: Desired, outcome: Outcome) -> str:
    """Empty: the log bears the outcome out."""
    by = outcome.superseded_by
    if outcome.outcome == "superseded" and (by is None or by.generation < state.generation):
        return f"by {by.generation if by is not None else 'nothing'}"
    if outcome.outcome != "written":
        return ""
    done = [
        one for one in case.commits.get(state.record_key, []) if one.line["commit_ms"] <= outcome.at_ms + CLOCK_STEP_MS
    ]
    if SKIPPED in outcome.reason.lower():
        return "" if done and _equal(case, done[-1], state) else "NetSuite's newest commit before it is another state"
    if not any(meant.generation >= state.generation for one in done for meant in case.meant(one) or ()):
        return "NetSuite committed nothing as new before it"
    if outcome.internal_id is not None and outcome.internal_id not in {one.line["internal_id"] for one in done}:
        return f"no commit was of {outcome.internal_id}"
    return ""


def _equal(case: _Case, commit: _Sending, state: Desired) -> bool:
    if state.action != "upsert":
        return _inactivates(commit)
    return case.version_of(commit.body or {}) == case.version_of(state.fields)


def _batch(case: _Case) -> Iterator[Violation]:
    for batch in case.batches:
        name = f"batch (log {batch.number})"
        counts = Counter(batch.records)
        if not 1 <= len(batch.records) <= MAX_BATCH:
            yield Violation("batch", f"{name} has {len(batch.records)} records")
        for record, count in counts.items():
            if record and count > 1:
                yield Violation("batch", f"{name} has {count} states of {record}")
            for parent in case.parents_of(record) & counts.keys():
                yield Violation("batch", f"{name} has {record} beside its parent {parent}")
        kinds = batch.kinds | {kind for record in counts for kind in _kinds_of(case, batch, record)}
        if len(kinds) > 1:
            yield Violation("batch", f"{name} mixes {', '.join(sorted(kinds))}")


def _kinds_of(case: _Case, batch: _Batch, record: str) -> set[str]:
    """The types under which a member was emitted, when it was not emitted under the batch's own."""
    if not record or record in case.states:
        return set()
    external = record.rpartition("/")[2]
    return {
        state.record_type
        for state in case.evidence.states
        if state.account == batch.account and state.external_id.lower() == external
    }


def _evidence(case: _Case) -> Iterator[Violation]:
    for sending in case.sendings:
        if sending.body is None:
            yield Violation("evidence", f"the log has no body of {sending}")
        elif sending.body.keys() - {"externalId", "id"} and case.meant(sending) is None:
            yield Violation("evidence", f"the body of {sending} carries no version")
    for state in case.evidence.states:
        if state.action == "upsert" and case.version_of(state.fields) is None:
            yield Violation("evidence", f"{state.cause} for {state.record_key} carries no version")


_RULES: Final[tuple[Callable[[_Case], Iterator[Violation]], ...]] = (
    _evidence,
    _generation_order,
    _final_state,
    _one_in_flight,
    _slots,
    _parent_first,
    _duplicate_record,
    _accounting,
    _batch,
)


# -- reading -------------------------------------------------------------------------------------------------------------


def _dumps(evidence: Evidence) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for account, kinds in evidence.records.items():
        for kind, dumps in kinds.items():
            for dump in dumps:
                yield account, kind, dump


def _key(account: str, kind: str, external: str) -> str:
    return record_key(account, cast(RecordType, kind), external)


def _flight(line: Line) -> str:
    if line["key"]:
        return f"key {line['account']} {line['key']}"
    return f"job {line['account']} {line['submitted']}" if line["submitted"] else f"request {line['seq']}"


def _until(sending: _Sending, end_ms: float) -> _Sending:
    return _Sending(sending.record, sending.start_ms, end_ms, sending.flight, sending.body, sending.line)


def _body(line: Line) -> dict[str, Any] | None:
    try:
        found = json.loads(line["body"])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _items(line: Line) -> list[dict[str, Any]] | None:
    """The records of a batch; None: it is no batch."""
    if not line["path"].rstrip("/").endswith(f"/{line['record_type']}"):
        return None
    items = (_body(line) or {}).get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else None


def _failed(line: Line) -> bool:
    """Status 0 is a task that met a lost connection."""
    return line["end_ms"] > 0 and not 200 <= line["status"] < 300


def _inactivates(sending: _Sending) -> bool:
    """An opportunity is lost instead."""
    body = sending.body or {}
    if sending.line["record_type"] == "opportunity":
        return body.keys() <= {"entityStatus", "externalId", "id"} and "entityStatus" in body
    return body.get("isInactive") is True
