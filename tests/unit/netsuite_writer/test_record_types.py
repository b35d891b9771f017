"""The last door: whatever asks for it, nothing but customers, contacts and opportunities leaves for NetSuite."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.netsuite_writer.netsuite.client import WRITABLE, NetsuiteClient
from ml_connector.netsuite_writer.write import Request


class Untouched:
    """Neither a gate nor a token nor a connection may be asked for."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


OTHERS = (
    "invoice", "salesOrder", "journalEntry", "customerPayment", "employee", "vendor", "Customer", "customer ", "",
    "customer/../invoice", "customer/1/addressBook", "contact?replace=", "opportunity/eid:x",
)  # fmt: skip


def client() -> NetsuiteClient:
    nothing: Any = Untouched()
    return NetsuiteClient(nothing, "https://netsuite.test", nothing, nothing)


@pytest.mark.parametrize("kind", ["upsert", "update", "create", "adopt", "inactivate"])
@pytest.mark.parametrize("record_type", OTHERS)
async def test_no_other_record_is_written_by_any_kind_of_request(record_type: Any, kind: Any) -> None:
    request = Request(kind, record_type, "pd-org-1", b"{}", internal_id="7")

    with pytest.raises(ValueError, match="is not a record type that ml-connector may write"):
        await client().write(request, traceparent="")


@pytest.mark.parametrize("record_type", OTHERS)
async def test_nor_in_a_batch(record_type: Any) -> None:
    with pytest.raises(ValueError, match="is not a record type that ml-connector may write"):
        await client().submit(record_type, [b"{}"], idempotency_key="k", parallel=True)


def test_these_three_are_all() -> None:
    assert {"customer", "contact", "opportunity"} == WRITABLE
