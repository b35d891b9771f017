"""Field definitions and stages of one company: from Pipedrive's codes and ids to what people call them. Pure.

In: definitions as `pipedrive.state` keeps them, a custom value in webhook or REST shape. Out: one readable value,
the same for both shapes (facts/pipedrive.md 3 and 13). Names that occur twice are kept apart by a suffix: "Reference",
"Reference (2)"; the code (40 hex digits) names a field always.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ml_connector.common.wire import StoredDefinitions, StoredStages

ADDRESS_PARTS: Final = (
    "value",
    "formatted_address",
    "country",
    "locality",
    "sublocality",
    "subpremise",
    "route",
    "street_number",
    "admin_area_level_1",
    "admin_area_level_2",
    "postal_code",
)


Reader = Callable[[Any, Mapping[str, str]], Any]

# Shared, as kinds are: thousands of companies have hundreds of fields each.
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class UnknownOption(Exception):
    """The value names an option that the definitions do not have."""


@dataclass(frozen=True, slots=True)
class Field:
    """One custom field."""

    code: str
    name: str
    kind: str
    options: Mapping[str, str]

    def readable(self, raw: Any) -> Any:
        """The value as people read it. Raises UnknownOption."""
        if raw is None:
            return None
        return _READERS.get(self.kind, _plain)(raw, self.options)

    def chosen(self, raw: Any) -> list[tuple[str, str]]:
        """The options that a value names, each with its label; without one where the definitions have none."""
        if self.kind not in {"enum", "set"}:
            return []
        given = _members(raw) if self.kind == "set" else [raw]
        ids = [_identity(option, self.options) for option in given]
        return [(str(option), self.options.get(str(option), "")) for option in ids if option is not None]


class Bound(NamedTuple):
    """What the names of one mapping stand for: `fields` are name, code, how it is read, and its options."""

    fields: tuple[tuple[str, str, Reader, Mapping[str, str]], ...]
    undefined: list[str]


class Definitions:
    """The custom fields of one entity."""

    __slots__ = ("_bound", "_by_name", "by_code", "read_at_ms")

    def __init__(self, stored: StoredDefinitions) -> None:
        self.read_at_ms = stored.read_at_ms
        self.by_code: dict[str, Field] = {}
        self._by_name: dict[str, Field] = {}
        self._bound: dict[frozenset[str], Bound] = {}
        for entry in stored.fields:
            field = _field(entry, self._by_name)
            self.by_code[field.code] = field
            self._by_name[field.name] = field

    def find(self, name: str) -> Field | None:
        """By readable name, or by code."""
        return self._by_name.get(name) or self.by_code.get(name)

    @property
    def names(self) -> Iterable[str]:
        """Readable ones."""
        return self._by_name.keys()

    def bound(self, names: frozenset[str]) -> Bound:
        """The fields that a mapping names, looked up once."""
        found = self._bound.get(names)
        if found is None:
            fields = {name: self.find(name) for name in sorted(names)}
            found = self._bound[names] = Bound(
                tuple(
                    (name, field.code, _READERS.get(field.kind, _plain), field.options)
                    for name, field in fields.items()
                    if field is not None
                ),
                [name for name, field in fields.items() if field is None],
            )
        return found

    def unknown(self, custom: Mapping[str, Any]) -> list[str]:
        """Codes of fields that hold something and have no definition here."""
        known = self.by_code
        if custom.keys() <= known.keys():
            return []
        return [code for code, value in custom.items() if code not in known and value is not None]


class Stages:
    """Pipelines and stages."""

    __slots__ = ("names", "read_at_ms")

    def __init__(self, stored: StoredStages) -> None:
        self.read_at_ms = stored.read_at_ms
        pipelines = {str(entry.get("id")): str(entry.get("name")) for entry in stored.pipelines}
        self.names: Mapping[str, str] = {
            str(entry.get("id")): f"{pipelines.get(str(entry.get('pipeline_id')), '')}/{entry.get('name')}"
            for entry in stored.stages
        }

    def name(self, stage_id: str) -> str | None:
        """`<pipeline>/<stage>`."""
        return self.names.get(stage_id)


def kept(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """What of Pipedrive's definition is worth keeping; None for fields that are not custom."""
    code, name = entry.get("field_code"), entry.get("field_name")
    if entry.get("is_custom_field") is not True or not isinstance(code, str) or not isinstance(name, str):
        return None
    options = entry.get("options")
    found = [
        {"id": option["id"], "label": option.get("label")}
        for option in (options if isinstance(options, list) else [])
        if isinstance(option, dict) and "id" in option
    ]
    return {"field_code": code, "field_name": name, "field_type": entry.get("field_type"), "options": found}


def _field(entry: Mapping[str, Any], taken: Mapping[str, Field]) -> Field:
    base = name = str(entry["field_name"])
    number = 1
    while name in taken:
        number += 1
        name = f"{base} ({number})"
    options = {str(option["id"]): str(option["label"]) for option in entry.get("options") or ()}
    kind = sys.intern(str(entry.get("field_type")))
    return Field(str(entry["field_code"]), name, kind, options or _NO_OPTIONS)


def _plain(raw: Any, _: Mapping[str, str]) -> Any:
    return raw.get("value") if isinstance(raw, dict) else raw


def _identity(raw: Any, _: Mapping[str, str]) -> Any:
    return raw.get("id") if isinstance(raw, dict) else raw


def _label(option: Any, options: Mapping[str, str]) -> str:
    found = options.get(str(option))
    if found is None:
        raise UnknownOption
    return found


def _enum(raw: Any, options: Mapping[str, str]) -> str | None:
    option = _identity(raw, options)
    return None if option is None else _label(option, options)


def _set(raw: Any, options: Mapping[str, str]) -> list[str]:
    return [_label(_identity(option, options), options) for option in _members(raw)]


def _members(raw: Any) -> list[Any]:
    """The options of a set."""
    chosen = raw.get("values") if isinstance(raw, dict) else raw
    if isinstance(chosen, list):
        return chosen
    return [] if chosen is None else [chosen]


def _monetary(raw: Any, _: Mapping[str, str]) -> dict[str, Any] | None:
    if not isinstance(raw, dict):
        return {"value": raw, "currency": None}
    amount = raw.get("value")
    return None if amount is None else {"value": amount, "currency": raw.get("currency")}


def _range(raw: Any, _: Mapping[str, str]) -> dict[str, Any]:
    """Webhooks say `from` where REST says `value`."""
    if not isinstance(raw, dict):
        return {"from": raw, "until": None}
    return {"from": raw["from"] if "from" in raw else raw.get("value"), "until": raw.get("until")}


def _address(raw: Any, _: Mapping[str, str]) -> dict[str, Any]:
    """Every part is there; an empty one is null."""
    if not isinstance(raw, dict):
        raw = {"value": raw}
    return {part: raw.get(part) or None for part in ADDRESS_PARTS}


_READERS: Final[Mapping[str, Reader]] = {
    "monetary": _monetary,
    "enum": _enum,
    "set": _set,
    "user": _identity,
    "org": _identity,
    "people": _identity,
    "timerange": _range,
    "daterange": _range,
    "address": _address,
}
