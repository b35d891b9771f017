"""What NetSuite's scripts push, over a real socket: one of the documented answers, and a 204 only for the secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.reading import read_topic
from ml_connector.cli.stack import ACCOUNT, FLOW, Stack, StackOptions
from ml_connector.common import topics
from ml_connector.common.drift import MOST_PUSHED_BYTES
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.record import Record
from ml_connector.common.vault import Vault
from support.door import Door
from support.sockets import place_of, statuses, talk
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET, OTHER = "the-shared-secret-of-acme-eu", "another-secret-that-is-long-enough"
BODY = b'{"recordType":"customer","id":"5"} is not decoded here'
LINE = b"POST /webhooks/netsuite/" + FLOW.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
GIVEN = b"x-netsuite-shared-secret: " + SECRET.encode() + b"\r\n"
SETTINGS = {"MLC_BODY_DEADLINE_S": "1", "MLC_ACK_DEADLINE_S": "1", "MLC_TRUSTED_PROXIES": '["127.0.0.1/32"]'}


def keys(*secrets: str) -> dict[str, list[dict[str, str]]]:
    return {"keys": [{"id": f"k{number}", "secret": secret} for number, secret in enumerate(secrets)]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door() -> AsyncIterator[Door]:
    options = StackOptions(processes=("broker", "ingest"), environment={"ingest": SETTINGS})
    async with Stack(options) as stack, httpx2.AsyncClient(timeout=20) as http:
        made = Door(stack, http)
        before = await push(made)
        await set_secrets(made, SECRET)
        assert before == 404, "a flow without a secret takes no pushes"
        yield made


async def push(door: Door, *secrets: str, flow: str = FLOW, body: bytes = BODY, forwarded: str = "") -> int:
    given = [("x-netsuite-shared-secret", secret) for secret in secrets or (SECRET,)]
    given += [("x-forwarded-for", forwarded)] if forwarded else []
    url = f"{door.stack.urls['ingest']}/webhooks/netsuite/{flow}"
    return (await door.http.post(url, content=body, headers=given)).status_code


async def set_secrets(door: Door, *secrets: str, flow: str = FLOW) -> None:
    door.writer().secret(f"flow/{flow}", "netsuite-push", "sandbox", keys(*secrets))
    await until(lambda: _takes(door, secrets[-1], flow))


async def _takes(door: Door, secret: str, flow: str) -> bool:
    return await push(door, secret, flow=flow) == 204


async def pushed(door: Door) -> list[Record]:
    kafka = {"bootstrap.servers": door.stack.bootstrap}
    return await asyncio.to_thread(lambda: list(read_topic(kafka, topics.NETSUITE_REQUESTS.name)))


async def test_204_means_that_the_owner_of_the_account_will_read_exactly_these_bytes(door: Door) -> None:
    assert await push(door) == 204

    record = (await pushed(door))[-1]

    assert (record.value, record.key) == (BODY, ACCOUNT.encode())
    assert record.partition == partition_for(ACCOUNT.encode(), 4)
    assert (record.headers["kind"], record.headers["flow"]) == (b"pushed", FLOW.encode())
    assert record.headers["verified-by"] == b"secret:k0"
    assert SECRET.encode() not in b"".join(record.headers.values())
    assert await door.events() == []


async def test_wrong_missing_and_doubled_secrets_are_401_and_store_nothing(door: Door) -> None:
    before = len(await pushed(door))
    url = f"{door.stack.urls['ingest']}/webhooks/netsuite/{FLOW}"

    wrong = [await push(door, one) for one in ("", SECRET[:-1], SECRET + "x", SECRET.upper(), f"Bearer {SECRET}")]
    doubled = await push(door, SECRET, SECRET)
    missing = (await door.http.post(url, content=BODY)).status_code
    signed = (await door.http.post(url, content=BODY, headers={"x-pipedrive-signature": door.sign(BODY)})).status_code

    assert [*wrong, doubled, missing, signed] == [401] * 8
    assert len(await pushed(door)) == before


async def test_the_secret_opens_no_other_address(door: Door) -> None:
    pipedrive = f"{door.stack.urls['ingest']}/webhooks/pipedrive/{FLOW}"
    given = {"x-netsuite-shared-secret": SECRET}

    assert (await door.http.post(pipedrive, content=BODY, headers=given)).status_code == 401
    assert await push(door, flow="unknown") == 404
    assert await push(door, flow="../pipedrive") == 404


RAW: dict[str, tuple[list[bytes], list[int]]] = {
    "GET": ([LINE.replace(b"POST", b"GET") + b"\r\n"], [405]),
    "no length": ([LINE + GIVEN + b"\r\n"], [411]),
    "an encoded body": ([LINE + GIVEN + b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"], [415]),
    "a body that ends early": ([LINE + GIVEN + b"content-length: 99\r\n\r\nx"], [408]),
    "a declared body over the cap": (
        [LINE + GIVEN + b"content-length: %d\r\n\r\n" % (MOST_PUSHED_BYTES + 1), b"x" * (MOST_PUSHED_BYTES + 1)],
        [413],
    ),
    "chunks without an end": (
        [LINE + GIVEN + b"transfer-encoding: chunked\r\n\r\n", (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 20],
        [413],
    ),
    "a path that is no text": ([LINE.replace(FLOW.encode(), b"\xff\xfe") + b"content-length: 0\r\n\r\n"], [400]),
}


@pytest.mark.parametrize("case", RAW)
async def test_odd_requests_get_the_documented_answers(door: Door, case: str) -> None:
    parts, expected = RAW[case]

    assert statuses(await talk(door.stack.urls["ingest"], *parts)) == expected


async def test_a_dripping_sender_has_a_deadline(door: Door) -> None:
    reader, writer = await asyncio.open_connection(*place_of(door.stack.urls["ingest"]))
    writer.write(LINE + GIVEN + b"content-length: 100\r\n\r\n")
    started_s = time.monotonic()

    async def drip() -> None:
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.1)  # the attack itself

    dripping = asyncio.create_task(drip())
    heard = await asyncio.wait_for(reader.read(), 10)
    dripping.cancel()
    writer.close()

    assert statuses(heard) == [408]
    assert time.monotonic() - started_s < 5


async def test_bombs_are_bytes(door: Door) -> None:
    bodies = [b"[" * 200_000, b'{"records":' * 20_000, b"9" * 200_000, b'"\\ud800"', b"\xff\xfe\x00", b"", b"{"]

    assert [await push(door, body=body) for body in bodies] == [204] * len(bodies)
    assert [record.value for record in (await pushed(door))[-2:]] == bodies[-2:]


async def test_two_secrets_are_live_while_one_replaces_the_other(door: Door) -> None:
    await set_secrets(door, SECRET, OTHER)
    both = [await push(door, one) for one in (SECRET, OTHER)]
    await set_secrets(door, OTHER)

    async def old_is_refused() -> bool:
        return await push(door, SECRET) == 401

    await until(old_is_refused)
    await set_secrets(door, SECRET)

    assert both == [204, 204]


async def test_only_allowed_networks_learn_of_it_and_no_forged_header_helps(door: Door) -> None:
    """The test's own address is the trusted proxy."""
    document = door.stack.flow_document() | {"flow": "fenced-flow", "external_ids": "fenced"}
    document["netsuite"] |= {"push": {"allow_from": ["198.51.100.0/24"]}}
    writer = door.writer()
    writer.flow(document, by="test")
    writer.secret("flow/fenced-flow", "webhook-hmac", "sandbox", keys(SECRET))
    writer.secret("flow/fenced-flow", "netsuite-push", "sandbox", keys(SECRET))

    async def status(forwarded: str) -> int:
        return await push(door, flow="fenced-flow", forwarded=forwarded)

    async def is_open() -> bool:
        return await status("198.51.100.7") == 204

    await until(is_open)
    found = [await status(one) for one in ("203.0.113.9", "198.51.100.7, 203.0.113.9", "no address", "")]

    assert found == [404] * 4


async def test_a_secret_that_no_key_opens_is_503_and_closes_nothing_else(door: Door) -> None:
    stranger = TopicWriter({"bootstrap.servers": door.stack.bootstrap}, prefix="", vault=Vault({"other": b"0" * 32}))
    stranger.secret(f"flow/{FLOW}", "netsuite-push", "sandbox", keys(SECRET))

    async def closed() -> bool:
        return await push(door) == 503

    await until(closed)
    ready = (await door.http.get(f"{door.stack.urls['ingest']}/readyz")).status_code
    await set_secrets(door, SECRET)

    assert ready == 200, "deliveries of Pipedrive are not to wait for this"


async def test_without_the_broker_it_is_503_with_retry_after(door: Door) -> None:
    """The last one: the broker does not come back."""
    await door.stack.stop_one("broker")
    url = f"{door.stack.urls['ingest']}/webhooks/netsuite/{FLOW}"
    started_s = time.monotonic()

    answer = await door.http.post(url, content=BODY, headers={"x-netsuite-shared-secret": SECRET})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert time.monotonic() - started_s < 8
