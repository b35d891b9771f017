"""What was wrong with one case: the judge of NetSuite's log, and what the log alone does not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ml_connector.common.keys import external_id
from ml_connector.common.wire import Outcome
from support.desired import ACCOUNT, RECORD_TYPES
from support.judging import Evidence, judge
from support.simulated.pipedrive import LOST_STATUS, NAMES, UNKNOWN_CURRENCY, Object

# What must have happened in some of a few hundred cases, or they prove little.
MUST_OCCUR = frozenset({
    "batch", "late commit", "refused for concurrency", "refused login", "adopted", "written", "superseded", "ignored",
    "dead_lettered", "hydrate",
})  # fmt: skip


def of(evidence: Evidence, objects: Iterable[Object]) -> Iterator[str]:
    """Everything, in words."""
    outcomes = _without_repetitions(evidence.outcomes)
    yield from (str(violation) for violation in judge(replace(evidence, outcomes=outcomes)))
    for outcome in outcomes:
        if outcome.outcome == "dead_lettered" and not _its_own_fault(evidence, outcome):
            yield f"dead-lettered for a fault that is not its own: {outcome.external_id}: {outcome.reason}"
    newest = {(one.entity, one.source_id): one for one in evidence.outcomes if one.outcome != "superseded"}
    for it in objects:
        last = newest.get((it.entity, it.source_id))
        if last is not None and last.outcome != "dead_lettered":
            wrong = _difference(it, _held(evidence, it))
            if wrong:
                yield f"{it.entity} {it.source_id}: {wrong}"


def count(evidence: Evidence, *, into: Counter[str]) -> None:
    for line in evidence.log:
        into["request"] += not line["job"]
        into["batch"] += bool(line["submitted"])
        into["late commit"] += line["code"] == "late_commit" and line["commit_seq"] is not None
        into["refused for concurrency"] += line["status"] in {400, 429} and "CONCURRENCY" in line["code"]
        into["refused login"] += line["status"] == 401
        into["adopted"] += line["method"] == "PATCH" and "/eid:" not in line["path"] and line["commit_seq"] is not None
    into.update(outcome.outcome for outcome in evidence.outcomes)
    into["hydrate"] += sum(state.cause.startswith("hyd:") for state in evidence.states)


def _without_repetitions(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """A superseded cause that is delivered once more is superseded once more; compaction makes it one."""
    found: dict[tuple[str, str], Outcome] = {}
    others: list[Outcome] = []
    for outcome in outcomes:
        if outcome.outcome == "superseded":
            found[outcome.cause, outcome.record_key] = outcome
        else:
            others.append(outcome)
    return [*found.values(), *others]


def _its_own_fault(evidence: Evidence, outcome: Outcome) -> bool:
    if outcome.stage == "orphan":
        return outcome.entity == "deal"
    asked = (outcome.cause, outcome.record_key)
    state = next(state for state in evidence.states if (state.cause, state.record_key) == asked)
    currency = state.references.get("currency")
    return "email" in state.fields or (currency is not None and currency.value == UNKNOWN_CURRENCY)


def _held(evidence: Evidence, it: Object) -> Mapping[str, Any] | None:
    wanted = external_id("pd", it.entity, it.source_id)
    records = evidence.records[ACCOUNT][RECORD_TYPES[it.entity]]
    return next((record for record in records if record["externalId"] == wanted), None)


def _difference(it: Object, found: Mapping[str, Any] | None) -> str:
    """Empty: NetSuite holds the object as Pipedrive does."""
    if it.deleted:
        if found is None:
            return ""
        if it.entity == "deal":
            return "" if found.get("entityStatus") == LOST_STATUS else "deleted, but not lost"
        return "" if found.get("isInactive") is True else "deleted, but active"
    if found is None:
        return "NetSuite has no such record"
    name = found.get("companyName") or found.get("lastName") or found.get("title")
    wanted = f"{NAMES[it.entity]} {it.source_id} v{it.label}"
    if name != wanted:
        return f"NetSuite holds {name!r}, Pipedrive {wanted!r}"
    return "active in Pipedrive, but not in NetSuite" if found.get("isInactive") else ""
