"""One account of the NetSuite stand-in without HTTP: what was written to it, and what its SuiteQL shows."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from ml_connector.common.codec import encode_json
from ml_connector.common.keys import RecordType
from ml_connector.sandbox.netsuite import content, suiteql
from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.store import Record
from ml_connector.sandbox.web import Request


def write(
    account: Account, kind: RecordType, external_id: str, body: dict[str, Any], *, on: date = date(2026, 11, 24)
) -> str:
    """As an upsert does: the stand-in checks the body and stores what it makes of it."""
    request = Request("PUT", "", {}, {}, encode_json(body))
    taken = content.read(account.records, kind, request, account.switches)
    internal_id = account.records.next_id()
    at_ms = (on - date(1970, 1, 1)).days * 86_400_000
    account.records.add(Record(internal_id, kind, external_id, taken.fields, at_ms, at_ms))
    return internal_id


def ask(account: Account, q: str) -> list[dict[str, Any]]:
    request = Request("POST", suiteql.PATH, {"limit": "1000"}, {"prefer": "transient"}, msgspec.json.encode({"q": q}))
    rows: list[dict[str, Any]] = msgspec.json.decode(suiteql.handle(account, request).body)["items"]
    return rows
