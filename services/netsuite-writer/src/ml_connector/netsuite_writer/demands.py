"""What an account demands of records, against what a flow gives them: statuses, subsidiary, custom fields, currencies.

Pure. In: the flow, what was seen. Out: what was found, with a sentence on what to do. Where the documents are silent it
is a warning that says so (docs/unproven.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ml_connector.common.asking import Looked
from ml_connector.common.flows import Flow
from ml_connector.common.keys import RecordType
from ml_connector.netsuite_writer.findings import UNPROVEN, member, rows
from ml_connector.netsuite_writer.netsuite.looking import Seen

MANDATORY: Final = (
    "SELECT scriptid, name FROM customfield WHERE ismandatory = 'T' AND isstored = 'T' "
    "AND fieldtype IN ('ENTITY', 'BODY')"
)
CURRENCIES: Final = "SELECT id, symbol, name, isinactive FROM currency"
MAX_NAMED: Final = 10
# How the script ids of a record type's custom fields begin.
_CUSTOM: Final[dict[RecordType, str]] = {"customer": "custentity", "contact": "custentity", "opportunity": "custbody"}
# lookup("currency", "EUR"), or one whose value comes from the object
_CURRENCY: Final = re.compile(r"""\blookup\(\s*["']currency["']\s*,\s*(?:["']([^"']*)["']\s*\))?""")


def statuses(wanted: Iterable[str], seen: Seen) -> Looked:
    """`wanted`: ids that stages and statuses of the flow name."""
    there = {str(row.get("id")) for row in rows(seen.body)} if seen.answer.status == 200 else set[str]()
    if not there:
        fix = f"compare stages and statuses of the flow with Setup > Sales > Customer Statuses. {UNPROVEN}"
        return Looked("warning", "SuiteQL shows no statuses, so nobody knows whether they exist", fix)
    missing = sorted(set(wanted) - there, key=int)
    if not missing:
        return Looked("ok", "every status that the flow names exists")
    fix = "correct stages and statuses of the flow; Setup > Sales > Customer Statuses shows the ids"
    return Looked("failed", f"NetSuite has no status {', '.join(missing)}", fix)


def subsidiary(lacking: Iterable[str], seen: Seen) -> Looked:
    """`lacking`: record types for which the flow gives none."""
    kinds = " and ".join(lacking)
    if seen.answer.status != 200:
        says = f"SuiteQL shows no subsidiaries, so nobody knows whether {kinds} records need one"
        fix = f"if the account is a OneWorld account, set defaults.subsidiary of the flow. {UNPROVEN}"
        return Looked("warning", says, fix)
    if not rows(seen.body):
        return Looked("ok", "the account has no subsidiaries")
    fix = "set defaults.subsidiary of the flow to a name or an internal id (Setup > Company > Subsidiaries)"
    return Looked("failed", f"the account has subsidiaries, and the flow gives none to {kinds}", fix)


# -- custom fields -----------------------------------------------------------------------------------------------------


def unfilled(flow: Flow, demanded: Seen) -> dict[RecordType, dict[str, str]]:
    """Script id -> label, of mandatory custom fields that the flow does not map, by record types that may have them.

    `demanded`: the answer to MANDATORY, which has script ids in capitals and does not say of which record types.
    """
    fields = {str(row.get("scriptid")).lower(): str(row.get("name")) for row in rows(demanded.body)}
    found: dict[RecordType, dict[str, str]] = {}
    for mapping in flow.entities.values():
        given = {name.lower() for name in mapping.fields}
        prefix = _CUSTOM[mapping.record]
        lacks = {name: label for name, label in fields.items() if name.startswith(prefix) and name not in given}
        if lacks:
            found[mapping.record] = lacks
    return found


def required_fields(
    demanded: Seen, lacking: Mapping[RecordType, Mapping[str, str]], described: Mapping[RecordType, Seen]
) -> Looked:
    """`lacking`: as from `unfilled`. `described`: what the catalog says of those record types."""
    where = "Customization > Lists, Records, & Fields > Entity Fields and Transaction Body Fields"
    if demanded.answer.status != 200:
        says = "SuiteQL does not show which custom fields are mandatory"
        return Looked("warning", says, f"compare the flow with {where}. {UNPROVEN}")
    known = {kind: names for kind, seen in described.items() if (names := _fields(seen))}
    sure = {kind: {n: label for n, label in lacking[kind].items() if n in names} for kind, names in known.items()}
    if told := _told(sure):
        fix = f"map them in `fields` of the flow, a constant will do; or let them not be mandatory: {where}"
        return Looked("failed", f"NetSuite demands custom fields that the flow does not give: {told}", fix)
    if told := _told({kind: names for kind, names in lacking.items() if kind not in known}):
        says = f"NetSuite demands custom fields, and its catalog does not say whether of these records: {told}"
        return Looked("warning", says, f"see in {where} to which records they apply, and map those. {UNPROVEN}")
    return Looked("ok", "the flow gives every custom field that NetSuite demands")


def _told(lacking: Mapping[RecordType, Mapping[str, str]]) -> str:
    """`customer: custentity_tier (Tier), custentity_vip (VIP); contact: ...`"""
    listed = {kind: _some(f"{name} ({label})" for name, label in names.items()) for kind, names in lacking.items()}
    return "; ".join(f"{kind}: {names}" for kind, names in listed.items() if names)


def _fields(seen: Seen) -> frozenset[str]:
    """Of one record type; empty when the catalog does not say."""
    properties = member(seen.body, "properties") if seen.answer.status == 200 else None
    return frozenset(map(str.lower, properties)) if isinstance(properties, dict) else frozenset()


# -- currencies --------------------------------------------------------------------------------------------------------


class Given(NamedTuple):
    """Currencies of a flow: those that it names itself; whether others come from Pipedrive; record types with one."""

    named: frozenset[str]
    from_data: bool
    kinds: tuple[RecordType, ...]


def given_currencies(flow: Flow) -> Given:
    mappings = flow.entities.values()
    texts = [value for mapping in mappings for value in mapping.fields.values() if isinstance(value, str)]
    values = [found[1] for text in texts for found in _CURRENCY.finditer(text)]
    kinds = tuple(sorted(mapping.record for mapping in mappings if "currency" in mapping.fields))
    return Given(frozenset(value for value in values if value), None in values, kinds)


def currencies(given: Given, seen: Seen) -> Looked:
    """`seen`: the answer to CURRENCIES, of an account that has the feature."""
    found = rows(seen.body) if seen.answer.status == 200 else []
    if not found:
        fix = f"compare the look-ups of the flow with Lists > Accounting > Currencies. {UNPROVEN}"
        return Looked("warning", "SuiteQL shows no currencies, so nobody knows whether they exist", fix)
    used = [row for row in found if row.get("isinactive") != "T"]
    inactive = _names(found) - _names(used)
    lacks = sorted(name for name in given.named if name.casefold() not in _names(used))
    if lacks:
        told = (f"{name} is inactive" if name.casefold() in inactive else f"{name} does not exist" for name in lacks)
        fix = 'correct lookup("currency", ...) in the flow, or see to Lists > Accounting > Currencies'
        return Looked("failed", f"currencies of the flow: {_some(told)}", fix)
    if given.from_data:
        symbols = _some(str(row["symbol"]) for row in used if row.get("symbol"))
        return Looked("ok", f"NetSuite has {symbols}; what has another currency becomes a dead letter")
    return Looked("ok", "every currency that the flow names exists")


def without_currencies(described: Mapping[RecordType, Seen]) -> Looked:
    """SuiteQL knows no currencies. `described`: what the catalog says of record types to which the flow gives one."""
    lacks = [kind for kind, seen in described.items() if (names := _fields(seen)) and "currency" not in names]
    if lacks:
        says = f"Multiple Currencies is switched off in this account: {' and '.join(lacks)} records have no currency"
        fix = (
            "take currency out of the flow's fields, or switch the feature on: "
            "Setup > Company > Enable Features > Company > Multiple Currencies"
        )
        return Looked("failed", says, fix)
    fix = f"see whether Multiple Currencies is on, and that the role may see Lists > Currency. {UNPROVEN}"
    return Looked("warning", "SuiteQL knows no currencies, so nobody knows whether they exist", fix)


def _names(found: Iterable[Mapping[str, object]]) -> frozenset[str]:
    return frozenset(str(row[name]).casefold() for row in found for name in ("symbol", "name") if row.get(name))


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more
