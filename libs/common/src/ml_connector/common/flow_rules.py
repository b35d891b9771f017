"""What a flow must keep beyond the types of its members; each rule on its own, so that all problems come at once. Pure.

In: the document as plain values, which may be wrong in any way: what has not the right type is somebody else's
problem (`flows.py`). Out: lines `path: what is wrong`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final, get_args
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError

from ml_connector.common.keys import Entity, RecordType
from ml_connector.common.netsuite_fields import problem_of
from ml_connector.common.schedule_job import ScheduleKind
from ml_connector.common.suggesting import did_you_mean

RECORD_OF: Final[dict[Entity, RecordType]] = {
    "organization": "customer",
    "person": "contact",
    "deal": "opportunity",
}
_STAGE: Final = re.compile(r"[0-9]{1,19}|[^/]+/.+", re.DOTALL)
CRON_FIELDS: Final = 5
_EXAMPLE: Final = datetime(2026, 1, 1, tzinfo=UTC)


def broken_rules(document: Mapping[str, Any]) -> list[str]:
    """In the order of the document's members."""
    return [
        *_stages(_mapping(document, "stages")),
        *_entities(_mapping(document, "entities"), _mapping(document, "defaults")),
        *_sources(_mapping(document, "pipedrive"), _mapping(document, "schedule")),
        *_schedule(_mapping(document, "schedule")),
    ]


def _mapping(document: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    found = document.get(member)
    return found if isinstance(found, dict) else {}


def _stages(stages: Mapping[str, Any]) -> Iterator[str]:
    for name in stages:
        if isinstance(name, str) and not _STAGE.fullmatch(name):
            yield f"stages.{name}: a stage is written as <pipeline>/<stage>, or by its id"


def _entities(entities: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    for entity, mapping in entities.items():
        if entity in RECORD_OF and isinstance(mapping, dict):
            yield from _entity(entity, mapping, defaults)


def _entity(entity: Entity, mapping: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    path, record = f"entities.{entity}", RECORD_OF[entity]
    if mapping.get("record") in get_args(RecordType) and mapping["record"] != record:
        yield f"{path}.record: must be {record}, which is what a {entity} becomes"
    if record == "customer" and mapping.get("parent") is not None:
        yield f"{path}.parent: only a person and a deal have a parent, the customer of their organization"
    fields = _mapping(mapping, "fields")
    for field in fields:
        problem = problem_of(record, field) if isinstance(field, str) else None
        if problem is not None:
            yield f"{path}.fields.{field}: {problem}"
    given = {*fields, *(["subsidiary"] if defaults.get("subsidiary") is not None else [])}
    yield from _without_expression(f"{path}.required", mapping.get("required"), given)
    if record == "opportunity" and mapping.get("match"):
        yield f"{path}.match: opportunities are not looked for, only customers and contacts"
    else:
        yield from _without_expression(f"{path}.match", mapping.get("match"), set(fields))


def _without_expression(path: str, names: Any, given: set[str]) -> Iterator[str]:
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name not in given:
            yield f"{path}: {name!r} has no expression in fields{did_you_mean(name, given)}"


def _sources(pipedrive: Mapping[str, Any], schedule: Mapping[str, Any]) -> Iterator[str]:
    if pipedrive.get("events") == "none" and schedule.get("sync") is None:
        yield (
            "schedule.sync: pipedrive.events is none, so nothing else would bring changes: say when, as in "
            "*/15 * * * * (every quarter of an hour)"
        )


def _schedule(schedule: Mapping[str, Any]) -> Iterator[str]:
    for name in get_args(ScheduleKind):
        expression = schedule.get(name)
        problem = _cron_problem(expression) if isinstance(expression, str) else None
        if problem is not None:
            yield f"schedule.{name}: {problem}; five fields are needed, as in */15 * * * * (every quarter of an hour)"
    zone = schedule.get("time_zone")
    if isinstance(zone, str) and zone not in _time_zones():
        hint = did_you_mean(zone, _time_zones())
        yield f"schedule.time_zone: {zone!r} is no time zone of the IANA database, as Europe/Berlin is{hint}"


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime"})  # that one is whatever the machine is set to


@lru_cache(maxsize=4096)
def _cron_problem(expression: str) -> str | None:
    if (fields := len(expression.split())) != CRON_FIELDS:
        return f"not a cron expression (it has {fields} fields)"
    try:
        next(CronSim(expression, _EXAMPLE))
    except CronSimError as error:
        return f"not a cron expression ({str(error).lower()})"
    except StopIteration:
        return "that moment never comes"
    return None
