"""The sentences of the demo, one by one, over real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from confluent_kafka import Producer

from ml_connector.cli.accounting import recompute
from ml_connector.cli.stack import StackOptions
from ml_connector.common import topics
from ml_connector.common.kafka.producer import base_config
from support.living import Living

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def living() -> AsyncIterator[Living]:
    async with Living() as one:
        yield one


async def test_new_organization_person_and_deal_become_linked_records(living: Living) -> None:
    organization = await living.create("organization", {"name": "Linked GmbH"})
    person = await living.create("person", {"name": "Lina Link", "org_id": {"$ref": organization}})
    deal = await living.create(
        "deal", {"title": "First", "value": 12.34, "currency": "USD", "stage_id": 2, "org_id": {"$ref": organization}}
    )
    await living.settle()

    customer, contact, opportunity = [await living.record(ref) for ref in (organization, person, deal)]
    assert customer is not None and contact is not None and opportunity is not None
    assert customer["companyName"] == "Linked GmbH"
    assert (contact["firstName"], contact["lastName"], contact["company"]) == ("Lina", "Link", customer["id"])
    assert opportunity["entity"] == customer["id"]
    assert (opportunity["projectedTotal"], opportunity["currency"], opportunity["entityStatus"]) == (12.34, "1", "8")


async def test_every_custom_field_type_arrives_readable(living: Living) -> None:
    parent = await living.create("organization", {"name": "Parent"})
    custom = {
        "Billing email": "billing@example.com",
        "Tier": "Gold",
        "Regions": ["North", "West"],
        "Annual value": {"value": 1234.5, "currency": "USD"},
        "Headquarters": {"value": "x", "locality": "Tallinn", "formatted_address": "Main Street, Tallinn"},
        "Contract period": {"value": "2026-01-01", "until": "2026-12-31"},
        "Kick-off": "2026-02-28",
        "Call window": {"value": "09:00:00", "until": "11:30:00", "timezone_id": 318},
        "Opens at": {"value": "08:15:00", "timezone_id": 318},
        "Score": 99.5,
        "Account manager": 12415231,
        "Parent organization": {"$ref": parent},
        "Notes": 'two\nlines, "quotes"',
        "Hotline": "+372 600 1234",
        "Number": "ORG-1",
    }
    child = await living.create("organization", {"name": "Child"}, custom)
    await living.settle()

    found = await living.record(child)

    assert found is not None
    got = {name.removeprefix("custentity_"): value for name, value in found.items() if name.startswith("custentity_")}
    assert found["email"] == "billing@example.com"
    assert got == {
        "tier": "Gold",
        "regions": "North, West",
        "annual_value": 1234.5,
        "annual_currency": "USD",
        "hq": "Main Street, Tallinn",
        "hq_city": "Tallinn",
        "contract_from": "2026-01-01",
        "contract_until": "2026-12-31",
        "kickoff": "2026-02-28",
        "call_from": "09:00:00",
        "call_until": "11:30:00",
        "opens_at": "08:15:00",
        "score": 99.5,
        "account_manager": "12415231",
        "parent_org": str(living.hands.id_of(parent)),
        "notes": 'two\nlines, "quotes"',
        "hotline": "+372 600 1234",
        "number": "ORG-1",
    }


async def test_cleared_field_is_cleared_in_netsuite(living: Living) -> None:
    ref = await living.create("organization", {"name": "Cleared"}, {"Tier": "Gold"})
    await living.settle()
    await living.update(ref, {}, {"Tier": None})
    await living.settle()

    found = await living.record(ref)

    assert found is not None and "custentity_tier" not in found


async def test_stage_moves_wins_and_losses_set_the_status(living: Living) -> None:
    organization = await living.create("organization", {"name": "Stages"})
    refs = [
        await living.create("deal", {"title": f"Deal {n}", "stage_id": 1, "org_id": {"$ref": organization}})
        for n in range(3)
    ]
    await living.settle()
    await living.update(refs[0], {"stage_id": 6})
    await living.update(refs[1], {"status": "won"})
    await living.update(refs[2], {"status": "lost", "lost_reason": "Price"})
    await living.settle()

    found = [await living.record(ref) for ref in refs]

    assert [record["entityStatus"] for record in found if record is not None] == ["17", "13", "14"]
    assert found[2] is not None and found[2]["memo"] == "Price"


async def test_merge_inactivates_the_loser_and_keeps_the_winner(living: Living) -> None:
    loser = await living.create("organization", {"name": "Loser"}, {"Tier": "Bronze"})
    winner = await living.create("organization", {"name": "Winner"})
    await living.settle()
    await living.merge(loser, winner)
    await living.settle()

    gone, stays = await living.record(loser), await living.record(winner)

    assert gone is not None and gone["isInactive"] is True
    assert stays is not None and "isInactive" not in stays and stays["custentity_tier"] == "Bronze"


async def test_deleted_objects_become_inactive_or_lost(living: Living) -> None:
    organization = await living.create("organization", {"name": "Goes"})
    person = await living.create("person", {"name": "Goes Too"})
    deal = await living.create("deal", {"title": "Goes as well", "stage_id": 1, "org_id": {"$ref": organization}})
    await living.settle()
    for ref in (deal, person, organization):
        await living.delete(ref)
    await living.settle()

    customer, contact, opportunity = [await living.record(ref) for ref in (organization, person, deal)]

    assert customer is not None and contact is not None and opportunity is not None
    assert customer["isInactive"] is True
    assert contact["isInactive"] is True
    assert opportunity["entityStatus"] == "14"


async def test_older_event_that_comes_late_changes_nothing(living: Living) -> None:
    ref = await living.create("organization", {"name": "First"})
    await living.settle()
    await living.update(ref, {"name": "Older"}, delivery="delay=1.5")
    await living.update(ref, {"name": "Newer"})
    await living.settle()

    found, outcomes = await living.record(ref), await living.outcomes(ref)

    assert found is not None and found["companyName"] == "Newer"
    assert sorted(outcome["outcome"] for outcome in outcomes) == ["superseded", "written", "written"]


async def test_delivery_that_comes_twice_counts_once(living: Living) -> None:
    before = await living.settle()
    ref = await living.create("organization", {"name": "Twice"}, delivery="duplicate")
    after = await living.settle()

    assert after.accepted == before.accepted + 1
    assert after.duplicates == before.duplicates + 1
    assert [outcome["outcome"] for outcome in await living.outcomes(ref)] == ["written"]


async def test_bad_signature_stores_nothing(living: Living) -> None:
    before = len(await living.read(topics.EVENTS))
    ref = await living.create("organization", {"name": "Forged first"}, delivery="bad-signature")
    await living.settle()

    assert len(await living.read(topics.EVENTS)) == before + 1
    assert await living.writes(ref) == 1


async def test_deal_that_comes_before_its_organization_waits_for_it(living: Living) -> None:
    organization = await living.create("organization", {"name": "Late"}, delivery="delay=1.5")
    deal = await living.create("deal", {"title": "Early", "stage_id": 1, "org_id": {"$ref": organization}})
    await living.settle()

    customer, opportunity = await living.record(organization), await living.record(deal)

    assert customer is not None and opportunity is not None
    assert opportunity["entity"] == customer["id"]


async def test_rejected_record_is_a_dead_letter_with_its_bytes_and_others_go_on(living: Living) -> None:
    bad = await living.create("organization", {"name": "Bad"}, {"Billing email": "no address"})
    good = await living.create("organization", {"name": "Good"})
    await living.settle()

    letter = next(one for one in await living.dead_letters() if living.external_id(bad) in one.record_key)
    events = {(event.partition, event.offset): event.value for event in await living.read(topics.EVENTS)}

    assert (letter.stage, letter.code) == ("write", "USER_ERROR")
    assert letter.body == events[letter.partition, letter.offset]
    assert b"Invalid email" in letter.response
    assert await living.record(bad) is None
    assert await living.record(good) is not None


async def test_currency_that_netsuite_does_not_have_is_a_dead_letter_that_names_the_field(living: Living) -> None:
    organization = await living.create("organization", {"name": "Currency"})
    deal = await living.create(
        "deal", {"title": "Odd", "stage_id": 1, "currency": "XTS", "org_id": {"$ref": organization}}
    )
    await living.settle()

    letter = next(one for one in await living.dead_letters() if living.external_id(deal) in one.record_key)

    assert letter.code == "UNKNOWN_REFERENCE"
    assert "currency" in letter.message and "XTS" not in letter.message


async def test_accounting_names_an_event_whose_outcome_is_gone(living: Living) -> None:
    """Somebody deletes one outcome from the audit: the sum must not look right."""
    ref = await living.create("organization", {"name": "Unaccounted"})
    await living.settle()
    (outcome,) = await living.outcomes(ref)
    key = f"{outcome['cause']}/{outcome['record_key']}/outcome"
    entry = next(r for r in await living.read(topics.AUDIT) if (r.key or b"").decode() == key)

    producer = Producer(base_config(living.kafka))
    producer.produce(topics.AUDIT.name, key=key, value=None, partition=entry.partition)
    broken = recompute(living.kafka) if producer.flush(10) == 0 else {}
    producer.produce(topics.AUDIT.name, key=key, value=entry.value, partition=entry.partition)
    repaired = recompute(living.kafka) if producer.flush(10) == 0 else {}

    assert broken["1234567_SB1"].lost == [outcome["cause"]]
    assert not broken["1234567_SB1"].balanced
    assert repaired["1234567_SB1"].balanced


async def test_open_questions_answered_the_other_way() -> None:
    """docs/unproven.md: whatever a real company does, NetSuite ends up the same."""
    terms = {
        "organization_address": "object",
        "event_id_per_subscription": True,
        "field_events": "entity_field",
        "deleted_in_lists": True,
        "retry_after": True,
    }
    soon = StackOptions(environment={"resolver": {"MLC_REREAD_S": "1"}})
    async with Living(soon) as living:
        await living.set_terms(**terms)
        organization = await living.create("organization", {"name": "Acme", "address": {"value": "Main St"}})
        await living.create_field("organization", "Added later")
        await living.update(organization, {"name": "Acme 2"}, {"Added later": "x"})
        account = await living.settle()

        record = await living.record(organization)
        assert account.balanced
        assert record is not None and record["companyName"] == "Acme 2"
        assert await living.dead_letters() == []
