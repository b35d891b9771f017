"""A reconcile in words: one sentence, counts, causes, and each record that is not as it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from ml_connector.cli.admin_api import Answer
from ml_connector.cli.showing import (
    add,
    age,
    counted,
    facts,
    hint,
    lasting,
    object_of,
    one_line,
    say,
    show,
    table,
    when,
)

# What was found, as somebody in finance would say it.
FOUND: Final[Mapping[str, str]] = {
    "missing": "not in NetSuite",
    "different": "differs",
    "inactive": "inactive in NetSuite, should be active",
    "active": "deleted in Pipedrive, still in NetSuite",
    "extra": "in NetSuite, not in Pipedrive",
    "waiting": "a change is on its way",
    "unknown": "could not be compared",
    "unmapped": "does not fit the flow's mapping",
}
CAUSES: Final[Mapping[str | None, str]] = {
    "waiting": "a change of it is still on its way",
    "dead_letter": "its newest state failed and is a dead letter",
    "missed_event": "Pipedrive changed it, and no event of that came",
    "edited_in_netsuite": "somebody changed it in NetSuite",
    "deleted_in_netsuite": "somebody deleted it in NetSuite",
    "filled_by_netsuite": "empty in Pipedrive, filled in NetSuite",
    "mapping_changed": "the flow's mapping changed since it was written",
    "reference_changed": "a label, its customer or a look-up changed",
    "never_written": "its events led to no record",
    "not_ours": "not made by the connector",
    "unmapped": "it does not fit the flow's mapping",
    None: "why, stands beside each record",
}
SHOWN_CHARS: Final = 60  # of one value


def sentence(one: Answer) -> str:
    """`reconcile 9f2c7d09ab41 of acme-eu is done: 1200 records compared, 1190 as they should be, 10 not`."""
    why = f" ({one['why']})" if one["why"] else ""
    return one_line(f"reconcile {one['id']} of {one['flow']} is {one['state']}{why}: {_counts(one)}")


def now(one: Answer) -> str:
    """What it is at."""
    walk = next((walk for walk in one["walks"] if walk["state"] in ("running", "paused", "failed")), None)
    if walk is None:
        return one_line(one["waits"] or _counts(one))
    left = "" if one["seconds_left"] is None else f", about {lasting(one['seconds_left'])} left"
    waits = f", waits: {walk['waits']}" if walk["waits"] else ""
    return one_line(f"{walk['entity']}: {walk['read']} read from Pipedrive{left}{waits}")


def report(one: Answer, results: Sequence[Answer], more: bool) -> None:
    """In full, with these records."""
    say(sentence(one))
    show(_head(one))
    if one["forgotten"]:
        hint("what it found is not kept any more, or not all of it: reconcile again")
    show(_per_entity(one))
    _tell_causes(one)
    for result in results:
        for line in lines_of(result):
            say(line)
    if more:
        hint(f"there are more: mlc reconciles results {one['id']} --format csv --output FILE")
    for entity in one["results"]:
        for reason, records in entity["failed"].items():
            say(f"{counted(records, entity['entity'])} not compared: {reason}")
        for field, reason in entity["not_comparable"].items():
            hint(f"{entity['entity']} {field} was not compared: {reason}")
    if one["state"] in ("paused", "failed"):
        hint(f"to let it go on: mlc reconciles resume {one['id']}")


def lines_of(result: Answer) -> list[str]:
    """One record: what and why, then each field with both values."""
    netsuite = f" (NetSuite {result['netsuite_id']})" if result["netsuite_id"] else ""
    letter = f" (mlc dlq show {result['dead_letter']})" if result["dead_letter"] else ""
    because = ", or ".join(because_of(result["found"], one) for one in result["causes"])
    said = "; ".join(text for text in (because, result["reason"]) if text)
    head = f"{object_of(result)}{netsuite}: {FOUND.get(result['found'], result['found'])}"
    found = [one_line(f"{head}{': ' if said else ''}{said}{letter}")]
    for field in result["fields"]:
        values = "values too long to be kept" if field["cut"] and field["holds"] is None else _values(field)
        found.append(f"  {one_line(field['field'])}: {values}")
    return found


def because_of(found: str, cause: Answer) -> str:
    """Empty where what was found says it already."""
    if cause["cause"] == found:
        return ""
    if (found, cause["cause"]) == ("extra", "missed_event"):
        return "probably deleted in Pipedrive, and no event of that came"
    text = str(CAUSES.get(cause["cause"], cause["cause"]))
    return text if cause["certain"] or cause["cause"] is None else f"probably {text}"


def _values(field: Answer) -> str:
    return f"should be {_value(field['should'])}, is {_value(field['holds'])}"


def _value(value: Any) -> str:
    if value in (None, ""):
        return "empty"
    text = one_line(value["id"] if isinstance(value, dict) and set(value) == {"id"} else value)
    return f'"{text[:SHOWN_CHARS]}…"' if len(text) > SHOWN_CHARS else f'"{text}"'


def _head(one: Answer) -> Table:
    left = "" if one["seconds_left"] is None else f"about {lasting(one['seconds_left'])}: "
    return facts(
        [
            ("what", counted(len(one["ids"]), "id") if one["mode"] == "ids" else "everything"),
            ("left", f"{left}{one['rests_on']}" if one["state"] == "running" else ""),
            ("reason", one["reason"]),
            ("by", one["actor"]),
            ("made", f"{when(one['created_at'])} ({age(one['created_at'])} ago)"),
            ("mended by", f"sync {one['mended_by']}" if one["mended_by"] else ""),
        ]
    )


def _per_entity(one: Answer) -> Table:
    made = table("entity", "compared", "as they should be", "not", rest="in NetSuite only")
    for entity in one["results"]:
        extra = entity["found"].get("extra", 0)
        only = "" if entity["held"] is None else f"{extra} of {entity['held']}"
        add(made, entity["entity"], entity["records"], entity["equal"], _wrong(entity) - extra, only)
    return made


def _wrong(entity: Answer) -> int:
    return sum(entity["found"].values())


def _tell_causes(one: Answer) -> None:
    for cause in one["causes"]:
        because = because_of(cause["found"], cause)
        what = FOUND.get(cause["found"], cause["found"])
        say(f"{counted(cause['records'], cause['entity'])}: {what}{': ' if because else ''}{because}")
    total = sum(map(_wrong, one["results"]))
    if total > one["causes_of"]:
        hint(f"the causes are those of the first {one['causes_of']} of {total} records")


def _counts(one: Answer) -> str:
    results = one["results"]
    if not results:
        return f"{sum(walk['read'] for walk in one['walks'])} read"
    records, equal = (sum(entity[name] for entity in results) for name in ("records", "equal"))
    extra = sum(entity["found"].get("extra", 0) for entity in results)
    wrong = sum(map(_wrong, results)) - extra
    failed = sum(sum(entity["failed"].values()) for entity in results)
    parts = [f"{counted(records, 'record')} compared", f"{equal} as they should be"]
    parts += [f"{wrong} not"] if wrong else []
    parts += [f"{failed} could not be compared"] if failed else []
    parts += [f"{extra} in NetSuite only"] if extra else []
    return ", ".join(parts)
