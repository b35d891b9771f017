"""What an answer says about one thing that a check looks at. Pure.

In: what was seen. Out: a finding, with a sentence on what to do. Sources: facts/netsuite.md sections 7, 9, 10, 11.
Where the documents are silent an unexpected answer is a warning that says so (docs/unproven.md).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final, Literal

import httpx2
import msgspec

from ml_connector.common.asking import CheckResult, Looked
from ml_connector.common.errors import AddressRefused, TryLater
from ml_connector.netsuite_writer.netsuite.looking import Seen
from ml_connector.netsuite_writer.netsuite.skew import ahead_s
from ml_connector.netsuite_writer.settle import PERMISSION_CODES, PERMISSION_TEXT, fault_of

SLOW_CLOCK_S: Final = 60
WRONG_CLOCK_S: Final = 300
# Where the role's page has them: Setup > Users/Roles > Manage Roles, Permissions.
PERMISSIONS: Final = {
    "customer": "Lists > Customers, level Edit or Full",
    "contact": "Lists > Contacts, level Edit or Full",
    "opportunity": "Transactions > Opportunity, level Edit or Full",
    "suiteql": "Reports > SuiteAnalytics Workbook",
}
_LOGIN: Final = "Setup > Log in using OAuth 2.0 Access Tokens, and Setup > REST Web Services"
UNPROVEN: Final = "What NetSuite answers here is not documented (docs/unproven.md)"
_SLOTS: Final = "lower netsuite.concurrency of the flow, or ask again when the account's other integrations are done"


# -- the way there -----------------------------------------------------------------------------------------------------


def address(seen: Seen, url: str) -> Looked:
    """Any answer at all will do."""
    if seen.error is None:
        return Looked("ok", f"{url} answers")
    says, fix = _why(seen.error)
    return Looked("failed", f"{url}: {says}", fix)


def _why(error: BaseException) -> tuple[str, str]:
    causes = list(_causes(error))
    url_fix = "compare netsuite.base_url of the flow with Setup > Company > Company Information > Company URLs"
    for cause in causes:
        match cause:
            case AddressRefused():
                return str(cause), "name that network in MLC_ALLOWED_NETWORKS of the netsuite-writer, if it is yours"
            case TryLater():
                return str(cause), "ask again: another netsuite-writer takes the account over, or Kafka is away"
            case socket.gaierror():
                return "the name does not resolve", f"{url_fix}, and see that this machine's DNS works"
            case ssl.SSLError():
                says = f"TLS fails: {getattr(cause, 'reason', None) or type(cause).__name__}"
                return says, "name the authority's certificate (a proxy has its own) in MLC_CA_FILE, or correct the URL"
            case httpx2.ConnectTimeout():
                return "no connection in time", f"see that the firewall lets the netsuite-writer out; {url_fix}"
            case httpx2.TimeoutException():
                return "connected, but no answer in time", "ask again; if it stays so, look at status.netsuite.com"
            case httpx2.ConnectError():
                return "no connection", f"see that the firewall lets the netsuite-writer out; {url_fix}"
    return type(error).__name__, f"ask again; if it stays so, {url_fix}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What lies deepest says most."""
    deeper = error.__cause__ or error.__context__
    if deeper is not None:
        yield from _causes(deeper)
    yield error


def authentication(seen: Seen) -> Looked:
    """Of the token endpoint (facts/netsuite.md section 10)."""
    if seen.answer.status == 200 and token_of(seen.body):
        return Looked("ok", "NetSuite gave a token")
    if seen.answer.status not in {400, 401, 403}:
        return _no_use(seen, "failed")
    match text(seen.body, "error"):
        case "invalid_client":
            says = "NetSuite does not know this client id with this certificate id (invalid_client)"
            fix = (
                "compare client_id with the integration record and certificate_id with Setup > Integration > OAuth 2.0 "
                "Client Credentials (M2M) Setup of this very account (a sandbox refresh empties it), and the algorithm "
                "with the key; then `mlc secrets set`"
            )
        case "invalid_grant":
            says = "NetSuite knows the certificate, but refuses what was signed (invalid_grant)"
            fix = (
                "the private key must be that of the uploaded certificate, neither expired nor revoked, "
                "and this machine's clock must be right"
            )
        case code:
            says = f"NetSuite refuses, for a reason we do not know: status {seen.answer.status} {code}".rstrip()
            fix = (
                "see that the integration record is enabled, with Client Credentials (Machine to Machine) Grant and "
                f"scope REST Web Services; Login Audit Trail has the details. {UNPROVEN}"
            )
    return Looked("failed", says, fix)


