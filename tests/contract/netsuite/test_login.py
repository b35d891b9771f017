"""OAuth 2.0 client credentials (Oracle section_162755359851 and section_162790605110)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest

from contract.netsuite.account import ASSERTION_TYPE, RECORD, NetsuiteAccount, printed
from ml_connector.common.credentials import NetsuiteTba
from ml_connector.netsuite_writer.netsuite.tba import authorization_for
from support.netsuite_standin import NetsuiteProcess


def test_a_signed_assertion_buys_a_token_for_an_hour(account: NetsuiteAccount) -> None:
    answer = account.ask_token(account.assertion())

    expected = printed("oauth2_token")
    assert answer.status_code == expected["status"]
    assert answer.json().keys() == expected["body"].keys()
    assert (int(answer.json()["expires_in"]), answer.json()["token_type"]) == (3600, "Bearer")
    assert answer.json()["access_token"].count(".") == 2  # a JWT, as the page says


def test_the_printed_assertion_has_scopes_in_an_array_and_lives_a_whole_hour(account: NetsuiteAccount) -> None:
    """The example of section_162755359851 contradicts the table above it; both are taken."""
    now_s = int(time.time())

    answer = account.ask_token(account.assertion(scope=["restlets", "rest_webservices"], iat=now_s, exp=now_s + 3600))

    assert answer.status_code == 200


@pytest.mark.parametrize("wrong", ["certificate", "client"])
def test_an_unknown_client_is_refused(account: NetsuiteAccount, wrong: str) -> None:
    """400 invalid_client (facts/netsuite.md section 10)."""
    if wrong == "certificate":
        assertion = account.assertion(header={"kid": "no-such-certificate"})
    else:
        assertion = account.assertion(iss="no-such-client")

    answer = account.ask_token(assertion)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


def test_an_ended_assertion_is_no_grant(account: NetsuiteAccount) -> None:
    """subsect_158521885412: invalid_grant on expiry."""
    now_s = int(time.time())

    answer = account.ask_token(account.assertion(iat=now_s - 7200, exp=now_s - 3600))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("ahead_s", [-7200, 7200])
def test_an_assertion_of_another_time_is_no_grant_and_the_answer_says_what_time_it_is(
    account: NetsuiteAccount, ahead_s: int
) -> None:
    """As a client signs whose clock is wrong. That `Date` is there, and which error: no document says (docs/unproven.md)."""
    signed_s = int(time.time()) + ahead_s

    answer = account.ask_token(account.assertion(iat=signed_s, exp=signed_s + 300))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    "claims", [{"exp": int(time.time()) + 7200}, {"scope": "restlets"}, {"aud": "https://example.com/"}]
)
def test_an_assertion_must_be_short_lived_and_for_rest(account: NetsuiteAccount, claims: dict[str, Any]) -> None:
    """section_162790605110: exp within 60 minutes of iat, scope rest_webservices, aud the token endpoint."""
    answer = account.ask_token(account.assertion(**claims))

    assert answer.status_code == 400


def test_another_key_does_not_sign(account: NetsuiteAccount, another_key: str) -> None:
    answer = account.ask_token(account.assertion(algorithm="ES256", key=another_key))

    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_client", "invalid_grant"}


def test_only_client_credentials(account: NetsuiteAccount, bare: httpx2.Client) -> None:
    form = {
        "grant_type": "password",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": account.assertion(),
    }

    answer = bare.post(f"{account.url}/services/rest/auth/oauth2/v1/token", data=form)

    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("authorization", ["Bearer not-a-token", "", "Basic Zm9vOmJhcg=="])
def test_without_a_good_token_the_printed_401(
    account: NetsuiteAccount, bare: httpx2.Client, authorization: str
) -> None:
    """section_156570709583; with `WWW-Authenticate: Bearer ... error="invalid_token"` (subsect_158521885412)."""
    answer = bare.get(f"{account.url}{RECORD}/customer", headers={"authorization": authorization})

    expected = printed("error_401_invalid_login")
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


# -- token-based authentication (OAuth 1.0a, facts/netsuite.md section 10) ---------------------------------------------

TBA = {"consumer_key": "ck", "consumer_secret": "c&s", "token_id": "ti", "token_secret": "t/s"}


def signed(url: str, method: str, path: str, **changes: str) -> dict[str, str]:
    """As the writer signs."""
    pair = NetsuiteTba(**(TBA | changes))
    return {"authorization": authorization_for(pair, "7654321_SB1", method, f"{url}{path}", now_s=int(time.time()))}


def test_a_signed_request_is_let_in_and_a_wrong_secret_is_the_printed_401(
    standin: NetsuiteProcess, bare: httpx2.Client
) -> None:
    """Of the stand-in only: nobody has tokens of a real account for this."""
    standin.admin("POST", "accounts", {"account": "7654321_SB1", **TBA})
    read, query = f"{RECORD}/customer?limit=1", "/services/rest/query/v1/suiteql?limit=1000"

    listed = bare.get(f"{standin.url}{read}", headers=signed(standin.url, "GET", read))
    rows = bare.post(
        f"{standin.url}{query}",
        headers={**signed(standin.url, "POST", query), "prefer": "transient"},
        json={"q": "SELECT id FROM customer"},
    )
    refused = bare.get(f"{standin.url}{read}", headers=signed(standin.url, "GET", read, token_secret="x"))

    assert (listed.status_code, rows.status_code) == (200, 200)
    expected = printed("error_401_invalid_login")
    assert (refused.status_code, refused.json()) == (expected["status"], expected["body"])
