"""The request for one record: what NetSuite shall hold."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ml_connector.netsuite_writer import write
from support.desired import child, desired, observed


def body(request: write.Request | None) -> object:
    assert request is not None
    return msgspec.json.decode(request.body)


def test_an_upsert_is_addressed_by_external_id() -> None:
    request = write.upsert(desired("organization", "5"), observed=None, parent_id=None, found={})

    assert (request.method, request.path) == ("PUT", "/services/rest/record/v1/customer/eid:pd-org-5")


def test_an_empty_field_is_left_out_of_a_create_and_cleared_on_a_change() -> None:
    state = desired(fields={"companyName": "A", "email": None})

    created = write.upsert(state, observed=None, parent_id=None, found={})
    changed = write.upsert(state, observed=observed(state), parent_id=None, found={})

    assert body(created) == {"companyName": "A"}
    assert body(changed) == {"companyName": "A", "email": None}


def test_parents_and_references_are_internal_ids() -> None:
    deal = child("deal", "1", of="7", fields={"title": "D", "projectedTotal": Decimal("0.10")})

    request = write.upsert(deal, observed=None, parent_id="101", found={"currency": "2"})

    assert request.body == b'{"title":"D","projectedTotal":0.10,"currency":{"id":"2"},"entity":{"id":"101"}}'


def test_a_person_that_left_its_organization_is_taken_out() -> None:
    person = desired("person", "1", fields={"lastName": "P"})

    request = write.upsert(person, observed=observed(person), parent_id=None, found={})

    assert body(request) == {"lastName": "P", "company": None}


def test_a_restored_organization_comes_back_to_life() -> None:
    state = desired()

    request = write.upsert(state, observed=observed(state, action="inactivate"), parent_id=None, found={})

    assert body(request) == {"companyName": "Organization 1", "isInactive": False}


def test_a_deleted_person_is_made_inactive() -> None:
    request = write.inactivate(desired("person", "1", action="inactivate"), lost_status=None)

    assert request is not None
    assert (request.method, request.body) == ("PATCH", b'{"isInactive":true}')


def test_a_deleted_deal_is_lost_if_the_flow_says_how() -> None:
    deal = desired("deal", "1", action="inactivate")

    assert body(write.inactivate(deal, lost_status="14")) == {"entityStatus": {"id": "14"}}
    assert write.inactivate(deal, lost_status=None) is None


def test_equal_bodies_have_equal_digests() -> None:
    one = write.upsert(desired(version=1), observed=None, parent_id=None, found={})
    two = write.upsert(desired(version=2), observed=None, parent_id=None, found={})
    other = write.upsert(desired("organization", "2"), observed=None, parent_id=None, found={})

    assert one.digest == two.digest != other.digest


def test_record_is_the_same_after_its_creation_as_before_the_next_change() -> None:
    """Else each record with an empty field would be written once more when it comes again unchanged."""
    person = desired("person", "1", fields={"lastName": "P :null", "email": None, "amount": Decimal("0.10")})
    emptied = desired("person", "1", fields={"lastName": None, "email": None, "amount": Decimal("0.10")})

    created = write.upsert(person, observed=None, parent_id=None, found={})
    again = write.upsert(person, observed=observed(person), parent_id=None, found={})
    cleared = write.upsert(emptied, observed=observed(person), parent_id=None, found={})

    assert created.body != again.body and created.digest == again.digest != cleared.digest
    assert created.as_("adopt", "7").digest != again.digest  # somebody else may have filled it
