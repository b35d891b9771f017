"""What the resolver knows of a company's custom fields, and what it asks for; the stand-in's log is the judge."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from ml_connector.common import topics
from support.resolving import Resolving, event

pytestmark = pytest.mark.asyncio(loop_scope="module")

REREAD_S = 2.0
FIELDS = "/api/v2/organizationFields"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving() -> AsyncIterator[Resolving]:
    async with Resolving(MLC_REREAD_S=str(REREAD_S)) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def acme(resolving: Resolving) -> AsyncIterator[Acme]:
    """A company of its own for each test, whose flow maps one custom field."""
    yield await Acme.founded(resolving)


class Acme:
    """One company; the mapping names the custom field "Rank"."""

    def __init__(self, resolving: Resolving, name: str) -> None:
        self.resolving = resolving
        self.name = name

    @classmethod
    async def founded(cls, resolving: Resolving) -> Acme:
        acme = cls(resolving, f"acme-{uuid.uuid4().hex[:8]}")
        await resolving.company(acme.name)
        resolving.flows([resolving.flow(acme.name, {"companyName": "data.name", "comments": 'custom["Rank"]'})])
        return acme

    async def define(self, name: str, kind: str = "varchar", **more: Any) -> dict[str, Any]:
        body = {"field_name": name, "field_type": kind, **more}
        made: dict[str, Any] = await self.resolving.pipedrive(self.name, "POST", FIELDS, body)
        return made

    async def rename(self, code: str, name: str) -> None:
        await self.resolving.pipedrive(self.name, "PATCH", f"{FIELDS}/{code}", {"field_name": name})

    async def remove(self, code: str) -> None:
        await self.resolving.pipedrive(self.name, "DELETE", f"{FIELDS}/{code}")

    def say(self, *customs: dict[str, Any]) -> list[str]:
        """One event for each; their names."""
        names = [uuid.uuid4().hex for _ in customs]
        bodies = [event(name, custom=custom) for name, custom in zip(names, customs, strict=True)]
        self.resolving.take(bodies, flow=self.name, company=self.name)
        return names

    async def comments(self, *customs: dict[str, Any]) -> list[Any]:
        """What the mapping makes of "Rank" in events that come together; "absent" where it is held back."""
        names = self.say(*customs)
        await self.resolving.resolved(names)
        desired = await self.resolving.desired()
        return [desired[f"1:{name}"].fields.get("comments", "absent") for name in names]

    async def definition_reads(self) -> list[float]:
        """When the resolver asked for the fields, in seconds."""
        lines = await self.resolving.asked(self.name)
        return [line["start_ms"] / 1000 for line in lines if line["path"] == FIELDS and line["method"] == "GET"]


def text(value: str) -> dict[str, Any]:
    return {"type": "varchar", "value": value}


async def test_fields_beyond_the_first_page_are_known(acme: Acme) -> None:
    """Pipedream lost fields by reading one page only (PipedreamHQ/pipedream#20329)."""
    for number in range(505):
        await acme.define(f"Filler {number}")
    rank = await acme.define("Rank")

    assert await acme.comments({rank["field_code"]: text("gold")}) == ["gold"]
    assert len(await acme.definition_reads()) == 2


async def test_thousand_events_of_a_new_company_cost_one_read(acme: Acme) -> None:
    rank = await acme.define("Rank")

    found = await acme.comments(*({rank["field_code"]: text(f"t{number}")} for number in range(1000)))

    assert found == [f"t{number}" for number in range(1000)]
    assert len(await acme.definition_reads()) == 1


async def test_renamed_field_is_found_again_under_its_new_name(acme: Acme) -> None:
    """The flow still says "Rank"; nothing in an event tells of a new name, so an unknown field must bring it to light."""
    rank = await acme.define("Level")
    other = await acme.define("Other")
    assert await acme.comments({rank["field_code"]: text("gold")}) == ["absent"]

    await acme.rename(rank["field_code"], "Rank")
    late = await acme.define("Late")
    await acme.comments({late["field_code"]: text("x"), other["field_code"]: text("y")})

    assert await acme.comments({rank["field_code"]: text("gold")}) == ["gold"]


async def test_deleted_field_is_held_back_and_named(acme: Acme) -> None:
    rank = await acme.define("Rank")
    assert await acme.comments({rank["field_code"]: text("gold")}) == ["gold"]

    await acme.remove(rank["field_code"])
    unknown = "f" * 40
    [name] = acme.say({unknown: text("x")})
    await acme.resolving.resolved([name])

    audit = await acme.resolving.audit(name)
    assert audit.held_back == ["Rank", unknown]
    assert "comments" not in (await acme.resolving.desired())[f"1:{name}"].fields


async def test_of_two_fields_with_one_name_the_older_keeps_it(acme: Acme) -> None:
    first, second = await acme.define("Rank"), await acme.define("Rank")

    found = await acme.comments({first["field_code"]: text("one"), second["field_code"]: text("two")})

    assert found == ["one"]


async def test_new_option_of_a_known_field_is_read_before_it_is_mapped(acme: Acme) -> None:
    rank = await acme.define("Rank", "enum", options=[{"label": "Gold"}])
    gold = rank["options"][0]["id"]
    assert await acme.comments({rank["field_code"]: {"type": "enum", "id": gold}}) == ["Gold"]

    # The stand-in has no route for new options, but gives a field that is made again its old code.
    await acme.remove(rank["field_code"])
    again = await acme.define("Rank", "enum", options=[{"label": "Gold"}, {"label": "Silver"}])
    silver = again["options"][1]["id"]

    assert again["field_code"] == rank["field_code"]
    assert await acme.comments({rank["field_code"]: {"type": "enum", "id": silver}}) == ["Silver"]


async def test_unknown_fields_are_asked_for_once_in_the_pause_not_once_an_event(acme: Acme) -> None:
    """A made-up hash in every event: each is held back under definitions read after it came, and no more is asked."""
    await acme.define("Rank")
    names: list[str] = []
    for _ in range(3):
        names += acme.say(*({uuid.uuid4().hex + "abcdef01": text("x")} for _ in range(50)))
        await acme.resolving.resolved(names)

    reads = await acme.definition_reads()
    pauses = [later - earlier for earlier, later in pairwise(reads)]

    assert 2 <= len(reads) <= 5
    assert min(pauses) >= REREAD_S - 0.1


async def test_definitions_survive_a_restart_without_being_read_again(acme: Acme) -> None:
    rank = await acme.define("Rank")
    await acme.comments({rank["field_code"]: text("gold")})

    await acme.resolving.stack.stop_one("resolver")
    await acme.resolving.stack.start_one("resolver")

    assert await acme.comments({rank["field_code"]: text("silver")}) == ["silver"]
    assert len(await acme.definition_reads()) == 1
    keys = {record.key for record in await acme.resolving.read(topics.STATE)}
    assert f"{acme.name}/definitions/organization".encode() in keys


async def test_field_event_makes_the_definitions_be_read_again(acme: Acme) -> None:
    """Where Pipedrive tells of changed fields (docs/unproven.md), a new name is known at the next event."""
    rank = await acme.define("Level")
    assert await acme.comments({rank["field_code"]: text("gold")}) == ["absent"]

    await acme.rename(rank["field_code"], "Rank")
    body = event(uuid.uuid4().hex).replace(b'"entity": "organization"', b'"entity": "organizationField"')
    acme.resolving.take([body], flow=acme.name, company=acme.name)

    assert await acme.comments({rank["field_code"]: text("gold")}) == ["gold"]
