"""`mlc doctor` at the writer: asked through Kafka, as the admin service asks, about accounts that are right and wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ml_connector.admin.owners import NoAnswer, Owners
from ml_connector.common import topics
from ml_connector.common.asking import Check, Checked, Finding
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.settings import Settings
from support.own_account import OwnAccount
from support.writing import PARTITIONS, Writing

pytestmark = pytest.mark.asyncio(loop_scope="session")

Findings = dict[str, Finding]
DEAD = "http://127.0.0.1:9"  # nobody listens


class Asking:
    """The admin service's end of it."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    async def check(self, account: str, flow: str, *, within_s: float = 30.0) -> Findings:
        """Asked again without an answer, as a person would: a writer that has just started may not listen yet; and until
        the flow and its secret have come to it."""
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(NoAnswer):
                    found = await self._once(account, flow)
                    if found["credentials"].result == "ok" or flow == "nobody":
                        return found

    async def ask(self, account: str, kind: str, body: bytes, *, within_s: float = 2.0) -> Findings:
        asked = self._owners.ask(topics.NETSUITE_REQUESTS, account, kind, body=body, answer=Checked, within_s=within_s)
        return {one.check.removeprefix("netsuite."): one for one in (await asked).findings}

    async def _once(self, account: str, flow: str) -> Findings:
        return await self.ask(account, "check", Check(flow=flow).encode())


@asynccontextmanager
async def asking(writing: Writing) -> AsyncIterator[Asking]:
    settings = Settings(kafka_bootstrap_servers=writing.stack.bootstrap, partitions=PARTITIONS)
    producer = Producer(settings.kafka(), linger_ms=1)
    owners = Owners(settings, producer)
    producer.start()
    await owners.start()
    running = asyncio.create_task(owners.run())
    try:
        yield Asking(owners)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await owners.close()
        await producer.close()


async def known(writing: Writing, name: str, changes: dict[str, Any] | None = None, **facts: Any) -> OwnAccount:
    """An account with its flow. `facts`: what NetSuite has of it."""
    own = await OwnAccount.open(writing, name, changes=changes, **facts)
    await own._make_known()
    return own


def other_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def results(found: Findings) -> dict[str, str]:
    """Those that are not ok."""
    return {what: one.result for what, one in found.items() if one.result != "ok"}


async def test_a_good_flow_is_ok_and_its_check_only_reads_within_the_accounts_one_slot(writing: Writing) -> None:
    own = await known(writing, "7100001", slots=1)
    async with asking(writing) as admin:
        found = await admin.check(own.account, own.flow)

        assert results(found) == {}
        assert {line["method"] for line in await own.lines() if not line["path"].endswith("/suiteql")} == {"GET"}
        assert not any(await own.held())
        await own.emit(own.state("organization", 1))
        assert await own.settled() == ["written"]
        assert results(await admin.check(own.account, own.flow)) == {}
    assert await own.judged() == []


async def test_an_account_with_tokens_is_checked_and_written_by_signed_requests(writing: Writing) -> None:
    pair = {"consumer_key": "k & k", "consumer_secret": "cs", "token_id": "t", "token_secret": "ts"}
    own = await known(writing, "7100008", {"netsuite": {"auth": "tba"}}, public_key_pem=other_key(), **pair)
    async with asking(writing) as admin:
        assert results(await admin.check(own.account, own.flow)) == {}
        await own.emit(own.state("organization", 1))

        assert await own.settled() == ["written"]
    assert await own.judged() == []


@pytest.mark.parametrize(
    ("name", "facts", "says"),
    [
        ("7100002", lambda: {"certificate_id": "another"}, "does not know this client id with this certificate id"),
        ("7100003", lambda: {"public_key_pem": other_key()}, "refuses what was signed"),
    ],
)
async def test_a_wrong_certificate_and_a_wrong_key_are_told_apart(
    writing: Writing, name: str, facts: Callable[[], dict[str, Any]], says: str
) -> None:
    own = await known(writing, name, **facts())
    async with asking(writing) as admin:
        found = await admin.check(own.account, own.flow)

    assert says in found["authentication"].says
    assert found["permission.customer"].result == found["statuses"].result == "skipped"
    assert found["clock"].result == "ok"


async def test_a_missing_permission_is_named_and_all_else_is_looked_at(writing: Writing) -> None:
    own = await known(writing, "7100004")
    await own.fault("insufficient_permission", match={"path": "/record/v1/contact"})
    async with asking(writing) as admin:
        found = await admin.check(own.account, own.flow)

    assert results(found) == {"permission.contact": "failed"}
    assert "Lists > Contacts" in found["permission.contact"].fix


def deals_in(currency: str) -> dict[str, Any]:
    fields = {"title": "data.title", "currency": currency, "custbody_source": "data.origin"}
    return {"entities": {"deal": {"record": "opportunity", "parent": "data.org_id", "fields": fields}}}


async def test_what_an_account_demands_and_the_flow_does_not_give_is_named(writing: Writing) -> None:
    demanded = ["custentity_vip", "custentity_tier", "custbody_source", "custbody_score"]
    changes = deals_in('lookup("currency", "SEK")')
    own = await known(writing, "7100009", changes, mandatory_custom_fields=demanded)
    async with asking(writing) as admin:
        found = await admin.check(own.account, own.flow)

    assert results(found) == {"currencies": "failed", "required_fields": "failed"}
    assert found["currencies"].says == "currencies of the flow: SEK does not exist"
    assert found["required_fields"].says.endswith(
        "does not give: customer: custentity_vip (Vip); opportunity: custbody_score (Score)"
    )


async def test_an_account_without_currencies_is_told(writing: Writing) -> None:
    own = await known(writing, "7100010", deals_in('lookup("currency", data.currency)'), multi_currency=False)
    async with asking(writing) as admin:
        found = await admin.check(own.account, own.flow)

    assert results(found) == {"currencies": "failed"}
    assert "Multiple Currencies is switched off" in found["currencies"].says


async def test_a_dead_address_is_told_and_other_accounts_are_written_meanwhile(writing: Writing) -> None:
    dead = await known(writing, "7100005", {"netsuite": {"base_url": DEAD}})
    well = await known(writing, "7100006")
    async with asking(writing) as admin:
        found = await admin.check(dead.account, dead.flow)
        await well.emit(well.state("organization", 1))

        assert await well.settled() == ["written"]
    assert found["address"].result == "failed"
    assert "no connection" in found["address"].says
    assert set(results(found).values()) == {"failed", "skipped"}


async def test_what_nobody_understands_is_left_out_and_the_next_question_answered(writing: Writing) -> None:
    own = await known(writing, "7100007")
    async with asking(writing) as admin:
        assert results(await admin.check(own.account, own.flow)) == {}
        for kind, body in (("dance", Check(flow=own.flow).encode()), ("check", b"\x00 no JSON")):
            with pytest.raises(NoAnswer):
                await admin.ask(own.account, kind, body, within_s=0.3)

        assert results(await admin.check(own.account, own.flow)) == {}
        assert (await admin.check(own.account, "nobody"))["credentials"].result == "failed"
