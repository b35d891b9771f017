"""The settle table, over the bodies that Oracle prints and the texts that others saw (facts/netsuite.md section 7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest

from ml_connector.netsuite_writer.netsuite.client import read_answer
from ml_connector.netsuite_writer.settle import (
    Answer,
    Landed,
    NothingToDo,
    Overloaded,
    Reject,
    TryAgain,
    Unauthorized,
    Verdict,
    Written,
    settle,
)

DOCS = Path(__file__).parents[2] / "data" / "netsuite" / "oracle_docs"


def printed(name: str) -> Answer:
    """The answer as the client reads it from a printed example."""
    found: dict[str, Any] = json.loads((DOCS / name).read_text(encoding="utf-8"))
    content = b"" if found["body"] is None else json.dumps(found["body"]).encode()
    return read_answer(httpx2.Response(found["status"], headers=found.get("headers"), content=content))


@pytest.mark.parametrize(
    ("name", "kind", "verdict"),
    [
        ("write_204.json", "upsert", Written("647")),
        ("error_401_invalid_login.json", "upsert", Unauthorized()),
        ("error_404_nonexistent_id.json", "inactivate", NothingToDo("NetSuite has no such record")),
        ("error_404_nonexistent_id.json", "upsert", Reject("NONEXISTENT_ID", "Record does not exist.")),
        ("error_429_concurrency.json", "upsert", Overloaded()),
        ("error_500_unexpected.json", "upsert", TryAgain(unknown=True)),
        (
            "error_400_invalid_request.json",
            "upsert",
            Reject("INVALID_REQUEST", "The request could not be understood by the server due to malformed syntax."),
        ),
        (
            "error_400_invalid_content.json",
            "upsert",
            Reject(
                "INVALID_CONTENT",
                "Error while accessing resource: You have entered an Invalid Field Value 9999 for the following field:"
                " item",
            ),
        ),
    ],
)
def test_every_printed_answer_has_its_verdict(
    name: str, kind: Literal["upsert", "inactivate"], verdict: Verdict
) -> None:
    assert settle(printed(name), kind) == verdict


SUBSIDIARY = "Error while accessing a resource. Please enter value(s) for: Subsidiary."
CUSTOMER = (
    "A customer record with this ID already exists. You must enter a unique customer ID for each record you create."
)
CONTACT = "Every contact record must have a unique name."


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(0), TryAgain(unknown=True)),
        (Answer(0, sent=False), TryAgain(unknown=False)),
        (Answer(503), TryAgain(unknown=True)),
        (Answer(400, "CONCURRENCY_LIMIT_EXCEEDED"), Overloaded()),
        (Answer(400, "SSS_REQUEST_LIMIT_EXCEEDED"), Overloaded()),
        (Answer(500, "CONCURRENCY_LIMIT_EXCEEDED"), Overloaded()),
        (Answer(403, "INVALID_LOGIN_ATTEMPT"), Unauthorized()),
        (Answer(400, "RCRD_HAS_BEEN_CHANGED"), TryAgain(unknown=False)),
        (Answer(400, "USER_ERROR", "This entity already exists."), Landed()),
        (Answer(400, "USER_ERROR", CUSTOMER), Reject("DUPLICATE", CUSTOMER)),
        (Answer(400, "CONTACT_ALREADY_EXISTS", CONTACT), Reject("DUPLICATE", CONTACT)),
        (Answer(400, "USER_ERROR", SUBSIDIARY), Reject("USER_ERROR", SUBSIDIARY)),
        (Answer(418, "", "a teapot"), Reject("unclassified", "status 418: a teapot")),
        (Answer(202), Reject("unclassified", "status 202: ")),
    ],
)
def test_every_seen_answer_has_its_verdict(answer: Answer, verdict: Verdict) -> None:
    assert settle(answer, "upsert") == verdict
