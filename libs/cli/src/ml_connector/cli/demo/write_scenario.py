"""Write the demo's scenario and, beside it, what NetSuite must hold in the end.

Standard library only, no product code: what it expects comes from the few rules of `expectations.py`.
Run `python -m ml_connector.cli.demo.write_scenario` after changing it; the two files are checked in.

An operation: {"op", "entity", "ref", "body", "custom", "delivery", "at"}; `custom` by readable names; {"$ref": "o1"}
stands for the Pipedrive id of o1. `at`: 0 for the special cases, else where in the bulk (0..1), for shares.
Expected: record type -> ref -> {"fields", "at"}; {"$customer": "o1"} stands for the NetSuite id of o1's customer.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from ml_connector.cli.demo.expectations import CURRENCY_IDS, entity_of, expected

ORGANIZATIONS, PERSONS, DEALS = 300, 600, 500
HERE = Path(__file__).parent

ADJECTIVES = [
    "Northern",
    "Blue",
    "Silver",
    "Golden",
    "Green",
    "Bright",
    "United",
    "Royal",
    "Swift",
    "Iron",
    "Baltic",
    "Alpine",
    "Nordic",
    "Central",
    "Grand",
]
NOUNS = [
    "Harbour",
    "Timber",
    "Optics",
    "Foods",
    "Textiles",
    "Logistics",
    "Dynamics",
    "Pharma",
    "Robotics",
    "Paper",
    "Energy",
    "Glass",
    "Tools",
    "Media",
    "Farms",
]
FORMS = ["GmbH", "Oy", "AS", "Ltd", "SARL", "BV", "AB", "SpA", "Inc"]
FIRST = [
    "Anna",
    "Bengt",
    "Carla",
    "Dmitri",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Inés",
    "Jonas",
    "Kaisa",
    "Liam",
    "Mari",
    "Noor",
    "Olga",
    "Pavel",
    "Quinn",
    "Rosa",
    "Sven",
    "Tiina",
]
LAST = [
    "Tamm",
    "Kask",
    "Müller",
    "Rossi",
    "García",
    "Nowak",
    "Jensen",
    "Silva",
    "Dubois",
    "Kowalski",
    "Virtanen",
    "Okafor",
    "Sato",
    "Novák",
    "O'Brien",
    "Haddad",
]
CITIES = [
    ("Tallinn", "Estonia"),
    ("Helsinki", "Finland"),
    ("Hamburg", "Germany"),
    ("Lyon", "France"),
    ("Porto", "Portugal"),
]
MANAGER_ID = 12415231


class Company:
    """Collects operations, and keeps what every object is in the end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.operations: list[dict[str, Any]] = []
        self.objects: dict[str, dict[str, Any]] = {}

    def do(self, op: str, ref: str, *, delivery: str = "", at: float | None = None, **more: Any) -> None:
        known = self.objects.get(ref, {})
        entry = {"op": op, "entity": entity_of(ref), "ref": ref, "delivery": delivery, **more}
        self.operations.append({**entry, "at": known.get("at", 0.0) if at is None else at})

    def create(
        self, ref: str, body: dict[str, Any], custom: dict[str, Any], *, at: float = 0.0, delivery: str = ""
    ) -> None:
        self.objects[ref] = {"body": dict(body), "custom": dict(custom), "at": at, "deleted": False, "rejected": False}
        self.do("create", ref, body=body, custom=custom, at=at, delivery=delivery)

    def update(
        self, ref: str, body: dict[str, Any], custom: dict[str, Any] | None = None, *, delivery: str = ""
    ) -> None:
        self.objects[ref]["body"].update(body)
        self.objects[ref]["custom"].update(custom or {})
        self.do("update", ref, body=body, custom=custom or {}, delivery=delivery)

    def delete(self, ref: str) -> None:
        self.objects[ref]["deleted"] = True
        self.do("delete", ref)

    def settle(self) -> None:
        """Everything before is in NetSuite before anything after begins."""
        self.operations.append({"op": "settle", "at": 0.0})


