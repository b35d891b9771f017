"""Which webhooks an install makes, keeps and removes, whatever is there."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ml_connector.common.asking import Subscription
from ml_connector.common.credentials import BasicKey
from ml_connector.common.errors import AddressRefused, BadInput
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.resolver.subscriptions import (
    EVERY,
    address_of,
    compare,
    leads_to,
    name_of,
    refuse_unsigned,
    refuse_unused,
    renewals,
    shown,
)

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


NEW = BasicKey("new", "u", "p")
NAMES = st.sampled_from(["", "by hand", *(name_of("acme-eu", entity, NEW) for entity in ENTITIES)])
NAMED = st.lists(
    st.builds(lambda one, name: msgspec.structs.replace(one, name=name), ONE, NAMES),
    max_size=12,
    unique_by=lambda one: one.id,
)


def place(one: Subscription) -> tuple[str, str, str]:
    return one.url.rstrip("/"), one.entity, one.action


def renewed(there: list[Subscription], *, address: str, steps: int) -> list[list[Subscription]]:
    """What is there after each of the first calls to Pipedrive, until none is left to do."""
    now, states = list(there), [list(there)]
    for number, (old, make) in enumerate(renewals(there, "acme-eu", address, NEW)):
        if make:
            made = Subscription(
                10**7 + number, old.entity, old.action, old.url, name=name_of("acme-eu", old.entity, NEW)
            )
            now.append(made)
            states.append(list(now))
        now.remove(old)
        states.append(list(now))
    return states[: steps + 1]


@given(NAMED, st.sampled_from(["", OURS]), st.integers(0, 30))
def test_renewal_that_is_stopped_anywhere_is_gone_on_with(
    there: list[Subscription], address: str, stopped_after: int
) -> None:
    """Every place keeps a webhook at every moment; at the end all have the new key."""
    ours = [one for one in there if leads_to(one, "acme-eu", address)]
    assume(ours)

    states = renewed(there, address=address, steps=stopped_after)
    states += renewed(states[-1], address=address, steps=10**3)

    others = [one for one in there if one not in ours]
    for state in states:
        assert {place(one) for one in ours} <= {place(one) for one in state}
        assert [one for one in state if not leads_to(one, "acme-eu", address)] == others
        assert len(state) <= len(there) + 1
    last = [one for one in states[-1] if leads_to(one, "acme-eu", address)]
    assert all(one.active and one.name == name_of("acme-eu", one.entity, NEW) for one in last)
    assert {place(one) for one in last} == {place(one) for one in ours}
    assert renewals(states[-1], "acme-eu", address, NEW) == ()


def test_nothing_to_renew_is_a_mistake_and_no_success() -> None:
    """Whatever delivers there would be refused once the old key is gone."""
    with pytest.raises(BadInput, match=r"no webhook leads to flow acme-eu.*--relay"):
        renewals([Subscription(1, "deal", EVERY, "https://relay.example/sign")], "acme-eu", "", NEW)


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


def flow(verify: str, events: str = "webhooks") -> Flow:
    return parse_flow(
        {
            "flow": "acme-eu",
            "environment": "sandbox",
            "pipedrive": {"company": "acme", "company_id": "7", "webhook": {"verify": verify}, "events": events},
            "netsuite": {"account": "1234567_SB1"},
            "schedule": {"sync": "*/15 * * * *"},
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


def test_flow_without_webhooks_gets_none_and_is_told_why() -> None:
    with pytest.raises(BadInput, match=r"takes no webhooks \(pipedrive\.events is none\)"):
        refuse_unused(flow("basic", "none"))

    refuse_unused(flow("basic"))
