"""How a value becomes what a NetSuite body field holds: text, exact number, date, boolean or reference. Pure.

In: the field's name and a value of an expression. Out: a JSON value or a `Reference`; None clears. `Unfit` names
types, never a value. Fields that are not listed (custom ones, say) take any scalar (facts/netsuite.md section 10).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ml_connector.common.expressions import Unfit
from ml_connector.common.wire import Reference, ReferenceKind

Convert = Callable[[Any], Any]

# JSON numbers of 64 bits; larger ones are no NetSuite value.
_INT_MOST: Final = 2**63 - 1
_DIGITS_MOST: Final = 40

# Kind `id`: only an internal id will do; of the others the writer can find the id by name.
REFERENCES: Final[dict[str, ReferenceKind]] = {
    "currency": "currency",
    "subsidiary": "subsidiary",
    "entityStatus": "status",
    "salesRep": "employee",
    "owner": "employee",
    **dict.fromkeys(
        (
            "category",
            "terms",
            "priceLevel",
            "leadSource",
            "territory",
            "partner",
            "parent",
            "winLossReason",
            "forecastType",
            "department",
            "class",
            "location",
            "job",
            "campaignCategory",
            "customForm",
        ),
        "id",
    ),
}
_DATES: Final = ("expectedCloseDate", "closeDate", "tranDate", "startDate", "endDate", "estimatedStartDate")
_NUMBERS: Final = (
    "projectedTotal",
    "probability",
    "rangeLow",
    "rangeHigh",
    "weightedTotal",
    "exchangeRate",
    "creditLimit",
    "estimatedBudget",
    "openingBalance",
)
_BOOLEANS: Final = ("isInactive", "isPerson", "isPrivate", "autoName", "taxable", "giveAccess", "syncPartnerTeams")
_TEXTS: Final = (
    "companyName",
    "entityId",
    "firstName",
    "middleName",
    "lastName",
    "salutation",
    "title",
    "email",
    "altEmail",
    "phone",
    "altPhone",
    "mobilePhone",
    "officePhone",
    "homePhone",
    "fax",
    "url",
    "comments",
    "memo",
    "accountNumber",
    "vatRegNumber",
    "tranId",
    "altName",
    "printOnCheckAs",
    "resaleNumber",
)


def converter(field: str) -> Convert:
    """What makes a value fit `field`."""
    return _CONVERTERS.get(field, _scalar)


def takes_texts(convert: Convert) -> bool:
    """Whether it leaves a text as it is, if it is not empty."""
    return convert in (_text, _scalar)


def type_name(value: object) -> str:
    """A value's type in the words of JSON."""
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "list", str: "text", int: "number", Decimal: "number", Reference: "reference"}
    return names.get(type(value), type(value).__name__)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):  # most are
        return value or None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Reference):
        return _reference(value.kind)(value)
    if isinstance(value, int | Decimal):
        return _within_range(value)
    raise Unfit(f"a field cannot hold a value of type {type_name(value)}; name one of its members, or join it")


def _text(value: Any) -> str | None:
    if type(value) is int and -_INT_MOST <= value <= _INT_MOST:  # most that are no texts are ids
        return str(value)
    value = _scalar(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | Reference):
        raise Unfit(f"a text field cannot hold a value of type {type_name(value)}")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _number(value: Any) -> int | Decimal | None:
    value = _scalar(value)
    if value is None or (isinstance(value, int | Decimal) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        try:
            return _within_range(Decimal(value.strip()))
        except InvalidOperation as error:
            raise Unfit("a number field cannot hold a text that is no number") from error
    raise Unfit(f"a number field cannot hold a value of type {type_name(value)}")


def _within_range(value: int | Decimal) -> int | Decimal:
    """Amounts stay exact; what no amount can be is refused."""
    if isinstance(value, int):
        if abs(value) > _INT_MOST:
            raise Unfit("a number of more than 64 bits")
        return value
    if not value.is_finite() or abs(value.adjusted()) > _DIGITS_MOST or len(value.as_tuple().digits) > _DIGITS_MOST:
        raise Unfit(f"a number of more than {_DIGITS_MOST} digits")
    return value


def _date(value: Any) -> str | None:
    """`2026-05-31`; of a moment its day in UTC, as Pipedrive gives it."""
    value = _scalar(value)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unfit(f"a date field cannot hold a value of type {type_name(value)}")
    try:
        return (date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value).date()).isoformat()
    except ValueError as error:
        raise Unfit("a date field cannot hold a text that is no date (YYYY-MM-DD)") from error


def _boolean(value: Any) -> bool | None:
    value = _scalar(value)
    if value is None or isinstance(value, bool):
        return value
    found = {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
    if found is None or not isinstance(value, str):
        raise Unfit(f"a boolean field cannot hold a value of type {type_name(value)} (but true, false, yes or no)")
    return found


def _reference(kind: ReferenceKind) -> Convert:
    def convert(value: Any) -> Reference | None:
        if isinstance(value, Reference):
            value, wanted = value.value, value.kind
        else:
            value, wanted = _text(value), kind
        if value is None or value == "":
            return None
        if value.isascii() and value.isdigit():
            return Reference("id", value)
        if wanted == "id":
            raise Unfit("this reference needs an internal id (a whole number)")
        return Reference(wanted, value)

    return convert


_CONVERTERS: Final[dict[str, Convert]] = {
    **{name: _reference(kind) for name, kind in REFERENCES.items()},
    **dict.fromkeys(_DATES, _date),
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_BOOLEANS, _boolean),
    **dict.fromkeys(_TEXTS, _text),
}
