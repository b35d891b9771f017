"""The settle table: every row of facts/netsuite.md section 7 and of DESIGN section 6 that NetSuite can cause.

From the bodies that Oracle prints and the texts that others saw, as the client reads them from the wire.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from ml_connector.netsuite_writer.netsuite.reading import read_answer
from ml_connector.netsuite_writer.settle import (
    Answer,
    Fault,
    Forbidden,
    Kind,
    Landed,
    NothingToDo,
    Overloaded,
    Reject,
    TryAgain,
    Unauthorized,
    Vanished,
    Verdict,
    Written,
    fault_of,
    settle,
)

DOCS: Final = Path(__file__).parents[2] / "data" / "netsuite" / "oracle_docs"
WHERE: Final = "https://demo123.suitetalk.api.netsuite.com/services/rest"


def printed(name: str) -> Answer:
    """The answer as the client reads it from an example that Oracle prints."""
    found: dict[str, Any] = json.loads((DOCS / f"{name}.json").read_text(encoding="utf-8"))
    return answered(found["status"], found["body"], **found.get("headers", {}))


def answered(status: int, body: Any = None, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return read_answer(httpx2.Response(status, headers=headers, content=content))


def said(status: int, code: str, detail: str = "") -> Answer:
    """An error body in today's form (Oracle section_156570709583)."""
    error = {"detail": detail, "o:errorCode": code}
    return answered(status, {"type": "x", "title": "Error", "status": status, "o:errorDetails": [error]})


# Texts that were seen on real accounts, or stand in Oracle's error list (section 7).
SUBSIDIARY: Final = "Error while accessing a resource. Please enter value(s) for: Subsidiary."
NAMES: Final = "Error while accessing a resource. Please enter value(s) for: First Name, Last Name."
EXISTS: Final = "This entity already exists."
NO_PERMISSION: Final = "Your current role does not have permission to perform this action."
LOCKED: Final = "This record has been locked by a user defined workflow"
DELETED: Final = "The record has been deleted since you retrieved it."
CUSTOMER: Final = (
    "A customer record with this ID already exists. You must enter a unique customer ID for each record you create."
)
CONTACT: Final = "Every contact record must have a unique name."
DEPENDENTS: Final = "This record cannot be deleted because it has dependent records."
NO_RECORD: Final = "Record does not exist."
NO_INSTANCE: Final = "The record instance does not exist. Provide a valid record instance ID."
MALFORMED: Final = "The request could not be understood by the server due to malformed syntax."
BAD_ITEM: Final = (
    "Error while accessing resource: You have entered an Invalid Field Value 9999 for the following field: item"
)
TOO_MANY: Final = "Concurrent request limit exceeded. Request blocked. Verify your concurrency limits at Setup > ..."
USE_LOOK_UP: Final = "This account refuses PUT: set netsuite.opportunities: look-up in the flow."
LOST: Final = TryAgain(unknown=True)
NOT_NOW: Final = TryAgain(unknown=False)

