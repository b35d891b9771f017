"""What NetSuite must hold in the end of the demo's objects: few rules of its own, written by hand after flow.yaml.

An object: {"body", "custom", "at", "deleted", "rejected"}, as `write_scenario.Company` keeps it.
"""

from __future__ import annotations

from typing import Any

CURRENCY_IDS = {"EUR": "4", "USD": "1", "GBP": "2"}
# Stage ids of the stand-in's two pipelines, and the NetSuite status that flow.yaml gives them.
STAGE_STATUS = {1: "7", 2: "8", 3: "10", 4: "11", 5: "15", 6: "17", 7: "18"}
WON, LOST = "13", "14"


def entity_of(ref: str) -> str:
    return {"o": "organization", "p": "person", "d": "deal"}[ref[0]]


def without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def customer(thing: dict[str, Any]) -> dict[str, Any]:
    custom = {name: value for name, value in thing["custom"].items() if value is not None}
    value, address = custom.get("Annual value", {}), custom.get("Headquarters", {})
    period, window = custom.get("Contract period", {}), custom.get("Call window", {})
    return without_nulls(
        {
            "companyName": thing["body"]["name"],
            "subsidiary": {"id": "2"},
            "email": custom.get("Billing email"),
            "custentity_tier": custom.get("Tier"),
            "custentity_regions": ", ".join(custom["Regions"]) if "Regions" in custom else None,
            "custentity_annual_value": value.get("value"),
            "custentity_annual_currency": value.get("currency"),
            "custentity_hq": address.get("formatted_address"),
            "custentity_hq_city": address.get("locality"),
            "custentity_contract_from": period.get("value"),
            "custentity_contract_until": period.get("until"),
            "custentity_kickoff": custom.get("Kick-off"),
            "custentity_call_from": window.get("value"),
            "custentity_call_until": window.get("until"),
            "custentity_opens_at": custom.get("Opens at", {}).get("value"),
            "custentity_score": custom.get("Score"),
            "custentity_account_manager": str(custom["Account manager"]) if "Account manager" in custom else None,
            "custentity_parent_org": custom.get("Parent organization"),
            "custentity_main_contact": custom.get("Main contact"),
            "custentity_notes": custom.get("Notes"),
            "custentity_hotline": custom.get("Hotline"),
            "custentity_number": custom.get("Number"),
            "isInactive": True if thing["deleted"] else None,
        }
    )


def contact(thing: dict[str, Any]) -> dict[str, Any]:
    body, custom = thing["body"], thing["custom"]
    first, _, last = body["name"].partition(" ")
    emails = [entry["value"] for entry in body.get("emails", []) if entry["primary"]]
    phones = [entry["value"] for entry in body.get("phones", []) if entry["primary"]]
    return without_nulls(
        {
            "firstName": first,
            "lastName": last,
            "subsidiary": {"id": "2"},
            "company": {"$customer": body["org_id"]["$ref"]} if "org_id" in body else None,
            "email": emails[0] if emails else None,
            "phone": phones[0] if phones else None,
            "custentity_score": custom.get("Score"),
            "custentity_birthday": custom.get("Birthday"),
            "custentity_tier": custom.get("Tier"),
            "isInactive": True if thing["deleted"] else None,
        }
    )


def opportunity(thing: dict[str, Any]) -> dict[str, Any]:
    body, custom = thing["body"], thing["custom"]
    status = {"won": WON, "lost": LOST}.get(body.get("status", "open"), STAGE_STATUS[body["stage_id"]])
    return without_nulls(
        {
            "title": body["title"],
            "projectedTotal": body["value"],
            "currency": {"id": CURRENCY_IDS[body.get("currency", "EUR")]},
            "entityStatus": {"id": LOST if thing["deleted"] else status},
            "expectedCloseDate": body.get("expected_close_date"),
            "memo": body.get("lost_reason"),
            "entity": {"$customer": body["org_id"]["$ref"]},
            "custbody_reference": custom.get("Reference"),
            "custbody_reference_2": custom.get("Reference (2)"),
            "custbody_source": custom.get("Source"),
            "custbody_kickoff": custom.get("Kick-off"),
        }
    )


def expected(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"customer": {}, "contact": {}, "opportunity": {}, "absent": []}
    makers = {
        "organization": ("customer", customer),
        "person": ("contact", contact),
        "deal": ("opportunity", opportunity),
    }
    for ref, thing in objects.items():
        record, make = makers[entity_of(ref)]
        if thing["rejected"]:
            found["absent"].append(ref)
        else:
            found[record][ref] = {"fields": make(thing), "at": thing["at"]}
    return found
