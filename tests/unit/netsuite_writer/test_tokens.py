"""There is a token as long as NetSuite gives one in time: whatever a renewal meets, and whatever our clock says."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from math import lcm
from typing import Any, cast

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.errors import SecretUnreadable, VendorUnavailable
from ml_connector.netsuite_writer.netsuite.skew import LARGEST_S, SEEN_S, agrees, ahead_s, worth_signing
from ml_connector.netsuite_writer.netsuite.tokens import AGAIN_LONGEST_S, RENEW_AHEAD_S, TokenRefused, Tokens, form_for
from ml_connector.sandbox.netsuite.app import NetsuiteStandIn
from ml_connector.sandbox.server import Broken
from ml_connector.sandbox.web import Request
from support.office import KEY, PEM

URL = "https://netsuite.test"
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
LIFE_S = 3600
DAY_S = 86_400


@pytest.fixture(scope="module")
def another_pem() -> str:
    """A key that the account does not know."""
    form = serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class Bank:
    """The stand-in's token endpoint. Its clock goes with ours, `ours_ahead_s` apart."""

    def __init__(self, *, ours_ahead_s: float = 0, key: str = PEM) -> None:
        self.clock = ManualClock()
        self.standin = NetsuiteStandIn(wall_s=lambda: self.clock.now_ms() / 1000)
        self.standin.clock.advance(-ours_ahead_s)
        self.asked = 0
        self.answers: list[httpx2.Response | Exception] = []  # the next ones, instead of the stand-in's
        self.held = asyncio.Event()
        self.held.set()
        self.key: str | None = key
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        self.tokens = Tokens(http, URL, credential=self._credential, clock=self.clock)
        self.standin.accounts.register(
            {"account": "1", "client_id": "c", "certificate_id": "k", "public_key_pem": PUBLIC.decode()}
        )

    def _credential(self) -> NetsuiteM2M:
        if self.key is None:
            raise SecretUnreadable("none")
        return NetsuiteM2M("c", "k", self.key, "ES256")

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        await self.held.wait()
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        body = await request.aread()
        found = await self.standin.answer(Request(request.method, request.url.path, {}, dict(request.headers), body))
        assert not isinstance(found, Broken)
        return httpx2.Response(found.status, headers=dict(found.headers), content=found.body)

    def fail(self, *answers: int | Exception) -> None:
        """The next requests."""
        self.answers = [one if isinstance(one, Exception) else httpx2.Response(one) for one in answers]

    async def within_the_window(self) -> str:
        """A token that is to be renewed, and is good still."""
        token = await self.tokens.get()
        self.clock.advance(LIFE_S - RENEW_AHEAD_S)
        return token


def events(logs: Any) -> list[str]:
    return [line["event"] for line in logs]


# -- in time -----------------------------------------------------------------------------------------------------------


async def test_a_token_serves_until_five_minutes_before_its_end() -> None:
    bank = Bank()
    first = await bank.tokens.get()
    bank.clock.advance(LIFE_S - RENEW_AHEAD_S - 1)
    assert (await bank.tokens.get(), bank.asked) == (first, 1)

    bank.clock.advance(1)

    assert await bank.tokens.get() != first
    assert bank.asked == 2


async def test_a_token_that_lives_shorter_is_renewed_at_half_of_its_life_not_each_time() -> None:
    bank = Bank()
    bank.answers = [httpx2.Response(200, json={"access_token": "short", "expires_in": 200})]

    assert [await bank.tokens.get(), await bank.tokens.get()] == ["short", "short"]
    bank.clock.advance(100)

    assert await bank.tokens.get() != "short"


async def test_callers_at_once_are_served_by_one_renewal() -> None:
    bank = Bank()
    bank.held.clear()
    callers = [asyncio.create_task(bank.tokens.get()) for _ in range(20)]
    await asyncio.sleep(0)

    bank.held.set()

    assert len(set(await asyncio.gather(*callers))) == 1
    assert bank.asked == 1


async def test_nobody_waits_for_a_renewal_while_the_old_token_is_good() -> None:
    bank = Bank()
    old = await bank.within_the_window()
    bank.held.clear()
    renewing = asyncio.create_task(bank.tokens.get())
    await asyncio.sleep(0)

    assert [await bank.tokens.get() for _ in range(3)] == [old] * 3
    bank.held.set()

    assert await renewing != old
    assert bank.asked == 2


async def test_a_caller_that_gives_up_leaves_the_renewal_to_the_next() -> None:
    bank = Bank()
    bank.held.clear()
    renewing = asyncio.create_task(bank.tokens.get())
    await asyncio.sleep(0)
    renewing.cancel()
    bank.held.set()

    assert await bank.tokens.get()


