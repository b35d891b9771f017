"""Every request of an account with tokens is signed so that NetSuite (the stand-in) knows whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import NetsuiteTba
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.flows import NetsuiteAuth, NetsuiteSide
from ml_connector.netsuite_writer.netsuite.login import Logins, agreed
from ml_connector.netsuite_writer.netsuite.tba import Signing
from ml_connector.sandbox.netsuite.app import NetsuiteStandIn
from ml_connector.sandbox.netsuite.errors import NetsuiteError
from ml_connector.sandbox.web import Request

ACCOUNT = "1234567_SB1"
URL = "https://1234567-sb1.suitetalk.api.netsuite.com"
PAIR = {"consumer_key": "ck", "consumer_secret": "cs", "token_id": "ti", "token_secret": "ts"}
REQUESTS = [
    ("PUT", "/services/rest/record/v1/customer/eid:pd-org-1"),
    ("GET", "/services/rest/record/v1/customer?limit=1"),
    ("POST", "/services/rest/query/v1/suiteql?limit=1000"),
    ("GET", "/services/rest/async/v1/job/1/task/2/result"),
    ("PATCH", "/services/rest/record/v1/customer/eid:pd%20org%2F1?expandSubResources=true&q=a%20b"),
]


class Office:
    """The stand-in knows `PAIR`, whatever we sign with."""

    def __init__(self, pair: dict[str, str] = PAIR, known: dict[str, str] = PAIR) -> None:
        self.clock = ManualClock()
        self.standin = NetsuiteStandIn(wall_s=lambda: self.clock.now_ms() / 1000)
        self.standin.accounts.register({"account": ACCOUNT, **known})
        self.signing = Signing(ACCOUNT.lower(), credential=lambda: NetsuiteTba.read(pair), clock=self.clock)

    def knows(self, method: str, path: str, header: str) -> bool:
        try:
            found = self.standin.login.account_of(
                Request(method, path.partition("?")[0], {}, {"authorization": header}, b"", f"{URL}{path}")
            )
        except NetsuiteError:
            return False
        return found.name == ACCOUNT

    async def sign(self, method: str, path: str) -> str:
        return await self.signing.authorization(method, f"{URL}{path}")


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_a_signed_request_is_known_with_its_query_and_only_once(method: str, path: str) -> None:
    office = Office()

    header = await office.sign(method, path)

    assert office.knows(method, path, header)
    assert not office.knows(method, path, header), "a nonce is good once"
    assert office.knows(method, path, await office.sign(method, path))


async def test_a_signature_is_of_one_method_one_path_and_one_query() -> None:
    office = Office()
    header = await office.sign("GET", "/services/rest/record/v1/customer?limit=1")

    assert not office.knows("DELETE", "/services/rest/record/v1/customer?limit=1", header)
    assert not office.knows("GET", "/services/rest/record/v1/contact?limit=1", header)
    assert not office.knows("GET", "/services/rest/record/v1/customer?limit=2", header)


@pytest.mark.parametrize("wrong", list(PAIR))
async def test_each_of_the_four_values_counts(wrong: str) -> None:
    office = Office({**PAIR, wrong: "x"})

    assert not office.knows("GET", "/", await office.sign("GET", "/"))


async def test_the_time_that_is_signed_is_ours() -> None:
    office = Office()
    office.standin.clock.advance(600)

    assert not office.knows("GET", "/", await office.sign("GET", "/"))


@given(st.dictionaries(st.sampled_from(list(PAIR)), st.text("aB9-._~ &=%+/é", min_size=1, max_size=20)))
async def test_secrets_may_hold_any_character(pair: dict[str, str]) -> None:
    office = Office(PAIR | pair, PAIR | pair)

    assert office.knows("GET", "/", await office.sign("GET", "/"))


@pytest.mark.parametrize("lacking", list(PAIR))
def test_a_credential_with_an_empty_value_is_refused_by_its_name(lacking: str) -> None:
    with pytest.raises(SecretUnreadable, match=f"tba: {lacking} is empty"):
        NetsuiteTba.read({**PAIR, lacking: ""})


# -- which login -------------------------------------------------------------------------------------------------------


@dataclass
class Named:
    name: str
    told: list[str] = field(default_factory=list)

    async def authorization(self, method: str, url: str) -> str:
        return f"{self.name} {method} {url}"

    def refused(self, authorization: str) -> None:
        self.told.append(authorization)


async def test_the_login_is_the_one_that_is_in_use_from_the_next_request_on() -> None:
    m2m, tba = Named("m2m"), Named("tba")
    logins = Logins({"oauth2-m2m": m2m, "tba": tba})
    assert await logins.authorization("GET", "/") == "m2m GET /"

    logins.use("tba")
    logins.refused("x")

    assert await logins.authorization("PUT", "/") == "tba PUT /"
    assert (m2m.told, tba.told) == ([], ["x"])


@pytest.mark.parametrize(
    ("ways", "used"),
    [
        (["tba"], "tba"),
        (["tba", "tba"], "tba"),
        (["oauth2-m2m"], "oauth2-m2m"),
        (["tba", "oauth2-m2m"], "oauth2-m2m"),
        ([], "oauth2-m2m"),
    ],
)
def test_flows_that_differ_log_in_by_certificate(ways: list[NetsuiteAuth], used: NetsuiteAuth) -> None:
    sides = [NetsuiteSide(account=ACCOUNT, auth=way) for way in ways]

    assert agreed(sides) == used
