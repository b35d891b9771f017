"""A record that NetSuite holds already is taken over, not doubled: by the flow's match rules, before its first write."""

from __future__ import annotations

from typing import Any

import pytest

from support.own_account import OwnAccount, sort_of
from support.steering import match_queries, put, record, records
from support.writing import Writing

pytestmark = pytest.mark.asyncio(loop_scope="session")
BY_NAME: dict[Any, Any] = {"organization": ["companyName"]}
ACME: dict[str, Any] = {"fields": {"companyName": "Acme GmbH v1"}}


async def test_a_customer_of_the_same_name_is_adopted_whatever_its_letters(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000001", match=BY_NAME)
    theirs = await put(own, "customer", companyName="ACME gmbh V1", phone="1")
    other = await put(own, "customer", companyName="Acme GmbH & Co")

    await own.emit(own.state("organization", 1, **ACME))
    (outcome,) = await own.outcomes()

    found = {one["id"]: one for one in await records(own, "customer")}
    assert (outcome.outcome, outcome.internal_id) == ("written", theirs)
    assert found.keys() == {theirs, other}
    assert (found[theirs]["externalId"], found[theirs]["companyName"]) == ("pd-org-1", "Acme GmbH v1")
    assert found[theirs]["phone"] == "1"  # what the flow does not map stays
    assert found[other]["externalId"] is None
    assert [sort_of(line) for line in await own.log()] == ["query", "write"]
    assert await own.judged() == []


async def test_by_two_fields_both_must_be_equal(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000002", match={"organization": ["companyName", "email"]})
    await put(own, "customer", companyName="Acme GmbH v1", email="else@acme.example")
    theirs = await put(own, "customer", companyName="acme gmbh v1", email="Office@Acme.example")
    await put(own, "customer", companyName="Other v1", email="office@acme.example")

    fields = {"companyName": "Acme GmbH v1", "email": "office@acme.example"}
    await own.emit(own.state("organization", 1, fields=fields))
    (outcome,) = await own.outcomes()

    assert outcome.internal_id == theirs
    assert len(await records(own, "customer")) == 3
    assert await own.judged() == []


async def test_a_record_with_another_external_id_is_never_stolen(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000003", match=BY_NAME)
    theirs = await put(own, "customer", external_id="crm-7", companyName="Acme GmbH v1")

    await own.emit(own.state("organization", 1, **ACME))
    (outcome,) = await own.outcomes()

    assert outcome.outcome == "written"
    assert outcome.internal_id != theirs
    assert (await record(own, "customer", "crm-7"))["id"] == theirs
    assert len(await records(own, "customer")) == 2


async def test_of_two_that_want_the_same_customer_at_once_one_adopts_it(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000004", match=BY_NAME)
    theirs = await put(own, "customer", companyName="Acme GmbH v1")

    await own.emit_together(*(own.state("organization", number, **ACME) for number in (1, 2, 3)))
    outcomes = await own.outcomes()

    assert [outcome.outcome for outcome in outcomes] == ["written"] * 3
    assert [outcome.internal_id for outcome in outcomes].count(theirs) == 1
    held = {one["externalId"]: one["id"] for one in await records(own, "customer")}
    assert held == {outcome.external_id: outcome.internal_id for outcome in outcomes}
    assert await own.judged() == []


async def test_one_that_comes_later_does_not_take_what_is_being_adopted(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000005", match=BY_NAME)
    theirs = await put(own, "customer", companyName="Acme GmbH v1")
    await own.fault("status_5xx", match={"method": "PATCH"}, count=3)
    first, second = (own.state("organization", number, **ACME) for number in (1, 2))

    await own.emit(first)
    await own.emit(second)
    outcomes = await own.outcomes()

    assert [outcome.internal_id == theirs for outcome in outcomes] == [True, False]
    assert await own.judged() == []


async def test_several_that_fit_are_for_a_person_to_decide(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000006", match=BY_NAME)
    both = [await put(own, "customer", companyName=name) for name in ("Acme GmbH v1", "ACME GMBH V1")]

    await own.emit(own.state("organization", 1, **ACME))
    assert await own.settled() == ["dead_lettered"]

    (letter,) = await own.dead_letters()
    assert (letter.stage, letter.code) == ("write", "SEVERAL_MATCHES")
    assert letter.message == f"2 records of NetSuite match: {', '.join(both)}"
    assert [one["externalId"] for one in await records(own, "customer")] == [None, None]


async def test_adoptions_whose_answers_were_lost_end_once(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000007", match=BY_NAME)
    states = own.states_of("organization", (1, 2, 3))
    theirs = [await put(own, "customer", companyName=str(state.fields["companyName"]).upper()) for state in states]
    for fault, internal_id in zip(("lost_answer", "error_after_commit", "reset"), theirs, strict=True):
        await own.fault(fault, match={"method": "PATCH", "path": f"/{internal_id}$"})

    await own.emit(*states)
    outcomes = await own.outcomes()

    assert {outcome.outcome for outcome in outcomes} == {"written"}
    assert [outcome.internal_id for outcome in outcomes] == theirs
    assert [one["id"] for one in await records(own, "customer")] == theirs
    assert await own.judged() == []


async def test_a_match_query_that_failed_is_asked_again_before_anything_is_written(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000010", match=BY_NAME)
    theirs = await put(own, "customer", companyName="Acme GmbH v1")
    await own.fault("status_5xx", match={"path": "suiteql"}, count=2)
    await own.fault("status_429", match={"path": "suiteql"}, count=2)

    await own.emit(own.state("organization", 1, **ACME))
    (outcome,) = await own.outcomes(within_s=20)

    assert outcome.internal_id == theirs
    assert [sort_of(line) for line in await own.log()] == ["query"] * 5 + ["write"]


async def test_none_of_a_deep_queue_is_written_before_it_was_looked_for(writing: Writing) -> None:
    """One question for up to a hundred, then batches; every third customer is there already."""
    own = await OwnAccount.open(writing, "3000011", match=BY_NAME)
    states = own.states_of("organization", range(1, 151))
    theirs = {
        state.external_id: await put(own, "customer", companyName=str(state.fields["companyName"]).upper())
        for state in states[::3]
    }

    await own.emit_together(*states)
    outcomes = await own.outcomes()

    assert {outcome.outcome for outcome in outcomes} == {"written"}
    assert {one.external_id: one.internal_id for one in outcomes if one.external_id in theirs} == theirs
    assert len(await records(own, "customer")) == 150
    queries = await match_queries(own)
    assert len(queries) == 2
    assert [line for line in await own.log() if line["submitted"]]
    for line in [*await own.log(), *await own.tasks()]:
        if line["record_type"] and line["external_id"]:
            asked = [one for one in queries if f"'{line['external_id'].lower()}'" in one["body"]]
            assert asked and asked[0]["end_ms"] <= line["start_ms"], line
    assert await own.judged() == []


async def test_a_contact_is_adopted_by_its_address(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000012", match={"person": ["email"]})
    theirs = await put(own, "contact", firstName="Ada", lastName="King", entityId="Ada King", email="ADA@acme.example")
    customer = own.state("organization", 1)
    person = own.state("person", 1, of=1, fields={"firstName": "Ada", "email": "ada@acme.example"})

    await own.emit(person, customer)
    await own.outcomes()

    (contact,) = await records(own, "contact")
    assert (contact["id"], contact["externalId"]) == (theirs, "pd-person-1")
    assert contact["company"] == (await record(own, "customer", "pd-org-1"))["id"]
    assert await own.judged() == []


async def test_a_person_without_an_address_is_not_looked_for(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000013", match={"person": ["email"]})
    await put(own, "contact", firstName="Ada", lastName="King", entityId="Ada King")

    await own.emit(own.state("person", 1, fields={"firstName": "Ada", "email": None}))
    await own.outcomes()

    assert len(await records(own, "contact")) == 2
    assert await match_queries(own) == []


async def test_what_was_written_before_is_not_looked_for_again(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3000014", match=BY_NAME)
    await own.emit(own.state("organization", 1))
    await own.outcomes()

    await own.emit(own.state("organization", 1, version=2))
    await own.outcomes()

    assert [sort_of(line) for line in await own.log()] == ["query", "write", "write"]
