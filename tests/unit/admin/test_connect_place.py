"""Where a company is connected, and which grants are its own."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.admin.connect.place import Side, authorize_url_of, is_granted_by, sides_of, token_url_of
from ml_connector.admin.flows.look import Known
from ml_connector.admin.replay.control import Conflict
from ml_connector.common.flows import ActiveFlow, FlowVersion

VENDORS = "https://oauth.pipedrive.com/oauth/token"
GATEWAY = "https://gate.example.com/pipedrive/token"


def known(flow: str, environment: str = "sandbox", **pipedrive: Any) -> Known:
    document = {"environment": environment, "pipedrive": {"company": "acme", **pipedrive}}
    version = FlowVersion(flow=flow, version=1, document=document, applied_at_ms=0, applied_by="test")
    return Known(ActiveFlow(flow=flow, version=1, revision=1, paused=False), version)


def side(flow: str = "f", auth: str = "oauth2", oauth_url: str = VENDORS, base_url: str | None = None) -> Side:
    return Side(flow, auth, oauth_url, base_url)


def test_only_flows_of_the_company_and_environment_have_a_say() -> None:
    found = [
        known("mine", oauth_url=GATEWAY, auth="oauth2"),
        known("live", "production"),
        known("other", company="other"),
    ]

    assert sides_of(found, "acme", "sandbox") == [side("mine", oauth_url=GATEWAY)]
    assert sides_of([known("bare")], "acme", "sandbox") == [side("bare", auth="api-token")]


@pytest.mark.parametrize(
    ("sides", "url"),
    [
        ([], VENDORS),
        ([side()], VENDORS),
        ([side(oauth_url=GATEWAY), side("g", oauth_url=GATEWAY)], GATEWAY),
        ([side(oauth_url=GATEWAY, auth="api-token")], GATEWAY),
        ([side(oauth_url=GATEWAY), side("g", auth="api-token")], GATEWAY),
    ],
    ids=["no flow", "Pipedrive's own", "two agree", "none logs in so yet", "one that logs in so wins"],
)
def test_token_endpoint_is_the_one_of_the_flows(sides: list[Side], url: str) -> None:
    assert token_url_of("acme", sides) == url


def test_flows_that_differ_are_named() -> None:
    with pytest.raises(Conflict, match=r"acme .*\(f, g\)"):
        token_url_of("acme", [side(), side("g", oauth_url=GATEWAY)])


def test_people_agree_beside_the_token_endpoint() -> None:
    assert authorize_url_of(VENDORS) == "https://oauth.pipedrive.com/oauth/authorize"
    with pytest.raises(Conflict, match="must end in /token"):
        authorize_url_of("https://gate.example.com/login")


@pytest.mark.parametrize(
    ("api_domain", "sides", "token_url", "own"),
    [
        ("https://acme.pipedrive.com", [], VENDORS, True),
        ("https://ACME.pipedrive.com", [], VENDORS, True),
        ("https://other.pipedrive.com", [], VENDORS, False),
        ("https://acme.pipedrive.com.example.com", [], VENDORS, False),
        ("https://x.acme.pipedrive.com", [], VENDORS, False),
        ("https://notpipedrive.com", [], VENDORS, False),
        ("https://acme-europe.pipedrive.com", [side(base_url="https://acme-europe.pipedrive.com")], VENDORS, True),
        ("https://acme.pipedrive.com", [side(base_url="https://acme-europe.pipedrive.com")], VENDORS, False),
        ("https://acme.pipedrive.com", [side(base_url="https://gate.example.com/api")], GATEWAY, True),
        ("https://other.pipedrive.com", [side(base_url="https://gate.example.com/api")], GATEWAY, False),
        ("https://gate.example.com", [side(base_url="https://gate.example.com/api")], VENDORS, True),
        ("https://gate.example.com", [], GATEWAY, True),
        ("https://gate.example.com", [], VENDORS, False),
        ("https://oauth.pipedrive.com", [], VENDORS, False),
        ("http://127.0.0.1:7000", [], "http://127.0.0.1:7000/oauth/token", True),
        ("http://127.0.0.1:7000", [], VENDORS, False),
    ],
)
def test_grant_is_of_the_company_that_was_asked_for(
    api_domain: str, sides: list[Side], token_url: str, own: bool
) -> None:
    assert is_granted_by("acme", api_domain, token_url=token_url, sides=sides) is own
