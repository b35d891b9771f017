"""One account at work, on a clock that the test moves: what counts against a record, what makes the account wait."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from ml_connector.common import keys
from ml_connector.common.clock import ManualClock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import parse_flow
from ml_connector.common.wire import Desired
from ml_connector.netsuite_writer.endings import Endings
from ml_connector.netsuite_writer.job import Job
from ml_connector.netsuite_writer.outcome import Ending
from support.desired import ACCOUNT, child, desired
from support.office import DOCUMENT, TOKEN, TRIES, Office, Vendor, found_rows, refused, written

CUSTOMERS = keys.account_key(ACCOUNT.lower(), "customer")
NO_PERMISSION = refused(400, "USER_ERROR", "Your current role does not have permission to perform this action.")


def broken_for(external_id: str) -> Vendor:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return refused(500, "UNEXPECTED_ERROR") if request.url.path.endswith(external_id) else written()

    return answer


async def test_an_outage_dead_letters_nothing_however_long_it_lasts() -> None:
    office = Office(broken_for("1"))
    office.accept(desired("organization", "1"))

    for _ in range(TRIES * 5):
        await office.pass_time(60)

    assert len(office.calls) == TRIES * 5
    assert office.producer.outcomes() == []
    await office.close()


async def test_a_record_that_fails_while_others_succeed_becomes_a_dead_letter() -> None:
    office = Office(broken_for("pd-org-1"))
    office.accept(desired("organization", "1"))

    for number in range(2, 2 + TRIES * 2):
        office.accept(desired("organization", str(number)))
        await office.pass_time(60)

    (letter,) = [outcome for outcome in office.producer.outcomes() if outcome.outcome == "dead_lettered"]
    assert (letter.external_id, letter.stage) == ("pd-org-1", "vendor")
    await office.close()


async def test_refused_credentials_make_the_account_wait_and_dead_letter_nothing() -> None:
    locked_out = True
    office = Office(lambda _: refused(401, "INVALID_LOGIN") if locked_out else written())
    office.accept(desired("organization", "1"))
    await office.pass_time(0)
    await office.pass_time(5)
    calls_while_refused = len(office.calls)
    locked_out = False
    await office.pass_time(30)

    assert calls_while_refused == 2  # one with the token that it had, one with a new one
    assert [outcome.outcome for outcome in office.producer.outcomes()] == ["written"]
    await office.close()


async def test_a_former_owner_that_was_stopped_for_a_while_calls_nobody() -> None:
    office = Office(broken_for("nothing"))
    office.producer.fenced = True
    office.clock.advance(6)

    office.accept(desired("organization", "1"))
    await office.pass_time(0)

    assert office.calls == []
    assert office.settler.fenced.is_set()
    await office.close()


async def test_a_hydrate_that_was_answered_twice_has_one_outcome() -> None:
    office = Office(broken_for("nothing"))
    first, again = (desired("organization", "1", version=version, cause="hyd:1") for version in (1, 2))
    office.accept(first, again)
    await office.pass_time(0)
    await office.pass_time(1)

    assert [(outcome.cause, outcome.outcome) for outcome in office.producer.outcomes()] == [("hyd:1", "written")]
    assert list(office.store.all_desired()) == []
    await office.close()


@pytest.mark.parametrize("settled", [False, True])
async def test_a_superseded_cause_that_comes_again_after_a_crash_is_superseded_under_its_one_key(settled: bool) -> None:
    """The resolver repeats its last step; the newer state waits yet, or is settled."""
    waiting = not settled
    office = Office(lambda _: refused(503, "UNAVAILABLE") if waiting else written(), outage_run=1000)
    older, newer = desired(version=1, cause="a"), desired(version=2, cause="b")
    office.accept(older, newer)
    await office.pass_time(0)
    office.accept(older)
    await office.pass_time(0)
    waiting = False
    await office.pass_time(60)
    await office.pass_time(1)

    told = {(one.cause, one.record_key): one.outcome for one in office.producer.outcomes()}
    assert told == {("a", older.record_key): "superseded", ("b", older.record_key): "written"}
    assert [one.outcome for one in office.producer.outcomes()].count("superseded") == 2  # the metric counts both
    assert list(office.store.all_desired()) == []
    await office.close()


async def test_an_outage_after_a_success_does_not_count_against_a_record() -> None:
    """DESIGN rule 6: only what succeeds meanwhile makes a failure the record's own."""
    office = Office(broken_for("pd-org-2"), tries=1)
    office.accept(desired("organization", "1"))
    await office.pass_time(1)

    office.accept(desired("organization", "2"))
    for _ in range(5):
        await office.pass_time(60)

    assert [one.outcome for one in office.producer.outcomes()] == ["written"]
    await office.close()