def organization_name(company: Company, number: int) -> str:
    pick = company.chance.choice
    return f"{pick(ADJECTIVES)} {pick(NOUNS)} {number} {pick(FORMS)}"


def every_type(company: Company, parent: str) -> dict[str, Any]:
    """One value of every custom-field type of organizations."""
    chance = company.chance
    city, country = chance.choice(CITIES)
    return {
        "Billing email": f"billing{chance.randrange(10_000)}@example.com",
        "Tier": chance.choice(["Gold", "Silver", "Bronze"]),
        "Regions": sorted(chance.sample(["North", "South", "East", "West"], 2)),
        "Annual value": {"value": round(chance.uniform(1_000, 900_000), 2), "currency": chance.choice(["EUR", "USD"])},
        "Headquarters": {
            "value": f"{chance.randrange(1, 99)} Main Street, {city}",
            "country": country,
            "locality": city,
            "route": "Main Street",
            "formatted_address": f"Main Street, {city}, {country}",
        },
        "Contract period": {"value": "2026-01-01", "until": f"2027-{chance.randrange(1, 12):02d}-28"},
        "Kick-off": f"2026-{chance.randrange(1, 12):02d}-{chance.randrange(1, 28):02d}",
        "Call window": {"value": "09:00:00", "until": "11:30:00", "timezone_id": 318},
        "Opens at": {"value": "08:15:00", "timezone_id": 318},
        "Score": round(chance.uniform(0, 100), 1),
        "Account manager": MANAGER_ID,
        "Parent organization": {"$ref": parent},
        "Notes": 'Long-standing customer.\nPrefers e-mail; "quotes" & ümlauts included.',
        "Hotline": f"+372 600 {chance.randrange(1000, 9999)}",
        "Number": f"ORG-{chance.randrange(10_000, 99_999)}",
    }


def some_custom(company: Company) -> dict[str, Any]:
    chance = company.chance
    return {
        "Tier": chance.choice(["Gold", "Silver", "Bronze"]),
        "Billing email": f"office{chance.randrange(10_000)}@example.com",
    }


def add_organizations(company: Company) -> None:
    for number in range(1, ORGANIZATIONS + 1):
        body = {"name": organization_name(company, number)}
        custom = every_type(company, f"o{number - 1}") if number % 20 == 0 else some_custom(company)
        company.create(f"o{number}", body, custom, at=number / ORGANIZATIONS)


def add_persons(company: Company) -> None:
    chance = company.chance
    for number in range(1, PERSONS + 1):
        organization = (number - 1) % ORGANIZATIONS + 1
        first, last = chance.choice(FIRST), chance.choice(LAST)
        body = {
            "name": f"{first} {last}",
            "org_id": {"$ref": f"o{organization}"},
            "emails": [
                {"value": f"other{number}@example.com", "primary": False, "label": "home"},
                {"value": f"person{number}@example.com", "primary": True, "label": "work"},
            ],
            "phones": [{"value": f"+372 5{number:06d}", "primary": True, "label": "work"}],
        }
        custom = {"Score": number / 4, "Birthday": "1984-02-29", "Tier": "Gold"} if number % 30 == 0 else {}
        company.create(f"p{number}", body, custom, at=organization / ORGANIZATIONS)


def add_deals(company: Company) -> None:
    chance = company.chance
    for number in range(1, DEALS + 1):
        organization = (number - 1) % ORGANIZATIONS + 1
        body = {
            "title": f"Deal {number}: {chance.choice(NOUNS)}",
            "value": round(chance.uniform(10, 90_000), 2),
            "currency": chance.choice(list(CURRENCY_IDS)),
            "stage_id": chance.choice([1, 1, 2, 5]),
            "org_id": {"$ref": f"o{organization}"},
            "expected_close_date": f"2027-{chance.randrange(1, 12):02d}-15",
        }
        custom = {}
        if number % 25 == 0:
            custom = {
                "Reference": f"R-{number}",
                "Reference (2)": f"Second {number}",
                "Source": "Fair",
                "Kick-off": "2026-12-01",
            }
        company.create(f"d{number}", body, custom, at=organization / ORGANIZATIONS)


