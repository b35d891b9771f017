"""Names of NetSuite body fields, as far as a flow is checked against them (REST API Browser 2026.1). Pure.

A field that is not listed may exist all the same: an account has fields of its own, and Oracle adds some each release.
So only what looks like a slip of a listed name is refused.
"""

from __future__ import annotations

from typing import Final

from ml_connector.common.keys import RecordType
from ml_connector.common.suggesting import meant

_ENTITY: Final = (
    "comments", "companyName", "customForm", "email", "entityId", "fax", "firstName", "isInactive", "isPrivate",
    "lastName", "middleName", "phone", "phoneticName", "salutation", "subsidiary", "title",
)  # fmt: skip
KNOWN: Final[dict[RecordType, tuple[str, ...]]] = {
    "customer": (
        *_ENTITY, "accountNumber", "altEmail", "altName", "altPhone", "autoName", "buyingReason", "buyingTimeFrame",
        "category", "creditLimit", "currency", "dateClosed", "emailPreference", "endDate", "entityStatus",
        "estimatedBudget", "homePhone", "image", "isBudgetApproved", "isPerson", "language", "leadSource",
        "mobilePhone", "openingBalance", "parent", "partner", "priceLevel", "printOnCheckAs", "receivablesAccount",
        "resaleNumber", "salesReadiness", "salesRep", "shippingCarrier", "shippingItem", "startDate", "taxable",
        "taxItem", "terms", "territory", "url", "vatRegNumber", "webLead",
    ),
    "contact": (
        *_ENTITY, "altEmail", "assistant", "assistantPhone", "category", "contactSource", "department", "homePhone",
        "mobilePhone", "officePhone", "owner", "supervisor", "supervisorPhone",
    ),
    "opportunity": (
        "actionItem", "buyingReason", "buyingTimeFrame", "class", "closeDate", "currency", "customForm", "department",
        "entityStatus", "estimatedBudget", "exchangeRate", "expectedCloseDate", "forecastType", "isBudgetApproved",
        "job", "leadSource", "location", "memo", "partner", "probability", "projectedTotal", "rangeHigh", "rangeLow",
        "salesReadiness", "salesRep", "status", "subsidiary", "terms", "title", "tranDate", "tranId", "weightedTotal",
        "winLossReason",
    ),
}  # fmt: skip

# Lines are appended on every repeat of a write, so they are not mapped (DESIGN section 5).
SUBLISTS: Final = frozenset({
    "accessRole", "addressBook", "campaigns", "competitors", "contactRoles", "contactList", "creditCards",
    "currencyList", "download", "groupPricing", "item", "itemPricing", "partners", "salesTeam", "subscriptions",
    "taxRegistration",
})  # fmt: skip

# What the connector writes by itself; the key is the field, the value says from where.
OWN: Final = {
    "externalId": "it is made from external_ids and the object's id",
    "id": "records are addressed by their external ids only",
    "links": "NetSuite makes it",
}
PARENT_FIELD: Final[dict[RecordType, str]] = {"contact": "company", "opportunity": "entity"}

_SLIP: Final = 0.8  # of `difflib`; below it another field may well be called so


def problem_of(record: RecordType, field: str) -> str | None:
    """Why `field` cannot be mapped for records of this type; None when it can."""
    if field in KNOWN[record] or field.startswith("cust"):
        return None
    if field in SUBLISTS:
        return "it is a list of lines, which NetSuite would append to on every repeat: only body fields can be mapped"
    if field in OWN:
        return f"it cannot be mapped: {OWN[field]}"
    if field == PARENT_FIELD.get(record):
        return "it cannot be mapped: it is the customer that `parent` leads to"
    likely = meant(field, KNOWN[record], like=_SLIP)
    return f"no {record} has such a field; did you mean {likely!r}?" if likely is not None else None
