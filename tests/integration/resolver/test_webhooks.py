"""Somebody installs the webhooks of a flow: the resolver makes them at Pipedrive, and touches nothing else there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ml_connector.common.asking import Subscribed, Webhooks
from support.resolving import BASIC, COMPANY_ID, Resolving

pytestmark = pytest.mark.asyncio(loop_scope="module")

INGEST = "https://in.example"
OTHER = {"subscription_url": "https://hooks.example/k", "event_action": "*", "event_object": "deal", "name": "theirs"}
PASSWORD = BASIC["keys"][0]["password"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving() -> AsyncIterator[Resolving]:
    async with Resolving() as one:
        yield one


class Acme:
    """A company of its own for each test, with organizations and deals."""

    def __init__(self, resolving: Resolving, verify: str = "basic") -> None:
        self.resolving = resolving
        self.name = f"acme-{uuid.uuid4().hex[:8]}"
        webhook = {"webhook": {"verify": verify}}
        self.document = resolving.flow(self.name, {"companyName": "data.name"}, company_id=str(COMPANY_ID), **webhook)
        self.document["entities"]["deal"] = {"record": "opportunity", "fields": {"title": "data.title"}}

    async def begin(self, **terms: Any) -> Acme:
        """The flow is followed before a request is."""
        await self.resolving.company(self.name, **terms)
        self.resolving.flows([self.document])
        await self.resolving.followed(self.name, company=self.name)
        return self

    async def install(self, url: str = INGEST, *, relay: bool = False) -> Subscribed:
        return await self.ask(Webhooks(flow=self.name, url=url, install=True, relay=relay))

    async def ask(self, asked: Webhooks) -> Subscribed:
        found = await self.resolving.webhooks(asked, company=self.name)
        assert PASSWORD not in repr(found)
        return found

    async def there(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.resolving.pipedrive(self.name, "GET", "/api/v1/webhooks")
        return found

    async def asked_to_change(self) -> set[tuple[str, str]]:
        """All that was asked but GET."""
        asked = [(one["method"], one["path"]) for one in await self.resolving.asked(self.name)]
        return {(method, path) for method, path in asked if method != "GET"}


def made(found: Subscribed) -> list[str]:
    return [one.entity for one in found.created]


async def test_install_makes_what_is_missing_and_nothing_else(resolving: Resolving) -> None:
    acme = await Acme(resolving).begin()
    await resolving.pipedrive(acme.name, "POST", "/api/v1/webhooks", OTHER)

    first, again = await acme.install(), await acme.install()
    by_hand = next(one for one in await acme.there() if one["event_object"] == "organization")
    await resolving.pipedrive(acme.name, "DELETE", f"/api/v1/webhooks/{by_hand['id']}")
    mended = await acme.install()

    assert (made(first), first.removed, first.refused) == (["deal", "organization"], (), "")
    assert (made(again), again.removed) == ([], ())
    assert (made(mended), mended.removed) == (["organization"], ())
    there = {(one["subscription_url"], one["event_object"], one["event_action"]) for one in await acme.there()}
    ours = f"{INGEST}/webhooks/pipedrive/{acme.name}"
    assert there == {(ours, "deal", "*"), (ours, "organization", "*"), ("https://hooks.example/k", "deal", "*")}
    assert len(await acme.there()) == 3
    assert all(one["http_auth_user"] for one in await acme.there() if one["subscription_url"] == ours)
    assert {path.split("/")[3] for _, path in await acme.asked_to_change()} == {"webhooks"}


async def test_ours_that_is_not_needed_goes(resolving: Resolving) -> None:
    acme = await Acme(resolving).begin()
    ours = f"{INGEST}/webhooks/pipedrive/{acme.name}"
    body = {**OTHER, "subscription_url": ours, "event_object": "person"}
    await resolving.pipedrive(acme.name, "POST", "/api/v1/webhooks", body)

    found = await acme.install()

    assert [one.entity for one in found.removed] == ["person"]
    assert {one.entity for one in found.subscriptions} == {"organization", "deal"}


async def test_status_asks_only(resolving: Resolving) -> None:
    acme = await Acme(resolving).begin()
    await resolving.pipedrive(acme.name, "POST", "/api/v1/webhooks", OTHER)
    before = await acme.asked_to_change()

    found = await acme.ask(Webhooks(flow=acme.name))

    assert [(one.url, one.ours) for one in found.subscriptions] == [("https://hooks.example", False)]
    assert await acme.asked_to_change() == before


async def test_signed_flow_is_refused_without_a_relay(resolving: Resolving) -> None:
    acme = await Acme(resolving, verify="hmac-sha256").begin()

    refused = await acme.install()
    relayed = await acme.install("https://relay.example/sign", relay=True)

    assert "Pipedrive does not sign" in refused.refused and refused.created == ()
    assert {one.url for one in relayed.created} == {"https://relay.example/sign"}
    assert {one["http_auth_user"] for one in await acme.there()} == {None}


async def test_wrong_token_is_a_sentence(resolving: Resolving) -> None:
    acme = await Acme(resolving).begin(api_token="another")

    found = await acme.install()

    assert "does not accept the credential" in found.refused
    assert await acme.asked_to_change() == set()


async def test_plain_http_and_unknown_flow_are_refused(resolving: Resolving) -> None:
    acme = await Acme(resolving).begin()

    assert "use https" in (await acme.install("http://in.example")).refused
    assert "no flow is called" in (await acme.ask(Webhooks(flow="nobody"))).refused
