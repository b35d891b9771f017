"""The fields that records have, as far as this product and the tests use them (REST API Browser 2026.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["text", "number", "boolean", "date", "email", "reference", "sublist"]


@dataclass(frozen=True, slots=True)
class Field:
    """`to`: the record types that a reference may point to; `length`: of a text, in characters."""

    kind: Kind
    to: tuple[str, ...] = ()
    length: int = 0


@dataclass(frozen=True, slots=True)
class RecordType:
    """`group`: external ids are unique over it (Oracle section_N3436356)."""

    name: str
    group: Literal["entity", "transaction", "list"]
    fields: dict[str, Field] = field(hash=False)
    writable: bool = True


def _text(length: int) -> Field:
    return Field("text", length=length)


def _to(*types: str) -> Field:
    return Field("reference", types)


_COMMON: Final = {"externalId": _text(100), "isInactive": Field("boolean"), "comments": _text(4000)}

CUSTOMER: Final = RecordType(
    "customer",
    "entity",
    {
        **_COMMON,
        "companyName": _text(83),
        "entityId": _text(83),
        "isPerson": Field("boolean"),
        "firstName": _text(32),
        "lastName": _text(32),
        "email": Field("email", length=254),
        "phone": _text(32),
        "fax": _text(32),
        "url": _text(100),
        "accountNumber": _text(99),
        "creditLimit": Field("number"),
        "dateClosed": Field("date"),
        "startDate": Field("date"),
        "endDate": Field("date"),
        "subsidiary": _to("subsidiary"),
        "currency": _to("currency"),
        "entityStatus": _to("customerStatus"),
        "salesRep": _to("employee"),
        "parent": _to("customer"),
        "addressBook": Field("sublist"),
    },
)
CONTACT: Final = RecordType(
    "contact",
    "entity",
    {
        **_COMMON,
        "entityId": _text(83),
        "firstName": _text(32),
        "middleName": _text(32),
        "lastName": _text(32),
        "title": _text(100),
        "email": Field("email", length=254),
        "altEmail": Field("email", length=254),
        "phone": _text(32),
        "mobilePhone": _text(32),
        "officePhone": _text(32),
        "company": _to("customer"),
        "subsidiary": _to("subsidiary"),
        "owner": _to("employee"),
        "isPrivate": Field("boolean"),
    },
)
OPPORTUNITY: Final = RecordType(
    "opportunity",
    "transaction",
    {
        "externalId": _text(100),
        "entity": _to("customer"),
        "title": _text(99),
        "memo": _text(999),
        "tranId": _text(45),
        "tranDate": Field("date"),
        "entityStatus": _to("customerStatus"),
        "probability": Field("number"),
        "projectedTotal": Field("number"),
        "rangeLow": Field("number"),
        "rangeHigh": Field("number"),
        "expectedCloseDate": Field("date"),
        "closeDate": Field("date"),
        "currency": _to("currency"),
        "exchangeRate": Field("number"),
        "subsidiary": _to("subsidiary"),
        "salesRep": _to("employee"),
        "winLossReason": _text(300),
        "leadSource": _text(300),
        "actionItem": _text(300),
        "item": Field("sublist"),
    },
)
_NAMED: Final = {"name": _text(100), "symbol": _text(3), "email": Field("email"), "externalId": _text(100)}
LOOKUPS: Final = tuple(
    RecordType(name, "list", _NAMED, writable=False)
    for name in ("subsidiary", "currency", "customerStatus", "employee")
)
TYPES: Final = {kind.name: kind for kind in (CUSTOMER, CONTACT, OPPORTUNITY, *LOOKUPS)}

# Custom fields that every new account has; more can be registered.
CUSTOM_FIELDS: Final[dict[str, dict[str, Field]]] = {
    "customer": {
        "custentity_tier": _text(300),
        "custentity_regions": _text(4000),
        "custentity_annual_value": Field("number"),
        "custentity_annual_currency": _text(3),
        "custentity_hq": _text(4000),
        "custentity_hq_city": _text(300),
        "custentity_contract_from": Field("date"),
        "custentity_contract_until": Field("date"),
        "custentity_kickoff": Field("date"),
        "custentity_call_from": _text(30),
        "custentity_call_until": _text(30),
        "custentity_opens_at": _text(30),
        "custentity_score": Field("number"),
        "custentity_account_manager": _text(30),
        "custentity_parent_org": _text(30),
        "custentity_main_contact": _text(30),
        "custentity_notes": _text(4000),
        "custentity_hotline": _text(60),
        "custentity_number": _text(60),
        "custentity_vip": Field("boolean"),
    },
    "contact": {
        "custentity_tier": _text(300),
        "custentity_regions": _text(4000),
        "custentity_score": Field("number"),
        "custentity_birthday": Field("date"),
        "custentity_notes": _text(4000),
    },
    "opportunity": {
        "custbody_reference": _text(300),
        "custbody_reference_2": _text(300),
        "custbody_source": _text(300),
        "custbody_notes": _text(4000),
        "custbody_score": Field("number"),
        "custbody_kickoff": Field("date"),
    },
}

SEED: Final[dict[str, list[dict[str, str]]]] = {
    "subsidiary": [{"id": "1", "name": "Parent Company"}, {"id": "2", "name": "Europe"},
                   {"id": "3", "name": "Americas"}],
    "currency": [
        {"id": str(number), "symbol": symbol, "name": name}
        for number, (symbol, name) in enumerate(
            [("USD", "US Dollar"), ("GBP", "British Pound"), ("CAD", "Canadian Dollar"), ("EUR", "Euro"),
             ("CHF", "Swiss Franc")],
            start=1,
        )
    ],
    "customerStatus": [
        {"id": str(number), "name": name}
        for number, name in {
            6: "LEAD-Unqualified", 7: "LEAD-Qualified", 8: "PROSPECT-In Discussion",
            9: "PROSPECT-Identified Decision Makers",
            10: "PROSPECT-Proposal", 11: "PROSPECT-In Negotiation", 12: "PROSPECT-Purchasing",
            13: "CUSTOMER-Closed Won",
            14: "PROSPECT-Closed Lost", 15: "CUSTOMER-Renewal", 16: "CUSTOMER-Lost Customer", 17: "PROSPECT-In Review",
            18: "CUSTOMER-Renewed", 19: "CUSTOMER-Signed",
        }.items()
    ],
    "employee": [{"id": "5", "name": "Sam Seller", "email": "sam.seller@example.com"}],
}  # fmt: skip