async def test_a_fault_of_ours_is_told_once_counts_against_nothing_and_holds_up_that_record_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office(lambda _: written(), backoff_longest_s=10)
    ended, faults = Endings.ended, iter([True] * TRIES * 2)

    def faulty(self: Endings, job: Job, ending: Ending) -> asyncio.Future[None]:
        if job.desired.external_id == "pd-org-1" and next(faults, False):
            raise ZeroDivisionError
        return ended(self, job, ending)

    monkeypatch.setattr(Endings, "ended", faulty)
    states = [desired("organization", str(number)) for number in range(1, 4)]

    with capture_logs() as logs:
        office.accept(*states)
        await office.pass_time(0)
        assert [office.outcome(state) for state in states] == ["", "written", "written"]
        for _ in range(TRIES * 3):
            await office.pass_time(10)

    assert office.outcome(states[0]) == "written"
    told = [(line["event"], line["record_key"]) for line in logs if line["log_level"] == "error"]
    assert told == [("record_fault", states[0].record_key)]
    await office.close()


# -- refused credentials -----------------------------------------------------------------------------------------------


async def test_while_suspended_one_request_at_a_time_probes() -> None:
    office = Office(lambda _: refused(401, "INVALID_LOGIN"), suspend_s=30)
    office.accept(*(desired("organization", str(number)) for number in range(20)))
    await office.pass_time(0)
    before = len(office.calls)

    await office.pass_time(30)

    assert len(office.calls) - before == 2  # with the token that it had, and with a new one
    assert [standing.state for _, standing in office.messages.standings if standing] == ["suspended"]
    await office.close()


async def test_credentials_that_no_token_is_given_for_are_tried_once_in_a_while() -> None:
    office = Office(lambda _: written(), suspend_s=30)
    office.token_answer = httpx2.Response(400, json={"error": "invalid_grant"})
    office.accept(*(desired("organization", str(number)) for number in range(20)))
    await office.pass_time(0)
    asked_at_once = office.tokens_asked

    await office.pass_time(30)
    assert office.tokens_asked - asked_at_once == 1
    office.token_answer = TOKEN
    await office.pass_time(60)
    await office.pass_time(1)

    assert [one.outcome for one in office.producer.outcomes()] == ["written"] * 20
    await office.close()


async def test_a_suspension_that_ended_leaves_a_tombstone() -> None:
    locked_out = True
    office = Office(lambda _: refused(401, "INVALID_LOGIN") if locked_out else written())
    states = [desired("organization", str(number)) for number in range(20)]
    office.accept(*states)
    await office.pass_time(0)

    locked_out = False
    await office.pass_time(30)
    await office.pass_time(1)

    account = keys.account_key(ACCOUNT.lower())
    assert [(key, standing is None) for key, standing in office.messages.standings] == [
        (account, False),
        (account, True),
    ]
    assert {office.outcome(state) for state in states} == {"written"}
    await office.close()


# -- a permission that is missing --------------------------------------------------------------------------------------


def forbids_customers(request: httpx2.Request) -> httpx2.Response:
    return NO_PERMISSION if "/customer/" in request.url.path else written()


async def test_a_permission_missing_for_a_type_suspends_that_type_only() -> None:
    office = Office(forbids_customers, suspend_s=30, suspend_longest_s=600)
    customers = [desired("organization", str(number)) for number in range(10)]
    person = desired("person", "1", fields={"lastName": "P"})
    office.accept(*customers)
    await office.pass_time(0)
    office.accept(person)
    await office.pass_time(1)

    standing = office.store.standing(CUSTOMERS)
    assert standing is not None and "permission" in standing.reason
    assert [one.outcome for one in office.producer.outcomes()] == ["written"]
    assert office.outcome(person) == "written"
    before = len(office.calls)
    await office.pass_time(30)
    assert len(office.calls) - before == 1  # those refused together made one pause, and one probes
    await office.close()