# -- a renewal that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [503, 429, httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")])
async def test_a_renewal_that_fails_keeps_the_old_token_and_a_later_one_succeeds(failure: int | Exception) -> None:
    bank = Bank()
    old = await bank.within_the_window()
    bank.fail(failure)

    with capture_logs() as logs:
        assert [await bank.tokens.get() for _ in range(5)] == [old] * 5
    assert bank.asked == 2, "once, not for each request"
    assert [(line["event"], line["ends_in_s"]) for line in logs] == [("token_not_renewed", RENEW_AHEAD_S)]
    bank.clock.advance(AGAIN_LONGEST_S)

    assert await bank.tokens.get() != old


async def test_an_answer_that_is_no_token_is_a_renewal_that_fails() -> None:
    bank = Bank()
    old = await bank.within_the_window()
    bank.answers = [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json={"access_token": "x", "expires_in": "?"}),
    ]

    for _ in range(2):
        assert await bank.tokens.get() == old
        bank.clock.advance(AGAIN_LONGEST_S)


async def test_while_it_fails_it_is_tried_a_few_times_until_the_token_has_ended_and_then_the_failure_is_raised() -> (
    None
):
    bank = Bank()
    old = await bank.within_the_window()
    bank.fail(*[503] * 100)
    for _ in range(RENEW_AHEAD_S):
        assert await bank.tokens.get() == old
        bank.clock.advance(1)
    assert 5 <= bank.asked - 1 <= 10

    with pytest.raises(VendorUnavailable, match="status 503"):
        await bank.tokens.get()
    bank.answers.clear()

    assert await bank.tokens.get() != old


async def test_after_a_recovery_the_pauses_begin_anew() -> None:
    bank = Bank()
    for _ in range(2):
        old = await bank.within_the_window()
        asked = bank.asked
        bank.fail(503, 503, 503)
        for _ in range(5 + 10 + 20):
            assert await bank.tokens.get() == old
            bank.clock.advance(1)
        assert bank.asked - asked == 3
        await bank.tokens.get()


async def test_a_dropped_token_is_not_used_on_when_the_renewal_fails() -> None:
    bank = Bank()
    bank.tokens.drop(await bank.within_the_window())
    bank.fail(503)

    with pytest.raises(VendorUnavailable):
        await bank.tokens.get()


async def test_dropping_a_former_token_leaves_the_new_one() -> None:
    bank = Bank()
    old = await bank.within_the_window()
    new = await bank.tokens.get()

    bank.tokens.drop(old)

    assert (await bank.tokens.get(), bank.asked) == (new, 2)


async def test_credentials_that_are_refused_or_gone_are_told_at_once_although_the_old_token_is_good() -> None:
    """Somebody has taken them away."""
    bank = Bank()
    await bank.within_the_window()
    bank.standin.accounts.by_name.clear()
    with pytest.raises(TokenRefused, match="status 400"):
        await bank.tokens.get()

    bank.key = None

    with pytest.raises(SecretUnreadable):
        await bank.tokens.get()


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_key_of_rsa_is_not_searched_for_primes_each_time() -> None:
    """That holds up all accounts of the process for 140 ms, with 3,072 bits. This one is right in all but its primes."""
    one, other = (rsa.generate_private_key(65537, bits).private_numbers() for bits in (1024, 2048))
    p, order = one.p * one.q, lcm(one.p - 1, one.q - 1)
    key = rsa_key(other, p=p, q=other.p, d=pow(65537, -1, lcm(order, other.p - 1)), order=order)
    with pytest.raises(ValueError, match="key"):
        serialization.load_pem_private_key(key.encode(), password=None)

    form = form_for(NetsuiteM2M("c", "k", key), base_url=URL, now_s=0)

    public = serialization.load_pem_private_key(key.encode(), None, unsafe_skip_rsa_key_validation=True).public_key()
    assert jwt.PyJWS().decode(form["client_assertion"], cast(rsa.RSAPublicKey, public), algorithms=["PS256"])


def test_a_key_of_rsa_that_is_damaged_signs_nothing() -> None:
    sound = rsa.generate_private_key(65537, 2048).private_numbers()
    key = rsa_key(sound, p=sound.p, q=sound.q, d=sound.d + 2, order=sound.p - 1)

    with pytest.raises(SecretUnreadable, match="the private key does not fit PS256"):
        form_for(NetsuiteM2M("c", "k", key), base_url=URL, now_s=0)


