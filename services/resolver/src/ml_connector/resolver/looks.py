"""What a look at the Pipedrive side of a flow found, from what Pipedrive answered. Pure.

In: answers as they came, the flow's plan. Out: `Looked`. Names of fields and stages are the company's own settings and
may be told; what users/me says of its user is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

from ml_connector.common.asking import Looked
from ml_connector.common.suggesting import did_you_mean, meant
from ml_connector.resolver.definitions import Definitions, Stages
from ml_connector.resolver.pipedrive.trouble import trouble
from ml_connector.resolver.plan import FlowPlan

CLOCKS_APART_S: Final = 60
MAX_NAMED: Final = 10
SCARCE: Final = 0.1  # of the tokens that may be spent
DELIVERIES: Final = "/webhooks/pipedrive/"  # ingest's own path
EVERY_ACTION: Final = frozenset({"create", "change", "delete"})


def authentication(plan: FlowPlan, status: int, headers: Mapping[str, str], user: Mapping[str, Any] | None) -> Looked:
    """The answer to users/me; `user` is what it holds."""
    if status != 200:
        return Looked("failed", f"{trouble(status, headers).reason} (HTTP {status})", _after(plan, status))
    if user is None:
        return Looked("failed", "the answer is not Pipedrive's", "see that pipedrive.base_url leads to Pipedrive's API")
    if user.get("is_admin") in (0, False):
        fix = "take the credential of an administrator, or expect what its user may not see to be missing"
        return Looked("warning", "Pipedrive accepts the credential, but its user is no administrator", fix)
    return Looked("ok", "Pipedrive accepts the credential")


def _after(plan: FlowPlan, status: int) -> str:
    match status:
        case 401:
            if plan.flow.pipedrive.auth == "oauth2":
                return to_reconnect(plan)
            return f"copy the token of a user of this company, then {to_store(plan)}"
        case 402:
            return "see in Pipedrive that the account is active and paid"
        case 403:
            return "see in Pipedrive that the user is active and may use the API; a ban ends by itself within minutes"
        case 429:
            return "wait; if it comes again, lower pipedrive.limits of the flow, or find who else spends the tokens"
        case _ if 300 <= status < 400:
            return "the company may have another name by now: see its address in the browser"
        case _:
            return "ask again in some minutes; see status.pipedrive.com"


def to_store(plan: FlowPlan) -> str:
    """What the flow logs in with."""
    owner, environment = f"pipedrive/{plan.company}", plan.flow.environment
    if plan.flow.pipedrive.auth == "oauth2":
        commands = f"`mlc secrets set {owner} oauth2-client` and `mlc secrets set {owner} oauth2`"
        return f"{commands}, both for the {environment} environment"
    return f"`mlc secrets set {owner} api-token`, for the {environment} environment"


def to_reconnect(plan: FlowPlan) -> str:
    owner, environment = f"pipedrive/{plan.company}", plan.flow.environment
    return f"allow the app again in Pipedrive, then `mlc secrets set {owner} oauth2`, for the {environment} environment"


def company(plan: FlowPlan, user: Mapping[str, Any]) -> Looked:
    """Whether the credential belongs to the company that the flow names."""
    side = plan.flow.pipedrive
    number, domain = str(user.get("company_id")), str(user.get("company_domain"))
    says = f"the credential is of company {domain} ({number})"
    if side.company_id is not None and side.company_id != number:
        return Looked("failed", f"{says}, but the flow's company_id is {side.company_id}", _OTHER_COMPANY)
    if domain == side.company:
        return Looked("ok", says)
    known = side.company_id is not None or side.base_url is not None
    return Looked("warning" if known else "failed", f"{says}, but the flow says {side.company}", _OTHER_COMPANY)


_OTHER_COMPANY: Final = "set a credential of the flow's company, or correct pipedrive.company and company_id"


def fields(wanted: Mapping[str, frozenset[str]], found: Mapping[str, Definitions]) -> Looked:
    """`wanted`: by entity, the names that its expressions have in `custom[...]`."""
    absent = [
        f"{entity}: custom[{name!r}]{did_you_mean(name, found[entity].names)}"
        for entity, names in wanted.items()
        for name in found[entity].bound(names).undefined
    ]
    if absent:
        fix = "correct the names in the flow, or make the fields in Pipedrive; until then they are held back"
        return Looked("failed", f"the company has no such field: {_named(absent)}", fix)
    count = sum(map(len, wanted.values()))
    return Looked("ok", f"custom fields that the mapping names: {count}; all exist")


def stages(mapped: Iterable[str], found: Stages, *, needed: bool) -> Looked:
    """`needed`: a deal in a stage without NetSuite status cannot be mapped."""
    mapped = frozenset(mapped)
    unknown = [
        f"{name!r}{_like(name, found.names.values())}"
        for name in sorted(mapped)
        if name not in found.names and name not in found.names.values()
    ]
    if unknown:
        return Looked("failed", f"the company has no such stage: {_named(unknown)}", "correct `stages` of the flow")
    left = sorted(name for number, name in found.names.items() if not {number, name} & mapped)
    if left and needed:
        fix = "give each a NetSuite status in `stages`; a deal that gets there becomes a dead letter"
        return Looked("warning", f"stages without a NetSuite status: {_named(map(repr, left))}", fix)
    return Looked("ok", f"stages that the flow names: {len(mapped)}; all exist")


def _like(name: str, known: Iterable[str]) -> str:
    """A stage is known by its pipeline too: the same stage of another pipeline is worth telling."""
    known = sorted(known)
    last = name.rpartition("/")[2].lower()
    same = [one for one in known if one.rpartition("/")[2].lower() == last]
    near = meant(name, known)
    alike = list(dict.fromkeys([near, *same] if near else same))
    return f"; did you mean {' or '.join(map(repr, alike[:3]))}?" if alike else ""


def clock(headers: Mapping[str, str], between_ms: tuple[int, int]) -> Looked:
    """`between_ms`: our own time when it was asked and when it was answered. Date has whole seconds."""
    try:
        theirs_ms = int(parsedate_to_datetime(headers["date"]).timestamp() * 1000)
    except (KeyError, ValueError, TypeError):
        return Looked("warning", "Pipedrive's answer has no date to compare our clock with", "ask again")
    asked_ms, answered_ms = between_ms
    ahead_s = round(max(0, asked_ms - theirs_ms - 999, theirs_ms - answered_ms) / 1000)
    if ahead_s > CLOCKS_APART_S:
        fix = "see that the machine's clock is kept by NTP: signatures and tokens depend on it"
        return Looked("warning", f"our clock and Pipedrive's are {ahead_s} s apart", fix)
    return Looked("ok", f"our clock and Pipedrive's are at most {max(1, ahead_s)} s apart")


def budget(left: int, limit: int) -> Looked:
    """Of the tokens of any 24 hours, by our own count."""
    says = f"{max(0, left)} of {limit} tokens are left by our count of the last 24 hours"
    fix = "raise pipedrive.limits.daily_tokens of the flow if the company's plan grants more, or lower its reserve"
    if left <= 0:
        return Looked("failed", says, fix)
    return Looked("warning", says, fix) if left < SCARCE * limit else Looked("ok", says)


def webhook(plan: FlowPlan, rows: Sequence[Mapping[str, Any]]) -> Looked:
    """Whether each mapped entity has subscriptions that lead here."""
    path = f"{DELIVERIES}{plan.flow.flow}"
    here = [row for row in rows if _leads_to(path, row.get("subscription_url")) and row.get("is_active") != 0]
    if plan.flow.pipedrive.events == "none":
        return _unwanted(path, here)
    lacking = [entity for entity in plan.entities if not _actions(here, entity) >= EVERY_ACTION]
    if lacking:
        command = f"mlc webhooks install {plan.flow.flow} --url https://<ingest>"
        fix = f"`{command}`; if a relay signs the deliveries, see where that sends them"
        return Looked("warning", f"no webhook leads every event to {path} of: {', '.join(lacking)}", fix)
    answers = [row.get("last_http_status") for row in here]
    refused = [status for status in answers if isinstance(status, int) and not 200 <= status < 300]
    if refused:
        return Looked("warning", f"the last delivery was answered by {refused[0]}", "see what ingest logs")
    return Looked("ok", f"webhooks lead to {path}")


def _unwanted(path: str, here: Sequence[Mapping[str, Any]]) -> Looked:
    if here:
        says = f"webhooks lead to {path}, and the flow takes none (pipedrive.events is none): ingest refuses them"
        return Looked("warning", says, "remove them in Pipedrive, under Tools and apps; or let the flow take them")
    return Looked("ok", "none leads here, and none is needed: the flow reads what changed on its schedule")


def _leads_to(path: str, url: Any) -> bool:
    return isinstance(url, str) and url.partition("?")[0].rstrip("/").endswith(path)


def _actions(rows: Iterable[Mapping[str, Any]], entity: str) -> frozenset[str]:
    found = {str(row.get("event_action")) for row in rows if row.get("event_object") in {entity, "*"}}
    return EVERY_ACTION if "*" in found else frozenset(found)


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