async def test_those_that_were_refused_together_make_one_pause() -> None:
    def vendor(request: httpx2.Request) -> httpx2.Response:
        office.clock.advance(0.1)
        return NO_PERMISSION

    office = Office(vendor, suspend_s=30, suspend_longest_s=600)
    office.accept(*(desired("organization", str(number)) for number in range(5)))
    await office.pass_time(0)
    assert len(office.calls) == 5

    await office.pass_time(30)

    assert len(office.calls) == 6
    await office.close()


class SlippingClock(ManualClock):
    """A moment passes between two looks at it, after so many."""

    looks: int | None = None

    def monotonic_s(self) -> float:
        if self.looks == 0:
            self.advance(0.001)
        if self.looks is not None:
            self.looks = self.looks - 1 if self.looks else None
        return super().monotonic_s()


@pytest.mark.parametrize("looks", range(5))
async def test_no_probe_is_missed_whenever_it_comes_due(looks: int) -> None:
    """Nothing else happens here that would wake the account."""
    clock = SlippingClock()
    office = Office(forbids_customers, suspend_s=30, clock=clock)
    office.accept(desired("organization", "1"))
    await office.pass_time(0)
    (opens_at_s,) = office.account._suspensions.opens_at_s(clock.monotonic_s())
    clock.advance(opens_at_s - clock.monotonic_s() - 0.0005)

    clock.looks = looks
    office.account.pump()
    await asyncio.sleep(0)
    if clock.looks is not None:  # it did not look so often
        clock.looks = None
        clock.advance(0.001)

    await until_true(lambda: len(office.calls) == 2)
    await office.close()


async def test_a_type_resumes_by_itself() -> None:
    granted = False
    office = Office(lambda request: written() if granted else forbids_customers(request), suspend_s=30)
    states = [desired("organization", str(number)) for number in range(10)]
    office.accept(*states)
    await office.pass_time(0)

    granted = True
    await office.pass_time(30)
    await office.pass_time(1)

    assert {office.outcome(state) for state in states} == {"written"}
    assert office.store.standing(CUSTOMERS) is None
    assert [standing is None for _, standing in office.messages.standings] == [False, True]
    await office.close()


async def test_a_probe_that_says_nothing_of_the_permission_lets_the_next_one_probe() -> None:
    """It is rejected for what it says, or NetSuite breaks: nobody may wait for its verdict for ever."""
    granted = False

    def vendor(request: httpx2.Request) -> httpx2.Response:
        if not granted:
            return NO_PERMISSION
        return refused(400, "USER_ERROR", "Bad.") if request.url.path.endswith("pd-org-0") else written()

    office = Office(vendor, suspend_s=30)
    states = [desired("organization", str(number)) for number in range(3)]
    for state in states:
        office.accept(state)
        await office.pass_time(0)
    granted = True
    for _ in range(3):
        await office.pass_time(60)

    assert [office.outcome(state) for state in states] == ["dead_lettered", "written", "written"]
    await office.close()


async def test_a_suspended_type_is_probed_by_no_batch() -> None:
    office = Office(forbids_customers, suspend_s=30, batch_from=2)
    office.accept(desired("organization", "0"))
    await office.pass_time(0)
    office.accept(*(desired("organization", str(number)) for number in range(1, 50)))

    await office.pass_time(30)

    assert {request.method for request in office.requests} == {"PUT"}
    assert not [request for request in office.requests if request.url.path.endswith("/customer")]
    await office.close()


async def test_one_forbidden_record_becomes_a_dead_letter_once_others_of_its_type_are_written() -> None:
    office = Office(lambda request: NO_PERMISSION if request.url.path.endswith("pd-org-0") else written(), suspend_s=30)
    secret, *others = (desired("organization", str(number)) for number in range(4))
    office.accept(secret)
    await office.pass_time(0)
    office.accept(*others)
    for _ in range(3):
        await office.pass_time(60)

    assert office.outcome(secret) == "dead_lettered"
    assert {office.outcome(state) for state in others} == {"written"}
    assert office.store.standing(CUSTOMERS) is None
    await office.close()


# -- adoption ----------------------------------------------------------------------------------------------------------