@pytest.mark.parametrize("key", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", PEM])
def test_what_is_no_key_of_the_algorithm_signs_nothing(key: str) -> None:
    with pytest.raises(SecretUnreadable, match="the private key does not fit PS256"):
        form_for(NetsuiteM2M("c", "k", key), base_url=URL, now_s=0)


def rsa_key(like: rsa.RSAPrivateNumbers, *, p: int, q: int, d: int, order: int) -> str:
    """`order`: of the numbers that have an inverse modulo p."""
    public = rsa.RSAPublicNumbers(like.public_numbers.e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % order, d % (q - 1), pow(q, -1, p), public)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return made.private_bytes(pem, form, serialization.NoEncryption()).decode()


# -- clocks that differ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-DAY_S + 60, -3600, -301, 61, 3600, DAY_S - 60])
async def test_a_clock_that_is_wrong_is_told_once_and_netsuites_time_signed_from_then_on(off_s: int) -> None:
    bank = Bank(ours_ahead_s=off_s)

    with capture_logs() as logs:
        await bank.within_the_window()
        assert bank.asked == 2
        await bank.within_the_window()

    assert bank.asked == 3, "the offset is kept"
    assert events(logs) == ["clock_wrong"]
    assert abs(logs[0]["ahead_s"] - off_s) <= 1


async def test_a_clock_that_is_right_again_is_signed_with_again() -> None:
    bank = Bank(ours_ahead_s=3600)
    await bank.within_the_window()
    bank.standin.clock.advance(3600)

    with capture_logs() as logs:
        await bank.within_the_window()
        await bank.within_the_window()

    assert events(logs) == ["clock_right"]
    assert bank.asked == 2 + 2 + 1


async def test_a_clock_that_is_right_again_is_forgotten_even_when_nothing_was_refused() -> None:
    bank = Bank(ours_ahead_s=90)
    await bank.within_the_window()
    bank.standin.clock.advance(90)

    with capture_logs() as logs:
        await bank.within_the_window()

    assert events(logs) == ["clock_right"]
    assert bank.asked == 3


async def test_a_small_difference_that_netsuite_takes_is_nobodys_concern() -> None:
    bank = Bank(ours_ahead_s=45)

    with capture_logs() as logs:
        await bank.tokens.get()

    assert (bank.asked, logs) == (1, [])


async def test_a_clock_that_is_days_off_gets_no_token_and_the_refusal_says_why() -> None:
    bank = Bank(ours_ahead_s=3 * DAY_S)

    with pytest.raises(TokenRefused, match=rf"its clock is -{3 * DAY_S} s from ours"):
        await bank.tokens.get()

    assert bank.asked == 1


@pytest.mark.parametrize(("off_s", "asked"), [(0, 1), (3600, 2)])
async def test_a_wrong_key_is_not_mistaken_for_a_wrong_clock(another_pem: str, off_s: int, asked: int) -> None:
    bank = Bank(ours_ahead_s=off_s, key=another_pem)

    with capture_logs() as logs, pytest.raises(TokenRefused):
        await bank.tokens.get()

    assert (bank.asked, logs) == (asked, [])


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2023 22:13:20 GMT"])
async def test_without_a_time_a_refusal_is_a_refusal(date: str) -> None:
    bank = Bank()
    bank.answers = [httpx2.Response(400, headers={"date": date})]

    with pytest.raises(TokenRefused, match=r"status 400$"):
        await bank.tokens.get()


async def test_a_second_try_that_fails_otherwise_is_no_refusal() -> None:
    bank = Bank()
    bank.answers = [
        httpx2.Response(400, headers={"date": formatdate(bank.clock.now_ms() / 1000 - 600, usegmt=True)}),
        httpx2.Response(503),
    ]

    with pytest.raises(VendorUnavailable):
        await bank.tokens.get()


@given(st.integers(-2 * DAY_S, 2 * DAY_S))
async def test_whatever_the_offset_up_to_a_day_there_is_a_token_after_two_requests(off_s: int) -> None:
    bank = Bank(ours_ahead_s=off_s)

    try:
        await bank.tokens.get()
    except TokenRefused:
        assert abs(off_s) >= LARGEST_S - 1

    assert bank.asked <= 2


@given(st.integers(0, 4_000_000_000), st.integers(-2 * DAY_S, 2 * DAY_S))
def test_the_difference_is_that_of_the_header(now_s: int, off_s: int) -> None:
    assert ahead_s(formatdate(now_s, usegmt=True), (now_s + off_s) * 1000) == off_s


@given(st.text())
def test_a_header_that_is_no_time_says_nothing(text: str) -> None:
    found = ahead_s(text, 0)

    assert found is None or isinstance(found, int)


@given(st.integers(-2 * DAY_S, 2 * DAY_S))
def test_what_was_signed_with_netsuites_time_is_not_signed_again(off_s: int) -> None:
    assert not worth_signing(off_s, instead_of=off_s)
    assert worth_signing(off_s, instead_of=0) == (SEEN_S < abs(off_s) <= LARGEST_S)
    assert agrees(off_s) == (abs(off_s) <= SEEN_S)
