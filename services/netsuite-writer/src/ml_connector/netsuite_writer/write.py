"""Make the request for one record: the body that NetSuite shall hold. Pure.

In: a desired state, the record's internal id if NetSuite has it, references with their internal ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from ml_connector.common.codec import decode_json, encode_json
from ml_connector.common.keys import RecordType
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer.parents import PARENT_FIELD
from ml_connector.netsuite_writer.settle import Kind

# Opportunities have no isInactive (facts/netsuite.md section 12): a deleted deal becomes a lost one.
CAN_BE_INACTIVE: frozenset[RecordType] = frozenset({"customer", "contact"})


_METHODS: Final[dict[Kind, str]] = {
    "upsert": "PUT", "update": "PATCH", "create": "POST", "adopt": "PATCH", "inactivate": "PATCH",
}  # fmt: skip
RECORD_PATH: Final = "/services/rest/record/v1/"


class State(Protocol):
    """What a record should be; a desired state is one."""

    @property
    def record_type(self) -> RecordType: ...

    @property
    def external_id(self) -> str: ...

    @property
    def fields(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One write. `internal_id`: of the record to be adopted, as the match query has just found it."""

    kind: Kind
    record_type: RecordType
    external_id: str
    body: bytes
    internal_id: str | None = None

    @property
    def method(self) -> str:
        return _METHODS[self.kind]

    @property
    def address(self) -> str:
        """Record type and name, as in its path."""
        if self.kind == "create":
            return self.record_type
        name = self.internal_id if self.kind == "adopt" else f"eid:{self.external_id}"
        return f"{self.record_type}/{name}"

    @property
    def path(self) -> str:
        return RECORD_PATH + self.address

    @property
    def payload(self) -> bytes:
        """The body; with the external id where the path does not name it."""
        return named(self.external_id, self.body) if self.kind in {"create", "adopt"} else self.body

    @property
    def digest(self) -> str:
        """Of what NetSuite shall hold, however it gets there: an empty field is the same whether it was left out of a
        create or is cleared. A record that is adopted may hold something there: the next write is to clear it."""
        held = self.payload if self.kind == "adopt" else self.body
        if b":null" in held:
            held = encode_json({name: value for name, value in decode_json(held).items() if value is not None})
        return hashlib.sha256(held).hexdigest()[:32]

    def as_(self, kind: Kind, internal_id: str | None = None) -> Request:
        return replace(self, kind=kind, internal_id=internal_id)


def named(external_id: str, body: bytes) -> bytes:
    """A body with its external id as first member. It needs no escaping: letters, digits, `_` and `-` only."""
    rest = body[1:] if body == b"{}" else b"," + body[1:]
    return b'{"externalId":"' + external_id.encode() + b'"' + rest


def upsert(
    desired: State,
    *,
    observed: Observed | None,
    parent_id: str | None,
    found: Mapping[str, str],
    revive: bool = False,
) -> Request:
    """`found`: body field -> internal id of each reference; `revive`: it may be inactive, and shall not be."""
    exists = observed is not None and observed.internal_id is not None
    body: dict[str, Any] = {name: value for name, value in desired.fields.items() if exists or value is not None}
    body.update({name: {"id": internal_id} for name, internal_id in found.items()})
    parent_field = PARENT_FIELD.get(desired.record_type)
    if parent_field is not None and (parent_id is not None or exists):
        body[parent_field] = None if parent_id is None else {"id": parent_id}
    revive = revive or (observed is not None and observed.action != "upsert")  # it was deleted, and is back
    if revive and desired.record_type in CAN_BE_INACTIVE:
        body.setdefault("isInactive", False)
    return Request("upsert", desired.record_type, desired.external_id, encode_json(body))


def inactivate(desired: State, *, lost_status: str | None) -> Request | None:
    """None: an opportunity whose flow names no status for deleted deals."""
    if desired.record_type in CAN_BE_INACTIVE:
        body: dict[str, Any] = {"isInactive": True}
    elif lost_status is not None:
        body = {"entityStatus": {"id": lost_status}}
    else:
        return None
    return Request("inactivate", desired.record_type, desired.external_id, encode_json(body))