MATCHING: dict[str, Any] = {
    **DOCUMENT,
    "entities": {
        "organization": {"record": "customer", "match": ["companyName"], "fields": {"companyName": "data.name"}},
    },
}


def is_query(request: httpx2.Request) -> bool:
    return request.url.path.endswith("/suiteql")


async def test_a_record_of_a_flow_that_is_not_known_yet_is_looked_for_all_the_same() -> None:
    """A new flow's first events may be here before the flow is."""
    office = Office(lambda request: found_rows() if is_query(request) else written(), documents=[DOCUMENT])
    office.accept(desired("organization", "1", flow="new"))
    await office.pass_time(0)
    assert office.requests == []

    office.flows.known["new"] = LiveFlow(parse_flow({**MATCHING, "flow": "new"}), 1, paused=False)
    office.account.look_again()
    await office.pass_time(1)

    assert [request.method for request in office.requests] == ["POST", "PUT"]
    assert is_query(office.requests[0])
    await office.close()


async def test_an_inactive_record_that_is_adopted_comes_back_to_life() -> None:
    row = {"id": "7", "companyname": "Organization 1", "isinactive": "T"}
    office = Office(lambda request: found_rows(row) if is_query(request) else written("7"), documents=[MATCHING])

    office.accept(desired("organization", "1"))
    await office.pass_time(1)

    adoption = office.requests[1]
    assert (adoption.method, adoption.url.path.rpartition("/")[2]) == ("PATCH", "7")
    assert json.loads(adoption.content) == {
        "externalId": "pd-org-1", "companyName": "Organization 1", "isInactive": False
    }  # fmt: skip
    await office.close()


async def test_a_match_query_that_failed_is_asked_again_although_nothing_else_happens() -> None:
    broken = True
    office = Office(
        lambda request: (
            refused(500, "UNEXPECTED_ERROR") if broken else found_rows() if is_query(request) else written()
        ),
        documents=[MATCHING],
        backoff_first_s=0.01,
    )
    office.accept(desired("organization", "1"))
    await until_true(lambda: len(office.requests) == 1)

    broken = False
    office.clock.advance(1)

    await until_true(lambda: len(office.requests) == 3)
    await office.close()


DUPLICATE = refused(400, "USER_ERROR", "A customer record with this name already exists.")


async def test_a_duplicate_name_lists_those_whom_netsuite_may_mean() -> None:
    """They carry other external ids, or the match query would have found them."""

    def vendor(request: httpx2.Request) -> httpx2.Response:
        if not is_query(request):
            return DUPLICATE
        return (
            found_rows()
            if b"externalid IS NULL" in request.content
            else found_rows(
                {"id": "7", "externalid": "crm-7", "companyname": "Organization 1"}, {"id": "9", "externalid": "crm-9"}
            )
        )

    office = Office(vendor, documents=[MATCHING])
    office.accept(desired("organization", "1"))
    await office.pass_time(1)

    (outcome,) = office.producer.outcomes()
    assert (outcome.outcome, outcome.stage) == ("dead_lettered", "write")
    assert outcome.reason == "A customer record with this name already exists. 2 records of NetSuite match: 7, 9"
    assert [request.method for request in office.requests] == ["POST", "PUT", "POST"]
    await office.close()


async def test_without_an_answer_to_who_it_is_a_duplicate_goes_again() -> None:
    def vendor(request: httpx2.Request) -> httpx2.Response:
        if not is_query(request):
            return DUPLICATE
        if b"externalid IS NULL" in request.content:
            return found_rows()
        return answers.pop(0)

    answers = [refused(503, "UNAVAILABLE"), found_rows({"id": "7", "externalid": "crm-7"})]
    office = Office(vendor, documents=[MATCHING])
    office.accept(desired("organization", "1"))
    await office.pass_time(1)
    assert office.producer.outcomes() == []
    await office.pass_time(60)
    await office.pass_time(1)

    (outcome,) = office.producer.outcomes()
    assert outcome.reason.endswith("1 record of NetSuite matches: 7")
    await office.close()


# -- what NetSuite holds -----------------------------------------------------------------------------------------------


