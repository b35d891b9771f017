"""A believable company of any size from a seed, and edits at a given rate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.pipedrive.members import Item

_ADJECTIVES: Final = ("Northern", "Blue", "United", "Golden", "Rapid", "Silent", "Prime", "Atlantic", "Green", "First")
_NOUNS: Final = ("Logistics", "Foods", "Robotics", "Textiles", "Energy", "Media", "Optics", "Paper", "Marine", "Motors")
_FORMS: Final = ("GmbH", "Ltd", "Inc.", "S.A.", "AB", "BV", "Oy", "AG")
_FIRST: Final = ("Ada", "Björn", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hiro", "Inés", "Jürgen", "Kofi", "Lena")
_LAST: Final = ("Müller", "O'Brien", "García", "Nguyễn", "Smith", "Kowalski", "Okafor", "Silva", "Tanaka", "Virtanen")
_CITIES: Final = ("Hamburg", "Lisbon", "Tallinn", "Porto", "Lyon", "Gdańsk", "Malmö", "Utrecht", "Bilbao", "Graz")
_DEALS: Final = ("pilot", "renewal", "expansion", "starter package", "annual licence", "support contract")


def populate(company: Company, *, organizations: int, persons: int, deals: int, seed: int = 0) -> None:
    """Add objects without telling anybody: they were there before the first subscription."""
    chance = random.Random(f"{seed}/company")  # noqa: S311  a believable company, no secret
    org_ids = [company.add("organization", organization(company, chance))["id"] for _ in range(organizations)]
    person_ids = [company.add("person", person(chance, org_ids))["id"] for _ in range(persons)]
    for _ in range(deals):
        company.add("deal", deal(company, chance, org_ids, person_ids))


def organization(company: Company, chance: random.Random) -> Item:
    name = f"{chance.choice(_ADJECTIVES)} {chance.choice(_NOUNS)} {chance.choice(_FORMS)}"
    custom = {}
    for definition in company.definitions["organization"]:
        if definition["is_custom_field"]:
            filled = chance.random() < 0.4  # most are empty in life
            custom[definition["field_code"]] = _value(definition, chance) if filled else None
    return {"name": f"{name} {chance.randint(1, 9999)}", "custom_fields": custom, "label_ids": []}


def person(chance: random.Random, org_ids: list[int]) -> Item:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    email = f"p{chance.randint(1, 10**9)}@example.com"
    return {
        "name": f"{first} {last}",
        "first_name": first,
        "last_name": last,
        "org_id": chance.choice(org_ids) if org_ids and chance.random() < 0.9 else None,
        "emails": [{"value": email, "primary": True, "label": "work"}],
        "phones": [{"value": f"+49 40 {chance.randint(10**5, 10**7)}", "primary": True, "label": "work"}],
    }


def deal(company: Company, chance: random.Random, org_ids: list[int], person_ids: list[int]) -> Item:
    stage = chance.choice(list(company.items["stage"].values()))
    status = chance.choices(("open", "won", "lost"), (6, 3, 1))[0]
    return {
        "title": f"{chance.choice(_DEALS).capitalize()} {chance.randint(1, 9999)}",
        "value": chance.randint(1, 10_000_000) / 100,
        "currency": chance.choice(("EUR", "USD", "GBP")),
        "stage_id": stage["id"],
        "pipeline_id": stage["pipeline_id"],
        "status": status,
        "lost_reason": "Price" if status == "lost" else None,
        "org_id": chance.choice(org_ids) if org_ids and chance.random() < 0.95 else None,
        "person_id": chance.choice(person_ids) if person_ids and chance.random() < 0.5 else None,
    }


async def edit(
    company: Company, update: Callable[[str, int, Item], None], *, rate: float, count: int, seed: int = 0
) -> None:
    """`rate` edits a second until there were `count`; each through `update(entity, id, body)`."""
    chance = random.Random(f"{seed}/edits")  # noqa: S311  believable edits, no secret
    entities = [entity for entity in ("organization", "person", "deal") if company.items[entity]]
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    for number in range(count if entities else 0):
        await asyncio.sleep(max(0.0, started_s + number / rate - loop.time()))
        entity = chance.choice(entities)
        living = list(company.living(entity))
        if living:
            update(entity, chance.choice(living)["id"], _edit(company, entity, chance))


def _edit(company: Company, entity: str, chance: random.Random) -> Item:
    if entity == "organization":
        definition = chance.choice([d for d in company.definitions[entity] if d["is_custom_field"]])
        return {"custom_fields": {definition["field_code"]: _value(definition, chance)}}
    if entity == "person":
        return {"name": f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"}
    if chance.random() < 0.3:
        return {"status": chance.choice(("won", "lost", "open"))}
    return {"stage_id": chance.choice(list(company.items["stage"]))}


def _value(definition: dict[str, Any], chance: random.Random) -> Any:
    """In the REST shape."""
    day = f"20{chance.randint(20, 29)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    at = f"{chance.randint(8, 17):02}:{chance.choice((0, 30)):02}:00"
    match definition["field_type"]:
        case "enum":
            return chance.choice(definition["options"])["id"]
        case "set":
            options = definition["options"]
            return sorted(option["id"] for option in chance.sample(options, chance.randint(1, len(options))))
        case "monetary":
            return {"value": chance.randint(1, 10**7) / 100, "currency": "EUR"}
        case "double":
            return chance.randint(0, 1000) / 10
        case "date":
            return day
        case "daterange":
            return {"value": day, "until": "2031-12-31"}
        case "time":
            return {"value": at, "timezone_id": 310, "timezone_name": "Europe/Berlin"}
        case "timerange":
            return {"value": at, "until": "18:00:00", "timezone_id": 310, "timezone_name": "Europe/Berlin"}
        case "address":
            city = chance.choice(_CITIES)
            return {"value": city, "locality": city, "formatted_address": city}
        case "user" | "org" | "people":
            return chance.randint(1, 100)
    return f"{chance.choice(_ADJECTIVES)} {chance.randint(1, 999)}"
