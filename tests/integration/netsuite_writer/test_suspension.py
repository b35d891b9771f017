"""When not the record is at fault but the account, its role or NetSuite itself: nothing is asked, nothing is lost."""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from ml_connector.common.keys import account_key
from support.own_account import WRITER, Line, OwnAccount
from support.steering import (
    has_tombstone,
    no_more_faults,
    record,
    records,
    renewals,
    standing,
    stats,
    until_asked,
    until_standing,
    waiting,
)
from support.writing import Writing, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def one_at_a_time(lines: list[Line]) -> bool:
    return all(before["end_ms"] <= after["start_ms"] for before, after in pairwise(lines))


async def test_refused_credentials_suspend_the_account_until_they_are_good_again(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3300001")
    key = account_key(own.account.lower())
    await own.fault("masked_login", match={"path": "/record/"}, count=8)
    first, *others = own.states_of("organization", range(1, 11))

    await own.emit(first)
    await until_standing(own, key)
    await own.emit(*others)
    await own.outcomes()

    log = await own.log()
    refused = [line for line in log if line["status"] == 401]
    assert [line["status"] for line in log[: len(refused)]] == [401] * 8
    assert one_at_a_time(refused)
    assert await own.dead_letters() == []
    await until_standing(own, key, there=False)
    assert await has_tombstone(own, key)
    assert await own.judged() == []


async def test_a_suspension_is_known_to_the_next_owner(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3300002")
    key = account_key(own.account.lower())
    await own.fault("masked_login", match={"path": "/record/"}, count=None)
    first, *others = own.states_of("organization", range(1, 11))
    await own.emit(first)
    await until_standing(own, key)
    await own.emit(*others)

    await writing.signal(WRITER, signal.SIGKILL)
    await writing.stack.until_ended(WRITER)
    before = len(await own.log())
    await writing.stack.start_one(WRITER)
    await until_asked(own, times=before + 4)
    assert await standing(own, key) is not None
    await no_more_faults(own)
    await own.outcomes()

    log = (await own.log())[before:]
    refused = [line for line in log if line["status"] == 401]
    assert one_at_a_time(refused)
    assert len(refused) >= 4
    assert await own.dead_letters() == []
    await until_standing(own, key, there=False)
    assert await has_tombstone(own, key)


async def test_credentials_that_no_token_is_given_for_suspend_the_account_too(writing: Writing) -> None:
    """As after a sandbox refresh, which wipes the certificate's mapping."""
    own = await OwnAccount.open(writing, "3300003")
    await own.emit(own.state("organization", 1))
    await own.outcomes()
    names = {"client_id": f"client-{own.account}", "certificate_id": f"certificate-{own.account}"}
    good = writing._public_key_pem()
    await own.switch(**names, public_key_pem="-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n")
    await own.fault("token_revoked")

    await own.emit(*own.states_of("organization", range(2, 12)))
    await until_standing(own, account_key(own.account.lower()))
    assert await waiting(own) == 10
    await own.switch(**names, public_key_pem=good)
    await own.outcomes()

    assert await own.dead_letters() == []
    await until_standing(own, account_key(own.account.lower()), there=False)


async def test_a_revoked_token_is_no_reason_to_suspend(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3300004")
    await own.emit(own.state("organization", 1))
    await own.outcomes()
    await own.fault("token_revoked")

    await own.emit(*own.states_of("organization", range(2, 12)))
    await own.outcomes()

    assert not await has_tombstone(own, account_key(own.account.lower()))
    assert await own.judged() == []


@pytest.mark.parametrize(("name", "fault"), [("3300010", "no_permission"), ("3300011", "insufficient_permission")])
async def test_a_permission_missing_for_a_type_suspends_that_type_only(writing: Writing, name: str, fault: str) -> None:
    own = await OwnAccount.open(writing, name)
    key = account_key(own.account.lower(), "contact")
    await own.fault(fault, match={"path": "/contact"}, count=None)
    people = own.states_of("person", range(1, 9), fields={"firstName": "Ada"})
    await own.emit(*people)
    await until_standing(own, key)

    goes_on = [*own.states_of("organization", range(1, 9)), *own.states_of("deal", range(1, 9), of=1)]
    await own.emit(*goes_on)
    assert set(await own.settled(*goes_on)) == {"written"}
    asked = len([line for line in await own.log() if line["record_type"] == "contact"])
    await until_asked(own, times=len(await own.log()) + 2)
    assert await standing(own, key) is not None
    assert await standing(own, account_key(own.account.lower())) is None
    await no_more_faults(own)
    assert set(await own.settled(*people)) == {"written"}

    refused = [line for line in await own.log() if line["status"] in {400, 403}]
    assert one_at_a_time(refused[asked:])
    assert await own.dead_letters() == []
    await until_standing(own, key, there=False)
    assert await has_tombstone(own, key)
    assert await own.judged() == []


async def test_a_single_record_that_is_forbidden_becomes_a_dead_letter(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3300012")
    await own.fault("no_permission", match={"path": "pd-org-3$"}, count=None)
    states = own.states_of("organization", range(1, 11))

    await own.emit(*states)
    outcomes = await own.settled()
    await no_more_faults(own)

    assert [state.source_id for state, outcome in zip(states, outcomes, strict=True) if outcome != "written"] == ["3"]
    (letter,) = await own.dead_letters()
    assert (letter.stage, letter.code) == ("write", "USER_ERROR")
    assert b"does not have permission" in letter.response
    await until_standing(own, account_key(own.account.lower(), "customer"), there=False)


async def test_maintenance_dead_letters_nothing(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3300020")
    key = account_key(own.account.lower())
    await own.emit(own.state("organization", 100))
    await own.outcomes()
    await own.fault("maintenance", match={"path": "/record/"}, count=None)

    await own.emit(*own.states_of("organization", range(1, 16)))
    await until_standing(own, key)
    suspended_after = len(await own.log())
    await until_asked(own, times=suspended_after + 2)
    await no_more_faults(own)
    await own.outcomes()

    assert await own.dead_letters() == []
    refused = [line for line in await own.log() if line["status"] == 503]
    assert one_at_a_time(refused[-2:])
    await until_standing(own, key, there=False)
    assert await has_tombstone(own, key)
    assert await own.judged() == []


@pytest.mark.parametrize(("name", "after_s"), [("3300030", 0.3), ("3300031", 0.0)])
async def test_a_login_refused_under_load_lowers_the_limit_and_renews_no_token(
    writing: Writing, name: str, after_s: float
) -> None:
    """Facts section 9: overload can look like a failed login. Others hold three of five slots."""
    own = await OwnAccount.open(writing, name, overload_answer="masked_login", masked_login_after_s=after_s)
    await own.emit(own.state("organization", 1000))
    await own.outcomes()
    before = await renewals(own)
    await own.switch(others_in_flight=3)
    await writing.latency(50)

    for part in range(4):
        await own.emit(*own.states_of("organization", range(part * 18, part * 18 + 18)))
        await own.outcomes(within_s=30)
    await writing.latency(0)

    refused = (await stats(own))["refused_for_concurrency"]
    assert 1 <= refused <= 12
    assert await renewals(own) == before
    assert not await has_tombstone(own, account_key(own.account.lower()))
    assert await standing(own, account_key(own.account.lower())) is None
    assert await own.dead_letters() == []
    assert len(await records(own, "customer")) == 4 * 18 + 1


async def test_one_account_that_is_suspended_holds_up_no_other(writing: Writing) -> None:
    down, healthy = [await OwnAccount.open(writing, name) for name in ("3300040", "3300041")]
    await down.fault("masked_login", match={"path": "/record/"}, count=None)
    await down.emit(*down.states_of("organization", range(1, 11)))
    await until_standing(down, account_key(down.account.lower()))

    await healthy.emit(*healthy.states_of("organization", range(1, 11)))
    await healthy.outcomes(within_s=10)

    assert await waiting(down) == 10
    await no_more_faults(down)
    await down.outcomes()

    async def resumed() -> bool:
        return await standing(down, account_key(down.account.lower())) is None

    await until(resumed)
    assert (await record(down, "customer", "pd-org-1"))["externalId"] == "pd-org-1"
