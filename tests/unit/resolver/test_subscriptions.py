"""Which webhooks an install makes, keeps and removes, whatever is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.asking import Subscription
from ml_connector.common.errors import AddressRefused, BadInput
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.resolver.subscriptions import EVERY, address_of, compare, refuse_unsigned, shown

OURS = "https://in.example/webhooks/pipedrive/acme-eu"
OTHERS = ("https://other.example/webhooks/pipedrive/acme-eu", f"{OURS}-2", "https://in.example", "", "http://[")
ENTITIES = ("organization", "person", "deal")

ONE = st.builds(
    Subscription,
    id=st.integers(1, 10**6),
    entity=st.sampled_from((*ENTITIES, "*", "lead")),
    action=st.sampled_from((EVERY, "create", "change", "delete")),
    url=st.sampled_from((OURS, f"{OURS}/", *OTHERS)),
    active=st.booleans(),
)
THERE = st.lists(ONE, max_size=12, unique_by=lambda one: one.id)
WANTED = st.sets(st.sampled_from(ENTITIES), min_size=1)


def installed(there: list[Subscription], wanted: set[str]) -> list[Subscription]:
    """What is there afterwards."""
    found = compare(wanted, there, OURS)
    made = [Subscription(10**7 + n, entity, EVERY, OURS) for n, entity in enumerate(found.create)]
    return [one for one in there if one not in found.remove] + made


@given(THERE, WANTED)
def test_whatever_was_there_exactly_the_wanted_are_there_afterwards(
    there: list[Subscription], wanted: set[str]
) -> None:
    ours = [one for one in installed(there, wanted) if one.url.rstrip("/") == OURS]

    assert sorted((one.entity, one.action, one.active) for one in ours) == [(e, EVERY, True) for e in sorted(wanted)]


@given(THERE, WANTED)
def test_those_of_others_are_untouched(there: list[Subscription], wanted: set[str]) -> None:
    others = [one for one in there if one.url in OTHERS]

    assert [one for one in installed(there, wanted) if one.url in OTHERS] == others


@given(THERE, WANTED)
def test_second_install_changes_nothing(there: list[Subscription], wanted: set[str]) -> None:
    found = compare(wanted, installed(there, wanted), OURS)

    assert (found.create, found.remove, len(found.keep)) == ((), (), len(wanted))


@pytest.mark.parametrize(
    ("url", "relay", "address"),
    [
        ("https://in.example", False, OURS),
        ("https://in.example/", False, OURS),
        (OURS, False, OURS),
        ("http://127.0.0.1:8080", False, "http://127.0.0.1:8080/webhooks/pipedrive/acme-eu"),
        ("https://relay.example/sign/7", True, "https://relay.example/sign/7"),
    ],
)
def test_address(url: str, relay: bool, address: str) -> None:
    assert address_of("acme-eu", url, relay=relay) == address


@pytest.mark.parametrize(
    "url", ["http://in.example", "ftp://in.example", "", "https://me:pw@in.example", "https://a/?k=1"]
)
def test_address_that_is_not_https_or_carries_a_secret_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        address_of("acme-eu", url, relay=True)


def flow(verify: str) -> Flow:
    return parse_flow(
        {
            "flow": "acme-eu",
            "environment": "sandbox",
            "pipedrive": {"company": "acme", "company_id": "7", "webhook": {"verify": verify}},
            "netsuite": {"account": "1234567_SB1"},
            "external_ids": "pd",
            "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
        }
    )


@pytest.mark.parametrize("verify", ["hmac-sha256", "both"])
def test_flow_that_wants_signatures_needs_a_relay_and_is_told_why(verify: str) -> None:
    with pytest.raises(BadInput, match=r"Pipedrive does not sign.*--relay"):
        refuse_unsigned(flow(verify), relay=False)

    refuse_unsigned(flow(verify), relay=True)


def test_basic_flow_needs_none() -> None:
    refuse_unsigned(flow("basic"), relay=False)


def test_url_of_somebody_else_is_not_shown_but_its_host() -> None:
    other = Subscription(1, "deal", EVERY, "https://me:pw@hooks.example:8443/catch/key?token=key")
    broken = Subscription(2, "deal", EVERY, "http://[")
    here = Subscription(3, "deal", EVERY, f"{OURS}")

    urls = [(one.url, one.ours) for one in shown([other, broken, here], "acme-eu", "")]

    assert urls == [("https://hooks.example:8443", False), ("?", False), (OURS, True)]
