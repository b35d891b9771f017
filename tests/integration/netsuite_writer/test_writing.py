"""A desired state becomes NetSuite's record: the whole writer, a real broker, the stand-in's log as the judge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Origin, Reference, Superseded
from support.desired import child, desired
from support.own_account import OwnAccount
from support.writing import SUBSIDIARY, Writing, answer_to, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def writing() -> AsyncIterator[Writing]:
    short = {"MLC_QUIET_S": "7", "MLC_BACKOFF_FIRST_S": "0.2", "MLC_OVERLOAD_PAUSE_S": "0.1"}
    async with Writing(environment=short) as started:
        yield started


async def test_an_organization_its_person_and_its_deal_are_linked(writing: Writing) -> None:
    customer = desired("organization", "10", references=SUBSIDIARY)
    person = child("person", "10", of="10", fields={"firstName": "Ada", "lastName": "L"}, references=SUBSIDIARY)
    deal = child("deal", "10", of="10", fields={"title": "D"})

    await writing.emit(deal, person, customer, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    outcomes = await writing.settled(customer, person, deal)

    found = await writing.record("customer", "pd-org-10")
    contact, opportunity = (
        await writing.record("contact", "pd-person-10"),
        await writing.record("opportunity", "pd-deal-10"),
    )
    assert [outcome.outcome for outcome in outcomes] == ["written"] * 3
    assert found is not None and contact is not None and opportunity is not None
    assert (contact["company"], opportunity["entity"]) == (found["id"], found["id"])
    assert {line["trace"].split("-")[1] for line in await writing.log("pd-org-10")} == {"a" * 32}


async def test_a_deal_before_its_organization_asks_for_it_once(writing: Writing) -> None:
    first, second = (child("deal", source_id, of="20", fields={"title": "D"}) for source_id in ("20", "21"))

    await writing.emit(first, second)
    await until(lambda: _asked(writing, "20"))
    (hydrate,) = await writing.hydrates("20")
    await writing.emit(answer_to(hydrate, desired("organization", "20", references=SUBSIDIARY)))
    await writing.settled(first, second)

    customer = await writing.record("customer", "pd-org-20")
    deals = [await writing.record("opportunity", external_id) for external_id in ("pd-deal-20", "pd-deal-21")]
    assert customer is not None
    assert [deal and deal["entity"] for deal in deals] == [customer["id"]] * 2
    assert len(await writing.hydrates("20")) == 1


async def test_a_rejected_record_becomes_a_dead_letter_and_the_rest_goes_on(writing: Writing) -> None:
    body = b'{"data": {"id": 30}, "unknown": 1}'
    bad = desired(
        "organization",
        "30",
        references=SUBSIDIARY,
        fields={"companyName": "Bad", "email": "no address"},
        origin=Origin("pipedrive.events", 2, 33, 1_700_000_000_000, {"flow": "acme-eu"}, body=msgspec.Raw(body)),
    )
    good = desired("organization", "31", references=SUBSIDIARY)

    await writing.emit(bad, good)
    outcomes = await writing.settled(bad, good)

    letters = [DeadLetter.read(m.value, m.headers) for m in await writing.read(topics.DEAD_LETTERS)]
    (letter,) = [letter for letter in letters if letter.cause == bad.cause]
    assert [outcome.outcome for outcome in outcomes] == ["dead_lettered", "written"]
    assert (letter.stage, letter.body, letter.offset) == ("write", body, 33)
    assert b"no address" in letter.request and b"o:errorCode" in letter.response


async def test_an_unknown_currency_names_field_and_kind(writing: Writing) -> None:
    state = desired("organization", "32", references={**SUBSIDIARY, "currency": Reference("currency", "XTS")})

    await writing.emit(state)
    (outcome,) = await writing.settled(state)

    assert (outcome.outcome, outcome.reason) == ("dead_lettered", "field 'currency': NetSuite has no such currency")


@pytest.mark.parametrize(
    ("source_id", "fault"),
    [
        ("40", "status_429"),
        ("41", "status_400_concurrency"),
        ("42", "status_5xx"),
        ("43", "error_after_commit"),
        ("44", "reset"),
        ("45", "optimistic_lock"),
        ("46", "maintenance"),
    ],
)
async def test_a_fault_of_the_vendor_is_ridden_out(writing: Writing, source_id: str, fault: str) -> None:
    state = desired("organization", source_id, references=SUBSIDIARY)
    await writing.fault(fault, match={"path": f"pd-org-{source_id}$"}, count=3)

    await writing.emit(state)
    (outcome,) = await writing.settled(state)

    assert outcome.outcome == "written"
    assert len(outcome.tries) == 4
    assert await writing.record("customer", f"pd-org-{source_id}") is not None


async def test_a_revoked_token_is_renewed(writing: Writing) -> None:
    state = desired("organization", "47", references=SUBSIDIARY)
    await writing.fault("token_revoked", match={"path": "pd-org-47$"}, count=1)

    await writing.emit(state)
    (outcome,) = await writing.settled(state, within_s=10)

    assert outcome.outcome == "written"


async def test_a_newer_state_supersedes_what_waits_and_an_older_one_changes_nothing(writing: Writing) -> None:
    states = {
        version: desired(
            "organization", "50", version=version, references=SUBSIDIARY, fields={"companyName": f"v{version}"}
        )
        for version in (1, 2, 3)
    }

    await writing.emit(states[3])
    await writing.settled(states[3])
    await writing.emit(states[1], states[2], states[3])
    outcomes = await writing.settled(states[1], states[2])

    assert [outcome.superseded_by for outcome in outcomes] == [Superseded(Generation(3), states[3].cause)] * 2
    assert [line["status"] for line in await writing.log("pd-org-50")] == [204]


async def test_a_deleted_person_becomes_inactive_and_an_unknown_one_is_ignored(writing: Writing) -> None:
    person = desired("person", "60", fields={"firstName": "A", "lastName": "B"}, references=SUBSIDIARY)
    deleted = desired("person", "60", version=2, action="inactivate", fields={})
    unknown = desired("person", "61", action="inactivate", fields={})

    await writing.emit(person)
    await writing.settled(person)
    await writing.emit(deleted, unknown)
    outcomes = await writing.settled(deleted, unknown)

    contact = await writing.record("contact", "pd-person-60")
    assert [outcome.outcome for outcome in outcomes] == ["written", "ignored"]
    assert contact is not None and contact["isInactive"] is True


async def test_a_paused_flow_waits_and_loses_nothing(writing: Writing) -> None:
    state = desired("organization", "70", references=SUBSIDIARY)
    await writing.pause(True)
    behind = await OwnAccount.open(writing, "3600001")  # its flow comes after the pause: whoever has it knows of both
    await behind.emit(*behind.states_of("organization", [1]))
    await behind.settled()
    await writing.emit(state)
    other = desired("organization", "71", references=SUBSIDIARY)
    await writing.emit(other)

    await until(lambda: _waits(writing, 2))
    assert not await writing.log("pd-org-70")
    await writing.pause(False)

    await writing.settled(state, other)


async def test_slots_are_never_overrun(writing: Writing) -> None:
    await writing.latency(20)
    states = [desired("organization", str(100 + number), references=SUBSIDIARY) for number in range(60)]

    await writing.emit(*states)
    await writing.settled(*states)
    await writing.latency(0)

    stats = await writing.stats()
    assert (stats["peak_in_flight"], stats["refused_for_concurrency"]) == (5, 0)


@pytest.mark.parametrize(
    "repeated", [False, True], ids=["the newer state comes at once", "the old one is repeated first"]
)
async def test_a_call_that_lands_late_does_not_win(writing: Writing, repeated: bool) -> None:
    """Its answer never came; NetSuite executes it after the newer state. Quiet time here: 7 s."""
    number = "81" if repeated else "80"
    old, new = (
        desired("organization", number, version=version, references=SUBSIDIARY, fields={"companyName": f"v{version}"})
        for version in (1, 2)
    )
    await writing.fault("late_commit", match={"path": f"pd-org-{number}$"}, count=1, delay_s=3)

    await writing.emit(old)
    await until(lambda: _called(writing, f"pd-org-{number}"))
    if repeated:
        await writing.settled(old)
    await writing.emit(new)
    await writing.settled(old, new)
    await until(lambda: _asked(writing, number))
    (hydrate,) = await writing.hydrates(number)
    answer = answer_to(hydrate, desired("organization", number, version=3, references=SUBSIDIARY, fields=new.fields))
    await writing.emit(answer)
    await writing.settled(answer)

    customer = await writing.record("customer", f"pd-org-{number}")
    assert hydrate.reason == "in doubt"
    assert customer is not None and customer["companyName"] == "v2"


async def _asked(writing: Writing, source_id: str) -> bool:
    return bool(await writing.hydrates(source_id))


async def _called(writing: Writing, external_id: str, *, times: int = 1) -> bool:
    return len(await writing.log(external_id)) >= times


async def _waits(writing: Writing, count: int) -> bool:
    return len(await writing.live_keys()) >= count


OTHER_ANSWERS = {
    "overload_answer": "400",
    "retry_after_s": 1,
    "references_by_external_id": False,
    "field_names_any_case": False,
    "value_validation": "warning",
    "null_columns": "null",
    "utc_offset_h": -8,
    "duplicate_name_code": "UNIQUE_CUST_ID_REQD",
    "auto_numbering": False,
    "max_query_page": 3000,
}


async def test_open_questions_answered_the_other_way(writing: Writing) -> None:
    """docs/unproven.md: whatever a real account does, the same records are there in the end."""
    await writing.switch(**OTHER_ANSWERS)
    customer = desired("organization", "900", references=SUBSIDIARY)
    person = child("person", "900", of="900", fields={"firstName": "Ada", "lastName": "L"}, references=SUBSIDIARY)
    money = {"currency": Reference("currency", "EUR")}
    deal = child("deal", "900", of="900", fields={"title": "D", "projectedTotal": 1.5}, references=money)

    await writing.fault("status_400_concurrency", match={"method": "PUT"}, count=2)
    await writing.emit(deal, person, customer)
    outcomes = await writing.settled(customer, person, deal)

    opportunity = await writing.record("opportunity", "pd-deal-900")
    assert [outcome.outcome for outcome in outcomes] == ["written"] * 3
    assert opportunity is not None and opportunity["currency"] == "4"