# What was answered; to which request; what it says about the account, if anything; the verdict on the record.
Row = tuple[Answer, Kind, Fault | None, Verdict]
TABLE: Final[dict[str, Row]] = {
    # -- written (sections 2 and 3)
    "204, the id in an absolute Location": (printed("write_204"), "upsert", None, Written("647")),
    "204, the id in a relative Location": (
        answered(204, location="/services/rest/record/v1/customer/647"),
        "create",
        None,
        Written("647"),
    ),
    "201, as one page of Oracle's has it": (
        answered(201, location=f"{WHERE}/record/v1/customer/7"),
        "update",
        None,
        Written("7"),
    ),
    "204 without a Location: looked up": (answered(204), "upsert", None, Written(None)),
    "204 to an adoption": (answered(204, location="x/customer/9"), "adopt", None, Written("9")),
    "204 to an inactivation": (answered(204, location="x/contact/9"), "inactivate", None, Written("9")),
    # -- a fine status with an error in the body, as results of batches may have it (section 16)
    "200 with an error body": (
        answered(200, {"status": 400, "o:errorDetails": [{"detail": SUBSIDIARY, "o:errorCode": "USER_ERROR"}]}),
        "upsert",
        None,
        Reject("USER_ERROR", SUBSIDIARY),
    ),
    "200 with an error body of a busy server": (
        answered(200, {"status": 500, "o:errorDetails": [{"detail": "x", "o:errorCode": "UNEXPECTED_ERROR"}]}),
        "upsert",
        "unavailable",
        LOST,
    ),
    "200 with an error body that names no status": (
        answered(200, {"o:errorDetails": [{"detail": EXISTS, "o:errorCode": "USER_ERROR"}]}),
        "upsert",
        None,
        Landed(),
    ),
    # -- overload, by code whatever the status
    "429 as printed, misleading code at top level": (
        printed("error_429_concurrency"),
        "upsert",
        "overloaded",
        Overloaded(),
    ),
    "429 without a body": (answered(429), "upsert", "overloaded", Overloaded()),
    "400 with the code": (
        said(400, "CONCURRENCY_LIMIT_EXCEEDED", TOO_MANY),
        "upsert",
        "overloaded",
        Overloaded(),
    ),
    "500 with the code": (said(500, "CONCURRENCY_LIMIT_EXCEEDED"), "create", "overloaded", Overloaded()),
    "400 as RESTlets say it": (said(400, "SSS_REQUEST_LIMIT_EXCEEDED"), "upsert", "overloaded", Overloaded()),
    "as SOAP says it": (said(500, "WS_REQUEST_BLOCKED"), "upsert", "overloaded", Overloaded()),
    "login refused while others get in: overload in disguise (section 9)": (
        replace(printed("error_401_invalid_login"), under_load=True),
        "upsert",
        "overloaded",
        Overloaded(),
    ),
    # -- our credentials
    "401 as printed": (printed("error_401_invalid_login"), "upsert", "unauthorized", Unauthorized()),
    "401 without a body": (answered(401), "update", "unauthorized", Unauthorized()),
    "login refused under another status": (
        said(403, "INVALID_LOGIN_ATTEMPT"),
        "upsert",
        "unauthorized",
        Unauthorized(),
    ),
    # -- no answer, or the server's fault
    "nothing came back": (Answer(0), "upsert", "unavailable", LOST),
    "never sent": (Answer(0, sent=False), "upsert", "unavailable", NOT_NOW),
    "500 as printed": (printed("error_500_unexpected"), "upsert", "unavailable", LOST),
    "500 to an adoption": (printed("error_500_unexpected"), "adopt", "unavailable", LOST),
    "502 of something in between": (answered(502, b"<html>Bad Gateway</html>"), "upsert", "unavailable", LOST),
    "503, maintenance": (said(503, "SERVICE_UNAVAILABLE"), "upsert", "unavailable", LOST),
    "408": (answered(408), "upsert", "unavailable", LOST),
    # -- somebody else is at the record
    "optimistic lock": (said(400, "RCRD_HAS_BEEN_CHANGED", "Record has been changed"), "upsert", None, NOT_NOW),
    "optimistic lock, told by the text only": (
        said(400, "USER_ERROR", "Record has been changed"),
        "upsert",
        None,
        NOT_NOW,
    ),
    "locked by a workflow": (said(400, "USER_ERROR", LOCKED), "upsert", None, NOT_NOW),
    "deleted meanwhile": (said(400, "USER_ERROR", DELETED), "update", None, NOT_NOW),
    # -- permissions
    "403 by code": (
        said(403, "INSUFFICIENT_PERMISSION", "No."),
        "upsert",
        None,
        Forbidden("INSUFFICIENT_PERMISSION", "No."),
    ),
    "400 by code": (
        said(400, "INSUFFICIENT_PERMISSION", "No."),
        "inactivate",
        None,
        Forbidden("INSUFFICIENT_PERMISSION", "No."),
    ),
    "400 by text": (said(400, "USER_ERROR", NO_PERMISSION), "upsert", None, Forbidden("USER_ERROR", NO_PERMISSION)),
    # -- not there
    "404 to an upsert": (
        printed("error_404_nonexistent_id"),
        "upsert",
        None,
        Reject("NONEXISTENT_ID", NO_RECORD),
    ),
    "404 to a create, as seen live": (
        said(404, "NONEXISTENT_ID", NO_INSTANCE),
        "create",
        None,
        Reject("NONEXISTENT_ID", NO_INSTANCE),
    ),
    "404 to an update": (printed("error_404_nonexistent_id"), "update", None, Vanished()),
    "404 to an adoption, as seen live": (said(404, "NONEXISTENT_ID", NO_INSTANCE), "adopt", None, Vanished()),
    "404 to an inactivation": (
        printed("error_404_nonexistent_id"),
        "inactivate",
        None,
        NothingToDo("NetSuite has no such record"),
    ),
    # -- PUT that is not taken (section 3)
    "405 to an upsert": (answered(405), "upsert", None, Reject("UPSERT_REFUSED", USE_LOOK_UP)),
    "405 to an upsert, with a code": (
        said(405, "INVALID_REQUEST", "x"),
        "upsert",
        None,
        Reject("UPSERT_REFUSED", USE_LOOK_UP),
    ),
    "405 to an update": (said(405, "INVALID_REQUEST", "x"), "update", None, Reject("INVALID_REQUEST", "x")),
    # -- our own external id is there, or another has the name
    "our external id exists": (said(400, "USER_ERROR", EXISTS), "upsert", None, Landed()),
    "our external id exists, in a longer text": (
        said(400, "USER_ERROR", f"Error while accessing a resource. {EXISTS}"),
        "create",
        None,
        Landed(),
    ),
    "our external id exists elsewhere: adoption": (said(400, "USER_ERROR", EXISTS), "adopt", None, Landed()),
    "another customer has the name": (
        said(400, "USER_ERROR", CUSTOMER),
        "upsert",
        None,
        Reject("DUPLICATE", CUSTOMER),
    ),
    "another customer has the name, SOAP's code": (
        said(400, "UNIQUE_CUST_ID_REQD", CUSTOMER),
        "create",
        None,
        Reject("DUPLICATE", CUSTOMER),
    ),
    "another contact has the name": (
        said(400, "CONTACT_ALREADY_EXISTS", CONTACT),
        "upsert",
        None,
        Reject("DUPLICATE", CONTACT),
    ),
    "another contact has the name, expected code": (
        said(400, "USER_ERROR", CONTACT),
        "upsert",
        None,
        Reject("DUPLICATE", CONTACT),
    ),
    # -- the record's own fault
    "bad reference, as printed": (
        printed("error_400_invalid_content"),
        "upsert",
        None,
        Reject("INVALID_CONTENT", BAD_ITEM),
    ),
    "malformed address, as printed": (
        printed("error_400_invalid_request"),
        "upsert",
        None,
        Reject("INVALID_REQUEST", MALFORMED),
    ),
    "bad query": (said(400, "INVALID_PARAMETER", "q"), "upsert", None, Reject("INVALID_PARAMETER", "q")),
    "subsidiary missing": (
        said(400, "USER_ERROR", SUBSIDIARY),
        "upsert",
        None,
        Reject("USER_ERROR", SUBSIDIARY),
    ),
    "names missing": (said(400, "USER_ERROR", NAMES), "create", None, Reject("USER_ERROR", NAMES)),
    "dependants": (said(400, "USER_ERROR", DEPENDENTS), "inactivate", None, Reject("USER_ERROR", DEPENDENTS)),
    "reference to nothing, hand-written mocks": (
        said(400, "INVALID_KEY_OR_REF", "x"),
        "upsert",
        None,
        Reject("INVALID_KEY_OR_REF", "x"),
    ),
    "older form, code at top level": (
        answered(400, {"title": "Invalid value", "status": 400, "o:errorCode": "USER_ERROR"}),
        "upsert",
        None,
        Reject("USER_ERROR", "Invalid value"),
    ),
    "an idempotency key twice, of a request that has none": (
        printed("error_400_idempotency_conflict"),
        "upsert",
        None,
        Reject("IDEMPOTENCY_ERROR", printed("error_400_idempotency_conflict").detail),
    ),
    "413": (said(413, "REQUEST_TOO_LARGE", "x"), "upsert", None, Reject("REQUEST_TOO_LARGE", "x")),
    # -- no row
    "202 that nobody asked for": (
        printed("async_submit_202"),
        "upsert",
        None,
        Reject("unclassified", "status 202: "),
    ),
    "a teapot": (said(418, "TEAPOT", "a teapot"), "upsert", None, Reject("unclassified", "status 418: a teapot")),
    # -- refused by something in between: no fault of the record (DESIGN rule 6)
    "a proxy's page": (answered(403, b"<html>Blocked</html>"), "upsert", "unavailable", LOST),
    "a CDN's page": (answered(404, b"<html>Not found</html>"), "upsert", "unavailable", LOST),
    "a page instead of the record to be updated": (answered(404, b"<html>"), "update", "unavailable", LOST),
    "a page instead of the record to be inactivated": (answered(404, b"<html>"), "inactivate", "unavailable", LOST),
    "a page that says what NetSuite says": (
        answered(400, b"<html>This entity already exists</html>"),
        "upsert",
        "unavailable",
        LOST,
    ),
    "a gateway's own JSON": (answered(403, {"message": "Forbidden"}), "upsert", "unavailable", LOST),
    "no body": (answered(400), "create", "unavailable", LOST),
    "JSON that is no object": (answered(400, ["x"]), "adopt", "unavailable", LOST),
    "an object cut off": (answered(400, b'{"o:errorDetails":[{"detail":"x"'), "upsert", "unavailable", LOST),
    "too large for a proxy": (answered(413, b"<html>"), "upsert", "unavailable", LOST),
    "a proxy wants a password": (answered(407, b"<html>"), "upsert", "unavailable", LOST),
    "moved": (answered(302, location="https://elsewhere/"), "upsert", "unavailable", LOST),
    "405 without a body to an update": (answered(405), "update", None, LOST),
    "a page with status 401": (answered(401, b"<html>"), "upsert", "unauthorized", Unauthorized()),
    "a page with status 429": (answered(429, b"<html>"), "upsert", "overloaded", Overloaded()),
    "an error body without details": (
        answered(400, {"title": "x", "status": 400, "o:errorDetails": []}),
        "upsert",
        None,
        Reject("unclassified", "status 400: x"),
    ),
}


@pytest.mark.parametrize(("answer", "kind", "fault", "verdict"), TABLE.values(), ids=TABLE.keys())
def test_every_answer_has_its_verdict(answer: Answer, kind: Kind, fault: Fault | None, verdict: Verdict) -> None:
    assert fault_of(answer) == fault
    assert settle(answer, kind) == verdict


def test_every_error_that_oracle_prints_is_in_the_table() -> None:
    printed_errors = {printed(path.stem) for path in DOCS.glob("error_*.json")}

    assert printed_errors
    assert printed_errors <= {answer for answer, *_ in TABLE.values()}


def test_a_fault_of_the_account_never_rejects_a_record() -> None:
    """DESIGN rule 6, for any kind of request."""
    kinds: tuple[Kind, ...] = ("upsert", "update", "create", "adopt", "inactivate")
    faults = [answer for answer, _, fault, _ in TABLE.values() if fault is not None]

    verdicts = [settle(answer, kind) for answer in faults for kind in kinds]

    assert not [verdict for verdict in verdicts if isinstance(verdict, Reject | NothingToDo | Forbidden | Written)]
