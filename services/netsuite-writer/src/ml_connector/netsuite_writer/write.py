"""Make the request for one record: the body that NetSuite shall hold. Pure.

In: a desired state, the record's internal id if NetSuite has it, references with their internal ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ml_connector.common.codec import encode_json
from ml_connector.common.keys import RecordType
from ml_connector.common.wire import Desired, Observed
from ml_connector.netsuite_writer.parents import PARENT_FIELD

# Opportunities have no isInactive (facts/netsuite.md section 12): a deleted deal becomes a lost one.
_CAN_BE_INACTIVE: frozenset[RecordType] = frozenset({"customer", "contact"})


@dataclass(frozen=True, slots=True)
class Request:
    """One write. `kind` upsert is PUT by external id, inactivate is PATCH by external id."""

    kind: Literal["upsert", "inactivate"]
    record_type: RecordType
    external_id: str
    body: bytes

    @property
    def method(self) -> str:
        return "PUT" if self.kind == "upsert" else "PATCH"

    @property
    def path(self) -> str:
        return f"/services/rest/record/v1/{self.record_type}/eid:{self.external_id}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()[:32]


def upsert(desired: Desired, *, observed: Observed | None, parent_id: str | None, found: Mapping[str, str]) -> Request:
    """`found`: body field -> internal id of each reference."""
    exists = observed is not None and observed.internal_id is not None
    body: dict[str, Any] = {name: value for name, value in desired.fields.items() if exists or value is not None}
    body.update({name: {"id": internal_id} for name, internal_id in found.items()})
    parent_field = PARENT_FIELD.get(desired.record_type)
    if parent_field is not None and (parent_id is not None or exists):
        body[parent_field] = None if parent_id is None else {"id": parent_id}
    if observed is not None and observed.action == "inactivate" and desired.record_type in _CAN_BE_INACTIVE:
        body.setdefault("isInactive", False)  # it was deleted, and is back
    return Request("upsert", desired.record_type, desired.external_id, encode_json(body))


def inactivate(desired: Desired, *, lost_status: str | None) -> Request | None:
    """None: an opportunity whose flow names no status for deleted deals."""
    if desired.record_type in _CAN_BE_INACTIVE:
        body: dict[str, Any] = {"isInactive": True}
    elif lost_status is not None:
        body = {"entityStatus": {"id": lost_status}}
    else:
        return None
    return Request("inactivate", desired.record_type, desired.external_id, encode_json(body))
