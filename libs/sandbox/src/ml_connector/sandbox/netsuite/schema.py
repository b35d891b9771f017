"""The fields that records have, as far as this product and its tests use them (REST API Browser 2026.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

# `list`: a reference into a list of the account that is not modelled; any id is taken.
Kind = Literal["text", "number", "boolean", "date", "email", "reference", "list", "enumeration", "sublist"]


@dataclass(frozen=True, slots=True)
class Field:
    """`to`: the record types that a reference may point to; `length`: of a text, in characters; `line_key`: what tells
    the lines of a keyed sublist apart; `values`: of an enumeration, id -> name, empty for any."""

    kind: Kind
    to: tuple[str, ...] = ()
    length: int = 0
    line_key: str = ""
    values: tuple[tuple[str, str], ...] = ()


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


_LIST: Final = Field("list")
_NUMBER: Final = Field("number")
_BOOLEAN: Final = Field("boolean")
_DATE: Final = Field("date")
_COMMON: Final = {"externalId": _text(100), "isInactive": _BOOLEAN, "comments": _text(4000)}

CUSTOMER: Final = RecordType(
    "customer",
    "entity",
    {
        **_COMMON,
        "companyName": _text(83),
        "entityId": _text(83),
        "autoName": _BOOLEAN,
        "isPerson": _BOOLEAN,
        "firstName": _text(32),
        "lastName": _text(32),
        "email": Field("email", length=254),
        "phone": _text(32),
        "fax": _text(32),
        "url": _text(100),
        "accountNumber": _text(99),
        "creditLimit": _NUMBER,
        "dateClosed": _DATE,
        "startDate": _DATE,
        "endDate": _DATE,
        "subsidiary": _to("subsidiary"),
        "currency": _to("currency"),
        "entityStatus": _to("customerStatus"),
        "salesRep": _to("employee"),
        "parent": _to("customer"),
        "category": _LIST,
        "leadSource": _LIST,
        "addressBook": Field("sublist"),
        "currencyList": Field("sublist", line_key="currency"),
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
        "isPrivate": _BOOLEAN,
        "addressBook": Field("sublist"),
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
        "tranDate": _DATE,
        "prevDate": _DATE,
        "entityStatus": _to("customerStatus"),
        "status": Field("enumeration", values=(("A", "In Progress"), ("B", "Issued Estimate"), ("C", "Closed - Won"),
                                               ("D", "Closed - Lost"))),
        "forecastType": Field("enumeration", values=(("0", "Omitted"), ("1", "Worst Case"), ("2", "Most Likely"),
                                                     ("3", "Upside"))),
        "probability": _NUMBER,
        "projectedTotal": _NUMBER,
        "weightedTotal": _NUMBER,
        "rangeLow": _NUMBER,
        "rangeHigh": _NUMBER,
        "altSalesRangeLow": _NUMBER,
        "altSalesRangeHigh": _NUMBER,
        "altSalesTotal": _NUMBER,
        "projAltSalesAmt": _NUMBER,
        "expectedCloseDate": _DATE,
        "closeDate": _DATE,
        "currency": _to("currency"),
        "exchangeRate": _NUMBER,
        "subsidiary": _to("subsidiary"),
        "salesRep": _to("employee"),
        "winLossReason": _LIST,
        "leadSource": _LIST,
        "actionItem": _text(300),
        "canHaveStackable": _BOOLEAN,
        "isBudgetApproved": _BOOLEAN,
        "shipIsResidential": _BOOLEAN,
        "shipOverride": _BOOLEAN,
        "item": Field("sublist", line_key="line"),
        "salesTeam": Field("sublist", line_key="employee"),
        "competitors": Field("sublist"),
    },
)  # fmt: skip
_NAMED: Final = {
    "name": _text(100), "symbol": _text(3), "email": Field("email"), "externalId": _text(100), "isInactive": _BOOLEAN,
}  # fmt: skip
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
        "custentity_annual_value": _NUMBER,
        "custentity_annual_currency": _text(3),
        "custentity_hq": _text(4000),
        "custentity_hq_city": _text(300),
        "custentity_contract_from": _DATE,
        "custentity_contract_until": _DATE,
        "custentity_kickoff": _DATE,
        "custentity_call_from": _text(30),
        "custentity_call_until": _text(30),
        "custentity_opens_at": _text(30),
        "custentity_score": _NUMBER,
        "custentity_account_manager": _text(30),
        "custentity_parent_org": _text(30),
        "custentity_main_contact": _text(30),
        "custentity_notes": _text(4000),
        "custentity_hotline": _text(60),
        "custentity_number": _text(60),
        "custentity_vip": _BOOLEAN,
    },
    "contact": {
        "custentity_tier": _text(300),
        "custentity_regions": _text(4000),
        "custentity_score": _NUMBER,
        "custentity_birthday": _DATE,
        "custentity_notes": _text(4000),
    },
    "opportunity": {
        "custbody_reference": _text(300),
        "custbody_reference_2": _text(300),
        "custbody_source": _text(300),
        "custbody_notes": _text(4000),
        "custbody_score": _NUMBER,
        "custbody_kickoff": _DATE,
    },
}
MULTI_CURRENCY: Final = frozenset({"currency", "exchangeRate", "currencyList"})  # with the feature only
FIELDS: Final = {name: {**kind.fields, **CUSTOM_FIELDS.get(name, {})} for name, kind in TYPES.items()}


def label(name: str) -> str:
    """As NetSuite's pages and messages call a field: `First Name`, `Annual Value`."""
    own = re.sub(r"cust(?:entity|body)_", "", name)
    if own != name:
        return own.replace("_", " ").title()
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name[:1].upper() + name[1:])


_STATUSES: Final = {
    6: "LEAD-Unqualified", 7: "LEAD-Qualified", 8: "PROSPECT-In Discussion", 9: "PROSPECT-Identified Decision Makers",
    10: "PROSPECT-Proposal", 11: "PROSPECT-In Negotiation", 12: "PROSPECT-Purchasing", 13: "CUSTOMER-Closed Won",
    14: "PROSPECT-Closed Lost", 15: "CUSTOMER-Renewal", 16: "CUSTOMER-Lost Customer", 17: "PROSPECT-In Review",
    18: "CUSTOMER-Renewed", 19: "CUSTOMER-Signed",
}  # fmt: skip
_CURRENCIES: Final = {
    "USD": "US Dollar", "GBP": "British Pound", "CAD": "Canadian Dollar", "EUR": "Euro", "CHF": "Swiss Franc",
}  # fmt: skip
SEED: Final[dict[str, list[dict[str, str]]]] = {
    "subsidiary": [
        {"id": "1", "name": "Parent Company"},
        {"id": "2", "name": "Europe"},
        {"id": "3", "name": "Americas"},
    ],
    "currency": [
        {"id": str(number), "symbol": symbol, "name": name}
        for number, (symbol, name) in enumerate(_CURRENCIES.items(), start=1)
    ],
    "customerStatus": [{"id": str(number), "name": name} for number, name in _STATUSES.items()],
    "employee": [{"id": "5", "name": "Sam Seller", "email": "sam.seller@example.com"}],
}