def signature(seen: Seen) -> Looked:
    """Of a record list that was asked for by token-based authentication; all that is wrong with it is INVALID_LOGIN."""
    answer = seen.answer
    if fault_of(answer) == "unauthorized":
        says = "NetSuite refuses the signature, and does not say why"
        fix = (
            "compare consumer_key and consumer_secret with the integration record, token_id and token_secret with an "
            "access token of this very account; the record must be enabled, with Token-Based Authentication, the role "
            "needs Log in using Access Tokens, and this machine's clock must be right; "
            "Login Audit Trail has the details"
        )
        return Looked("failed", says, fix)
    if answer.status in {200, 403} or answer.code in PERMISSION_CODES:
        says = "NetSuite takes the signature; Oracle means to end this kind of login in 2028.1 (docs/connecting.md)"
        return Looked("ok", says)
    return _no_use(seen, "failed")


def clock(date: str, now_ms: int) -> Looked:
    """By the header `Date`, which has whole seconds."""
    off_s = ahead_s(date, now_ms)
    if off_s is None:
        return Looked("warning", "NetSuite did not say what time it is", f"see that NTP runs. {UNPROVEN}")
    says = f"this machine is {abs(off_s)} s {'ahead of' if off_s > 0 else 'behind'} NetSuite"
    fix = "let NTP set this machine's clock: what is signed with a wrong time is refused, and must be signed twice"
    if abs(off_s) > WRONG_CLOCK_S:
        return Looked("failed", says, fix)
    if abs(off_s) > SLOW_CLOCK_S:
        return Looked("warning", says, fix)
    return Looked("ok", says)


# -- what the role may -------------------------------------------------------------------------------------------------


def permission(kind: Literal["customer", "contact", "opportunity", "suiteql"], seen: Seen) -> Looked:
    """Reading is all that can be tried without writing."""
    subject = "use SuiteQL" if kind == "suiteql" else f"read {kind} records"
    answer = seen.answer
    if answer.status == 200:
        return Looked("ok", f"the role may {subject}")
    if fault_of(answer) == "unauthorized":
        says = "NetSuite gave a token, but refuses it: so it does when the role lacks a permission to log in"
        return Looked("failed", says, f"add to the role: {_LOGIN}")
    if answer.status == 403 or answer.code in PERMISSION_CODES or PERMISSION_TEXT in answer.detail.lower():
        return Looked("failed", f"the role may not {subject}", f"add to the role: {PERMISSIONS[kind]}")
    return _no_use(seen, "warning")


def concurrency(wanted: int | Literal["auto"], granted: int | None, seen: Seen) -> Looked:
    """`granted`: what the answer says, if it does."""
    if granted is None:
        used = "5 are assumed" if wanted == "auto" else f"the flow's {wanted} are used"
        why = "administrators only" if seen.answer.status == 403 else f"status {seen.answer.status}"
        fix = "compare netsuite.concurrency of the flow with Setup > Integration > Integration Governance"
        says = f"the role may not see how many requests NetSuite grants ({why}); {used}"
        return Looked("warning", says, fix)
    if wanted != "auto" and wanted > granted:
        says = f"the flow has up to {wanted} requests in flight, NetSuite grants {granted}"
        return Looked("warning", says, f"set netsuite.concurrency of the flow to {granted} or less")
    return Looked("ok", f"NetSuite grants {granted} requests in flight")


def _no_use(seen: Seen, unexpected: CheckResult) -> Looked:
    """An answer that says nothing about what was asked."""
    answer = seen.answer
    if seen.error is not None:
        says, fix = _why(seen.error)
        return Looked("failed", f"no answer: {says}", fix)
    match fault_of(answer):
        case "overloaded":
            return Looked("warning", "too many requests are in flight at NetSuite to see it", _SLOTS)
        case "unavailable" if not answer.foreign:
            fix = "ask again; if it stays so, look at status.netsuite.com"
            return Looked("failed", f"NetSuite is not available: status {answer.status}", fix)
    says = f"an unexpected answer: status {answer.status} {answer.code}".rstrip()
    return Looked(unexpected, says, f"see what the Login Audit Trail has of it. {UNPROVEN}")


# -- bodies ------------------------------------------------------------------------------------------------------------


def token_of(body: bytes) -> str:
    """Empty when there is none."""
    return text(body, "access_token")


def text(body: bytes, name: str) -> str:
    """A member that is a text; what is no such thing counts as absent."""
    found = member(body, name)
    return found if isinstance(found, str) else ""


def rows(body: bytes) -> list[dict[str, Any]]:
    found = member(body, "items")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def member(body: bytes, name: str) -> Any:
    """None when there is none."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return found.get(name) if isinstance(found, dict) else None