def add_edits(company: Company) -> None:
    """Stage moves, wins, losses, renames: what a sales team does all day."""
    for number in range(3, DEALS + 1, 3):
        stage = company.objects[f"d{number}"]["body"]["stage_id"]
        company.update(f"d{number}", {"stage_id": {1: 2, 2: 3, 5: 6}[stage]})
    for number in range(7, DEALS + 1, 7):
        company.update(f"d{number}", {"status": "won"})
    for number in range(11, DEALS + 1, 11):
        if number % 7:
            company.update(f"d{number}", {"status": "lost", "lost_reason": "Price"})
    for number in range(4, ORGANIZATIONS + 1, 4):
        company.update(f"o{number}", {"name": company.objects[f"o{number}"]["body"]["name"] + " Holding"})
    for number in range(9, PERSONS + 1, 9):
        company.update(f"p{number}", {"phones": [{"value": f"+49 30 {number}", "primary": True, "label": "work"}]})
    for number in (20, 40, 60):
        company.update(f"o{number}", {}, {"Main contact": {"$ref": f"p{number}"}, "Tier": None})


def add_special_cases(company: Company) -> None:
    """Each one a sentence of the README."""
    company.create("oMergeLoser", {"name": "Merged Away GmbH"}, {})
    company.create("oMergeWinner", {"name": "Merge Winner GmbH"}, {})
    company.create("pMerge", {"name": "Merle Wander", "org_id": {"$ref": "oMergeLoser"}}, {})
    company.create("oDeleted", {"name": "Deleted AS"}, {"Tier": "Gold"})
    company.create("pDeleted", {"name": "Dele Ted"}, {})
    company.create(
        "dDeleted", {"title": "Deleted deal", "value": 5, "stage_id": 1, "org_id": {"$ref": "oMergeWinner"}}, {}
    )
    company.create("oOrder", {"name": "Out Of Order Oy"}, {})
    company.create("oRepeated", {"name": "Delivered Twice BV"}, {}, delivery="duplicate")
    company.create("oForged", {"name": "Forged First AB"}, {}, delivery="bad-signature")
    company.create("oLate", {"name": "Comes Late SpA"}, {}, delivery="delay=2.5")
    company.create(
        "dEarly", {"title": "Earlier than its company", "value": 7.25, "stage_id": 2, "org_id": {"$ref": "oLate"}}, {}
    )
    company.create("oRejected", {"name": "Rejected Ltd"}, {"Billing email": "not an e-mail address"})
    company.objects["oRejected"]["rejected"] = True
    company.settle()
    company.update("oOrder", {"name": "Out Of Order Oy, older"}, delivery="delay=2")
    company.update("oOrder", {"name": "Out Of Order Oy, newer"})
    company.do("merge", "oMergeLoser", winner="oMergeWinner")
    company.objects["oMergeLoser"]["deleted"] = True
    company.update("pMerge", {"org_id": {"$ref": "oMergeWinner"}, "phones": [{"value": "+372 1", "primary": True}]})
    for ref in ("oDeleted", "pDeleted", "dDeleted"):
        company.delete(ref)
    company.settle()


def main() -> None:
    company = Company(seed=20_261_123)
    add_special_cases(company)
    add_organizations(company)
    add_persons(company)
    add_deals(company)
    company.operations.append({"op": "barrier", "at": 0.0})
    add_edits(company)
    company.settle()
    lines = "".join(json.dumps(operation, ensure_ascii=False) + "\n" for operation in company.operations)
    for name, text in (
        ("scenario.jsonl.gz", lines),
        ("expected.json.gz", json.dumps(expected(company.objects), ensure_ascii=False)),
    ):
        (HERE / name).write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(company.operations)} operations, {len(company.objects)} objects")


if __name__ == "__main__":
    main()
