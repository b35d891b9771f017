"""What ingest answers over a real socket, and what is in the topic then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.stack import ACCOUNT, COMPANY, FLOW, Stack, StackOptions
from ml_connector.common.asking import TOLD_EVERY_S, AtTheDoor
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.vault import Vault
from support.door import BODY, Door
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door() -> AsyncIterator[Door]:
    async with Stack(StackOptions(processes=("broker", "ingest"))) as stack, httpx2.AsyncClient(timeout=20) as http:
        yield Door(stack, http)


async def test_204_means_that_exactly_these_bytes_are_in_the_topic(door: Door) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await door.post(traceparent=parent, cookie="secret", authorization="Bearer secret")

    record = (await door.events())[-1]

    assert answer.status_code == 204
    assert (record.value, record.key) == (BODY, COMPANY.encode())
    assert record.partition == partition_for(COMPANY.encode(), 4)
    assert set(record.headers) == {
        "flow", "company", "account", "receipt", "received-at-ms", "verified-by", "content-type", "traceparent",
    }  # fmt: skip
    assert (record.headers["flow"], record.headers["account"]) == (FLOW.encode(), ACCOUNT.encode())
    assert record.headers["verified-by"] == b"hmac-sha256:dev"
    assert record.headers["traceparent"].split(b"-")[1] == b"0af7651916cd43dd8448eb211c80319c"


async def test_wrong_signatures_are_401_and_store_nothing(door: Door) -> None:
    right = door.sign(BODY)
    before = len(await door.events())
    wrong = ["", right.upper(), right[:-1], right + "0", f"sha256={right}", door.sign(BODY, "another key")]

    answers = [(await door.post(signature=signature)).status_code for signature in wrong]
    url = f"{door.stack.urls['ingest']}/webhooks/pipedrive/{FLOW}"
    twice = await door.http.post(url, content=BODY, headers=[("x-pipedrive-signature", right)] * 2)
    changed = await door.post(BODY + b" ", signature=right)

    assert [*answers, twice.status_code, changed.status_code] == [401] * 8
    assert len(await door.events()) == before


async def test_other_refusals_have_their_codes(door: Door) -> None:
    url = f"{door.stack.urls['ingest']}/webhooks/pipedrive"

    assert (await door.post(flow="unknown")).status_code == 404
    assert (await door.http.get(f"{url}/{FLOW}")).status_code == 405
    assert (await door.http.get(f"{url}/{FLOW}")).headers["allow"] == "POST"
    assert (await door.post(b"x" * (1024 * 1024 + 1))).status_code == 413
    assert (await door.post(b"x" * (1024 * 1024))).status_code == 204


async def test_body_that_does_not_come_is_408(door: Door) -> None:
    host, port = door.stack.urls["ingest"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /webhooks/pipedrive/{FLOW} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc".encode())

    started = time.monotonic()
    answer = await asyncio.wait_for(reader.readline(), 20)
    writer.close()

    assert b" 408 " in answer
    assert time.monotonic() - started < 9  # Pipedrive gives up at 10 s


async def test_two_keys_are_live_while_one_replaces_the_other(door: Door) -> None:
    """No restart, and no delivery in between is refused."""
    old, new = door.stack.signing_key, "the new signing key"

    def keys(*secrets: str) -> dict[str, list[dict[str, str]]]:
        return {"keys": [{"id": f"k{number}", "secret": secret} for number, secret in enumerate(secrets)]}

    async def both_open() -> bool:
        return (await door.post(signature=door.sign(BODY, new))).status_code == 204

    writer = door.writer()
    writer.secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", keys(old, new))
    await until(both_open)
    with_old = (await door.post(signature=door.sign(BODY, old))).status_code
    writer.secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", keys(new))

    async def old_is_closed() -> bool:
        return (await door.post(signature=door.sign(BODY, old))).status_code == 401

    await until(old_is_closed)
    writer.secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", keys(old))
    await until(lambda: _is(door, 204))

    assert with_old == 204


async def test_ingest_tells_at_once_which_keys_it_believes_and_what_it_refused(door: Door) -> None:
    begins = len(await door.told())
    unsigned = await door.http.post(
        f"{door.stack.urls['ingest']}/webhooks/pipedrive/{FLOW}", content=BODY, headers={"authorization": "Basic YTpi"}
    )
    good = (await door.post()).status_code
    two = [{"id": "dev", "secret": door.stack.signing_key}, {"id": "next", "secret": "the next signing key"}]

    async def told() -> list[AtTheDoor]:
        return [one.flows[FLOW] for one in (await door.told())[begins:] if FLOW in one.flows]

    async def has_two() -> bool:
        return any(one.keys for one in await told())

    door.writer().secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", {"keys": two})
    await until(has_two, within_s=TOLD_EVERY_S / 2)
    door.writer().secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", {"keys": two[:1]})

    found = next(one for one in await told() if one.keys)
    assert (unsigned.status_code, good) == (401, 204)
    assert found.keys == ("hmac-sha256:dev", "hmac-sha256:next")
    refused = {one.why: one for one in found.refused}
    assert refused["basic_instead"].count == 1
    assert 0 < refused["basic_instead"].last_ms <= found.accepted_ms
    assert b"signing key" not in b"".join(one.encode() for one in await door.told())


async def test_key_that_cannot_be_opened_is_503_never_401(door: Door) -> None:
    stranger = TopicWriter({"bootstrap.servers": door.stack.bootstrap}, prefix="", vault=Vault({"other": b"0" * 32}))
    stranger.secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", {"keys": [{"id": "k", "secret": "s"}]})
    await until(lambda: _is(door, 503))
    answer = await door.post()
    ready = await door.http.get(f"{door.stack.urls['ingest']}/readyz")
    live = await door.http.get(f"{door.stack.urls['ingest']}/livez")
    door.writer().secret(
        f"flow/{FLOW}", "webhook-hmac", "sandbox", {"keys": [{"id": "dev", "secret": door.stack.signing_key}]}
    )
    await until(lambda: _is(door, 204))

    assert answer.headers["retry-after"] == "5"
    assert (ready.status_code, live.status_code) == (503, 200)


async def _is(door: Door, status: int) -> bool:
    return (await door.post()).status_code == status


async def test_sigterm_under_load_loses_no_accepted_event(door: Door) -> None:
    before = {record.value for record in await door.events()}
    accepted: list[bytes] = []

    async def keep_posting(name: int) -> None:
        for number in range(10_000):
            body = b"%d-%d" % (name, number)
            try:
                answer = await door.post(body)
            except httpx2.HTTPError:
                return  # the door is closed
            if answer.status_code == 204:
                accepted.append(body)

    async def enough() -> bool:
        return len(accepted) >= 200

    load = [asyncio.create_task(keep_posting(name)) for name in range(8)]
    await until(enough)
    code = await door.stack.stop_one("ingest")
    await asyncio.gather(*load)

    stored = {record.value for record in await door.events()} - before
    assert code == 0
    assert set(accepted) <= stored
    assert [one.left for one in await door.told()][-2:] == [False, True]