async def test_a_restored_record_comes_back_to_life_although_its_first_try_was_rejected() -> None:
    office = Office(lambda request: refused(400, "USER_ERROR") if b"bad" in request.content else written())
    states = [
        desired(version=1),
        desired(version=2, action="inactivate", fields={}),
        desired(version=3, action="ignore", fields={}),
        desired(version=4, fields={"companyName": "bad"}),
        desired(version=5, fields={"companyName": "good"}),
    ]

    for state in states:
        office.accept(state)
        await office.pass_time(1)

    assert [office.outcome(state) for state in states] == ["written", "written", "ignored", "dead_lettered", "written"]
    assert json.loads(office.requests[-1].content) == {"companyName": "good", "isInactive": False}
    await office.close()


@pytest.mark.parametrize("answer", [refused(503, "UNEXPECTED_ERROR"), refused(404, "NONEXISTENT_ID")])
async def test_a_written_record_whose_id_is_not_known_is_written_again(answer: httpx2.Response) -> None:
    """Without it its children would be orphans."""
    answers = [httpx2.Response(204), answer, written("7")]
    office = Office(lambda _: answers.pop(0))
    state = desired()

    office.accept(state)
    await office.pass_time(0)
    assert office.outcome(state) == ""
    await office.pass_time(60)
    await office.pass_time(1)

    assert [request.method for request in office.requests] == ["PUT", "GET", "PUT"]
    assert [(one.outcome, one.internal_id) for one in office.producer.outcomes()] == [("written", "7")]
    await office.close()


# -- parents -----------------------------------------------------------------------------------------------------------


async def test_ten_thousand_children_of_one_parent_ask_for_it_once_and_are_written_after_it() -> None:
    office = Office(lambda _: written(), jobs_at_once=0)
    people = [child("person", str(number), of="7", fields={"lastName": "P"}) for number in range(10_000)]
    office.accept(*people)
    await office.pass_time(0)
    office.account.look_again()
    await office.pass_time(60)
    assert office.requests == []
    assert [(one.entity, one.source_id) for one in office.messages.hydrates] == [("organization", "7")]

    office.accept(desired("organization", "7"))
    while len(office.producer.outcomes()) < len(people) + 1:
        before = len(office.requests)
        await office.pass_time(1)
        assert len(office.requests) > before or len(office.requests) == len(people) + 1

    assert office.calls[0] == "pd-org-7"
    assert sorted(office.calls[1:]) == sorted(person.external_id for person in people)
    assert len(office.messages.hydrates) == 1
    await office.close()


def merged_into(parent: str, into: str, *, version: int) -> Desired:
    return desired("organization", parent, version=version, action="merged", merged_to=into, fields={})


async def test_a_child_of_a_twice_merged_parent_is_asked_for_each_time() -> None:
    office = Office(lambda _: written(), hydrate_again_s=300)
    office.accept(merged_into("1", "2", version=5), merged_into("2", "3", version=5), desired("organization", "3"))
    await office.pass_time(1)
    office.accept(child("person", "1", of="1", version=5, fields={"lastName": "P"}))
    await office.pass_time(1)
    office.accept(child("person", "1", of="2", version=6, cause="hyd:1", fields={"lastName": "P"}))
    await office.pass_time(1)

    assert [(one.entity, one.reason) for one in office.messages.hydrates] == [("person", "merged parent")] * 2
    await office.close()


async def test_a_child_that_changed_just_before_it_was_read_is_asked_for_as_soon_as_a_read_counts_as_newer() -> None:
    office = Office(lambda _: written(), hydrate_again_s=300)
    office.accept(merged_into("1", "2", version=5), desired("organization", "2"))
    await office.pass_time(1)
    now_ms = office.clock.now_ms()
    changed = child("person", "1", of="1", version=now_ms, fields={"lastName": "P"})
    office.accept(changed)
    await office.pass_time(1)
    read = child("person", "1", of="2", version=now_ms - 4000, cause="hyd:1", fields={"lastName": "P"})
    office.accept(read)
    await office.pass_time(13)
    assert len(office.messages.hydrates) == 1
    await office.pass_time(1)
    await office.pass_time(0)

    assert len(office.messages.hydrates) == 2
    office.accept(child("person", "1", of="2", version=now_ms + 10_000, cause="hyd:2", fields={"lastName": "P"}))
    await office.pass_time(1)
    assert office.calls[-1] == "pd-person-1"
    await office.close()


async def until_true(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
