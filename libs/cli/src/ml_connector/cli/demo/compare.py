"""Compare what NetSuite holds with what it should hold, field by field."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ml_connector.cli.demo.vendors import NetsuiteEyes, PipedriveHands

SHORT = {"o": "org", "p": "person", "d": "deal"}
# Members that NetSuite adds by itself.
_OWN = frozenset({"id", "links", "externalId", "entityId", "dateCreated", "lastModifiedDate"})


async def mismatches(expected: Mapping[str, Any], hands: PipedriveHands, eyes: NetsuiteEyes, share: float) -> list[str]:
    """One line for each difference; empty when NetSuite is as it should be."""
    found: dict[str, dict[str, Any]] = {"customer": {}, "contact": {}, "opportunity": {}}
    wanted = {
        kind: {ref: entry["fields"] for ref, entry in expected[kind].items() if entry["at"] <= share} for kind in found
    }

    async def read(kind: str, ref: str) -> None:
        found[kind][ref] = await eyes.read(kind, external_id(ref, hands))

    await asyncio.gather(*(read(kind, ref) for kind, refs in wanted.items() for ref in refs))
    customers = {ref: record["id"] for ref, record in found["customer"].items() if record is not None}
    lines: list[str] = []
    for kind, refs in wanted.items():
        for ref, fields in refs.items():
            lines += _differences(f"{kind} {ref}", _filled(fields, hands, customers), found[kind][ref])
        total = await eyes.count(kind)
        if total != len(refs):
            lines.append(f"{kind}: NetSuite has {total} records, expected {len(refs)}")
    return lines


def external_id(ref: str, hands: PipedriveHands) -> str:
    return f"pd-{SHORT[ref[0]]}-{hands.id_of(ref)}"


def _filled(fields: Mapping[str, Any], hands: PipedriveHands, customers: Mapping[str, str]) -> dict[str, Any]:
    """References put in: Pipedrive ids as texts, customers as NetSuite ids."""
    filled: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and "$ref" in value:
            filled[name] = str(hands.id_of(value["$ref"]))
        elif isinstance(value, dict) and "$customer" in value:
            filled[name] = {"id": customers.get(value["$customer"], "(missing)")}
        else:
            filled[name] = value
    return filled


def _differences(what: str, wanted: Mapping[str, Any], record: Mapping[str, Any] | None) -> list[str]:
    if record is None:
        return [f"{what}: not in NetSuite"]
    got = {name: _plain(value) for name, value in record.items() if name not in _OWN}
    if got.get("isInactive") is False:
        del got["isInactive"]
    names = sorted({*wanted, *got})
    return [
        f"{what}: {name} is {got.get(name)!r}, expected {_plain(wanted.get(name))!r}"
        for name in names
        if got.get(name) != _plain(wanted.get(name))
    ]


def _plain(value: Any) -> Any:
    """A reference is its id."""
    return {"id": value["id"]} if isinstance(value, dict) and "id" in value else value
