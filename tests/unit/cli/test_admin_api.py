"""The admin service over HTTP: errors in one line, pages, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from ml_connector.cli.admin_api import AdminApi, Credentials, Refused, signing_key
from ml_connector.cli.tokens import new_signing_key
from ml_connector.common.errors import BadInput, ConnectorError, TryLater
from unit.cli.conftest import BEHIND, SECRET, Service

INVALID = {
    "problem": "the request is not valid",
    "details": [{"path": "query.state", "problem": "Input should be 'open'"}, {"path": "query.group", "problem": "no"}],
}


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, ConnectorError, "set MLC_ADMIN_TOKEN"),
        (403, ConnectorError, "not allowed: why not"),
        (503, TryLater, "not now: why not"),
        (500, ConnectorError, "answered 500"),
        (302, ConnectorError, "answered 302"),
        (404, Refused, "why not"),
        (409, Refused, "why not"),
    ],
)
def test_each_refusal_says_what_to_do(service: Service, status: int, kind: type[Exception], text: str) -> None:
    service.put("GET status", {"problem": "why not", "details": []}, status=status)

    with pytest.raises(kind, match=text) as found:
        service.api().get("status")

    assert "\n" not in str(found.value)
    assert SECRET not in str(found.value)


def test_invalid_request_names_every_place(service: Service) -> None:
    service.put("GET status", INVALID, status=422)

    with pytest.raises(Refused) as found:
        service.api().get("status")

    assert str(found.value) == "the request is not valid; query.state: Input should be 'open'; query.group: no"


def test_texts_of_the_service_are_cleaned(service: Service) -> None:
    problem: dict[str, Any] = {"problem": "no \x1b[31m", "details": [{"path": "a\nb", "problem": None}, 5]}
    service.put("GET status", problem, status=422)

    with pytest.raises(Refused) as found:
        service.api().get("status")

    assert str(found.value) == "no \N{REPLACEMENT CHARACTER}[31m; a b: "


def test_nobody_there(service: Service) -> None:
    service.put("GET status", httpx2.ConnectError("refused"))

    with pytest.raises(TryLater, match=r"http://admin:8085 .*is the admin service running there\?"):
        service.api().get("status")


def test_act_without_an_answer_may_have_been_done(service: Service) -> None:
    service.put("POST replays", httpx2.ReadTimeout("slow"))

    with pytest.raises(TryLater, match="it may do it all the same"):
        service.api().post("replays", {})


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json=[1]),
        httpx2.Response(404, json={"detail": "Not Found"}),
    ],
)
def test_another_server_is_noticed(service: Service, answer: httpx2.Response) -> None:
    service.put("GET status", answer)

    with pytest.raises(ConnectorError, match="is not the admin service"):
        service.api().get("status")


def test_pages_are_followed_as_far_as_wanted(service: Service) -> None:
    pages = [{"letters": list(range(n, n + 500)), "next": f"c{n}", "behind": BEHIND} for n in (0, 500, 1000)]
    service.put("GET dead-letters", *pages)

    answer = service.api().pages("dead-letters", "letters", most=1200, query={"state": "open", "flow": None})

    assert len(answer["letters"]) == 1500  # a service that gives more than it was asked for; none is dropped
    assert [one.query for one in service.asked] == [
        {"state": "open", "limit": "500"},
        {"state": "open", "limit": "500", "cursor": "c0"},
        {"state": "open", "limit": "200", "cursor": "c500"},
    ]


@pytest.mark.parametrize("url", ["admin:8085", "ftp://admin", "http://", "http://admin:port"])
def test_wrong_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(BadInput, match="MLC_ADMIN_URL"):
        AdminApi(url, Credentials("MLC_ADMIN_TOKEN", lambda: SECRET))


def test_password_in_the_url_is_not_printed(service: Service) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no")

    credentials = Credentials("MLC_ADMIN_TOKEN", lambda: SECRET)
    api = AdminApi("http://ann:hunter2@admin:8085", credentials, transport=httpx2.MockTransport(refuse))

    with pytest.raises(TryLater) as found:
        api.get("status")

    assert "hunter2" not in str(found.value)


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_given_token_goes_before_the_key() -> None:
    found = Credentials.read({"MLC_ADMIN_TOKEN": " abc \n", "MLC_ADMIN_SIGNING_KEY_FILE": "/nowhere"})

    assert (found.variable, found.token()) == ("MLC_ADMIN_TOKEN", "abc")


def test_key_makes_a_short_admin_token(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(new_signing_key())

    found = Credentials.read({"MLC_ADMIN_SIGNING_KEY_FILE": str(tmp_path / "key.pem")})

    claims = jwt.decode(found.token(), options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["roles"]) == ("mlc", "ml-connector", ["admin"])
    assert claims["sub"].startswith("mlc:")
    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize(
    "environment", [{}, {"MLC_ADMIN_TOKEN": "a\nb"}, {"MLC_ADMIN_TOKEN": "ä"}, {"MLC_ADMIN_SIGNING_KEY_FILE": "/no"}]
)
def test_without_usable_credentials_the_variables_are_named(environment: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="MLC_ADMIN_"):
        Credentials.read(environment)


def test_file_that_is_no_key_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("something private")
    credentials = Credentials.read({"MLC_ADMIN_SIGNING_KEY_FILE": str(tmp_path / "key.pem")})

    with pytest.raises(BadInput, match="is not a private key") as found:
        credentials.token()

    assert "something private" not in str(found.value)


def test_binary_file_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key.der").write_bytes(b"\x30\x82\xff")

    with pytest.raises(BadInput, match="is not PEM"):
        signing_key({"MLC_ADMIN_SIGNING_KEY_FILE": str(tmp_path / "key.der")})
