"""Verified events with hostile content: each becomes a dead letter or a correct record, and nobody waits for it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from ml_connector.cli.accounting import recompute
from ml_connector.cli.stack import ACCOUNT
from ml_connector.resolver.decode import cause_of
from support.resolving import Resolving, event
from support.writing import until

pytestmark = pytest.mark.asyncio

DEEP = 20_000
LIKE_CEL: dict[str, Any] = {"__proto__": 1, "a.b": 2}
MIB = 1024 * 1024


def with_data(name: str, data: str) -> bytes:
    """An event whose `data` is this text, be it JSON or not."""
    whole = json.loads(event(name, source_id=7))
    return json.dumps({**whole, "data": "HERE"}).replace('"HERE"', data).encode()


def with_meta(name: str, **meta: Any) -> bytes:
    whole = json.loads(event(name))
    return json.dumps({**whole, "meta": {**whole["meta"], **meta}}).encode()


# What comes of each: "desired", or the code of the dead letter.
BODIES: dict[str, tuple[Any, str]] = {
    "deep object": (lambda n: with_data(n, '{"a":' * DEEP + "1" + "}" * DEEP), "MALFORMED"),
    "deep list in a custom field": (
        lambda n: with_data(n, '{"id":7,"name":"x","custom_fields":{"k":' + "[" * DEEP + "]" * DEEP + "}}"), "MALFORMED",
    ),
    "NaN": (lambda n: with_data(n, '{"id":7,"name":"x","v":NaN}'), "MALFORMED"),
    "Infinity": (lambda n: with_data(n, '{"id":7,"name":"x","v":-Infinity}'), "MALFORMED"),
    "a number beyond doubles": (lambda n: with_data(n, '{"id":7,"name":"x","v":1e999}'), "desired"),
    "an integer of 5000 digits": (lambda n: with_data(n, '{"id":7,"name":"x","v":' + "9" * 5000 + "}"), "any"),
    "an integer of 5000 digits as the name": (lambda n: with_data(n, '{"id":7,"name":' + "9" * 5000 + "}"), "any"),
    "a lone surrogate": (lambda n: with_data(n, r'{"id":7,"name":"x\ud800y"}'), "any"),
    "a lone surrogate as a key": (lambda n: with_data(n, r'{"id":7,"name":"x","\udfff":1}'), "any"),
    "control characters": (lambda n: with_data(n, r'{"id":7,"name":"a\u0000b\u001bc"}'), "desired"),
    "a raw control character": (lambda n: with_data(n, '{"id":7,"name":"a\x01b"}'), "MALFORMED"),
    "keys that look like CEL": (
        lambda n: event(n, custom={'x"].y': 1, "data.name == 1": 2, "${7*7}": 3}, **LIKE_CEL),
        "desired",
    ),
    "a value that looks like CEL": (lambda n: event(n).replace(b'"name": "', b'"name": "data.id + '), "desired"),
    "doubled members": (lambda n: with_data(n, '{"id":7,"name":"a","name":"b"}'), "desired"),
    "a name of 1 MiB": (lambda n: with_data(n, json.dumps({"id": 7, "name": "x" * (MIB - 1000)})), "desired"),
    "a member of 1 MiB that is not mapped": (
        lambda n: with_data(n, json.dumps({"id": 7, "name": "x", "huge": "x" * (MIB - 1000)})), "desired",
    ),
    "50,000 unknown custom fields": (lambda n: event(n, custom={str(i): None for i in range(50_000)}), "desired"),
    "10,000 unknown custom fields with values": (
        lambda n: event(n, custom={f"{i:040x}": {"type": "varchar", "value": "x"} for i in range(10_000)}), "desired",
    ),
    "a number as the name": (lambda n: with_data(n, '{"id":7,"name":12}'), "desired"),
    "a list as the name": (lambda n: with_data(n, '{"id":7,"name":["x"]}'), "MAPPING"),
    "an id of 1 MiB": (lambda n: with_meta(n, entity_id="9" * (MIB - 1000)), "MALFORMED"),
    "an entity of 1 MiB": (lambda n: with_meta(n, entity="e" * (MIB - 1000)), "ignored"),
    "another entity with an id of 1 MiB": (lambda n: with_meta(n, entity="note", entity_id="i" * (MIB - 1000)), "ignored"),
    "another entity with an action of 1 MiB": (lambda n: with_meta(n, entity="note", action="i" * (MIB - 1000)), "ignored"),
    "a byte order mark": (lambda n: b"\xef\xbb\xbf" + event(n), "MALFORMED"),
    "1 MiB of blanks": (lambda n: event(n) + b" " * (MIB - 1000), "desired"),
    "a time of the year 10000": (lambda n: with_meta(n, timestamp="9999-12-31T23:59:59Z"), "MALFORMED"),
}  # fmt: skip


async def test_hostile_content() -> None:
    async with Resolving(MLC_REREAD_S="1") as resolving:
        resolving.flows([resolving.flow("acme", {"companyName": "data.name", "comments": 'custom["Tier"]'})])
        await resolving.company("acme")
        neighbours = [uuid.uuid4().hex for _ in BODIES]
        given = {what: make(uuid.uuid4().hex) for what, (make, _) in BODIES.items()}
        for body, neighbour in zip(given.values(), neighbours, strict=True):
            resolving.take([body, event(neighbour)], flow="acme", company="acme")

        await resolving.resolved(neighbours, within_s=60)

        expected = {what: outcome for what, (_, outcome) in BODIES.items()}
        causes = {what: cause_of(body) for what, body in given.items()}
        found: dict[str, str] = {}

        async def settled() -> bool:
            found.update(await _what_became(resolving, causes))
            return "nothing" not in found.values()

        await until(settled)
        assert {what: became for what, became in found.items() if expected[what] not in {became, "any"}} == {}
        assert recompute(resolving.kafka)[ACCOUNT].balanced


async def test_mapped_fields_that_no_message_can_hold() -> None:
    async with Resolving() as resolving:
        resolving.flows([resolving.flow("acme", {"companyName": " + ".join(["data.name"] * 9)})])
        large, small = uuid.uuid4().hex, uuid.uuid4().hex
        resolving.take([event(large, name="x" * MIB), event(small)], flow="acme", company="acme")

        await resolving.resolved([small])

        assert (await resolving.dead_letters())[f"1:{large}"].code == "TOO_LARGE"


async def _what_became(resolving: Resolving, causes: Mapping[str, str]) -> dict[str, str]:
    """For each cause: "desired", the code of its dead letter, another outcome, or "nothing"."""
    desired = dict.fromkeys(await resolving.desired(), "desired")
    outcomes = {cause: outcome.outcome for cause, outcome in (await resolving.outcomes()).items()}
    letters = {cause: letter.code for cause, letter in (await resolving.dead_letters()).items()}
    became = {**outcomes, **letters, **desired}
    return {what: became.get(cause, "nothing") for what, cause in causes.items()}
