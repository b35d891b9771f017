"""Whatever comes over a socket gets one of the documented answers; only a true signature gets a 204."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.stack import FLOW, Stack, StackOptions
from support.door import BODY, Door
from support.sockets import place_of, statuses, talk
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINE = b"POST /webhooks/pipedrive/" + FLOW.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
DEADLINES = {"MLC_HEADER_DEADLINE_S": "1", "MLC_BODY_DEADLINE_S": "1", "MLC_TRUSTED_PROXIES": '["127.0.0.1/32"]'}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door() -> AsyncIterator[Door]:
    options = StackOptions(processes=("broker", "ingest"), environment={"ingest": DEADLINES})
    async with Stack(options) as stack, httpx2.AsyncClient(timeout=20) as http:
        yield Door(stack, http)


def request(door: Door, *headers: bytes, body: bytes = BODY, line: bytes = LINE, length: bool = True) -> bytes:
    signature = b"x-pipedrive-signature: " + door.sign(body).encode()
    given = [signature, *headers, *([b"content-length: %d" % len(body)] if length else [])]
    return line + b"\r\n".join(given) + b"\r\n\r\n" + body


async def test_each_flipped_bit_of_body_or_signature_is_401(door: Door) -> None:
    right = door.sign(BODY).encode()
    bodies = [_flipped(BODY, bit) for bit in range(len(BODY) * 8)]
    signatures = [_flipped(right, bit) for bit in range(len(right) * 8)]
    before = len(await door.events())
    places = asyncio.Semaphore(16)
    url = f"{door.stack.urls['ingest']}/webhooks/pipedrive/{FLOW}"

    async def post(body: bytes, signature: bytes) -> int:
        async with places:
            head = LINE + b"x-pipedrive-signature: " + signature + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
            heard = statuses(await talk(url, head + body))
        return heard[0] if heard else 0

    found = await asyncio.gather(*(post(b, right) for b in bodies), *(post(BODY, s) for s in signatures))

    assert set(found) <= {401, 400}  # 400: the flipped byte is none that a header may have
    assert set(found[: len(bodies)]) == {401}
    assert len(await door.events()) == before


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


CASES: dict[str, tuple[list[bytes], int]] = {
    "a second content-length that agrees": ([b"content-length: %d" % len(BODY)], 400),
    "a second content-length that differs": ([b"content-length: 1"], 400),
    "a header of 16 KiB": ([b"x-a: " + b"a" * 16_000], 204),
    "a header of 70 KiB": ([b"x-a: " + b"a" * 70_000], 431),
    "a thousand headers": ([b"x-%d: a" % number for number in range(1000)], 431),
    "an encoded body": ([b"content-encoding: gzip"], 415),
    "another content type": ([b"content-type: text/xml"], 204),
    "expectations": ([b"expect: 100-continue"], 204),
    "an upgrade to HTTP/2": ([b"upgrade: h2c", b"http2-settings: AAMAAABk"], 204),
    "a header with a null": ([b"x-a: \x00"], 400),
    "a header without a name": ([b": x"], 400),
    "a header that is folded": ([b"x-a: b\r\n c"], 400),
}


@pytest.mark.parametrize("case", CASES)
async def test_odd_headers(door: Door, case: str) -> None:
    headers, expected = CASES[case]

    heard = statuses(await talk(door.stack.urls["ingest"], request(door, *headers)))

    assert [status for status in heard if status != 100] == [expected]


RAW: dict[str, tuple[bytes, list[int]]] = {
    "garbage": (b"\x00\x01\x02\r\n\r\n", [400]),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", [400]),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 160 + b"\r\n\r\n", [400]),
    "another method": (LINE.replace(b"POST", b"PUT") + b"content-length: 0\r\n\r\n", [405]),
    "GET": (LINE.replace(b"POST", b"GET") + b"\r\n", [405]),
    "no length": (LINE + b"\r\n", [411]),
    "a negative length": (LINE + b"content-length: -1\r\n\r\n", [400]),
    "a length in words": (LINE + b"content-length: ten\r\n\r\n", [400]),
    "a length beyond 64 bits": (LINE + b"content-length: 99999999999999999999\r\n\r\n", [400]),
    "an unknown transfer encoding": (LINE + b"transfer-encoding: gzip\r\n\r\n", [400]),
    "a bad chunk": (LINE + b"transfer-encoding: chunked\r\n\r\nzz\r\n", [400]),
    "an unknown flow": (LINE.replace(FLOW.encode(), b"nobody") + b"content-length: 0\r\n\r\n", [404]),
    "a path outside": (LINE.replace(FLOW.encode(), b"../../etc/passwd") + b"content-length: 0\r\n\r\n", [404]),
    "a path that is no text": (LINE.replace(FLOW.encode(), b"\xff\xfe") + b"content-length: 0\r\n\r\n", [400]),
    "a path of 100 KiB": (LINE.replace(FLOW.encode(), b"a" * 100_000) + b"content-length: 0\r\n\r\n", [431]),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", [400]),
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
async def test_what_is_hardly_http(door: Door, case: str) -> None:
    sent, expected = RAW[case]

    heard = await talk(door.stack.urls["ingest"], sent)

    assert statuses(heard) == expected
    assert b"server:" not in heard.lower()


async def test_a_length_that_lies(door: Door) -> None:
    """Shorter: other bytes than those that were signed. Longer: the body ends early, or does not come."""
    signed = b"x-pipedrive-signature: " + door.sign(BODY).encode() + b"\r\n"
    shorter = await talk(door.stack.urls["ingest"], LINE + signed + b"content-length: 5\r\n\r\n" + BODY)
    longer = LINE + signed + b"content-length: 999\r\n\r\n" + BODY
    ended = await talk(door.stack.urls["ingest"], longer, end=True)
    waited = await talk(door.stack.urls["ingest"], longer)

    assert (statuses(shorter), statuses(ended), statuses(waited)) == ([401], [400], [408])


async def test_chunks_are_a_body_too(door: Door) -> None:
    signed = b"x-pipedrive-signature: " + door.sign(BODY).encode() + b"\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"

    heard = await talk(door.stack.urls["ingest"], LINE + signed + b"transfer-encoding: chunked\r\n\r\n" + chunks)

    assert statuses(heard) == [204]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_cap_is_413(door: Door, declared: bool) -> None:
    """1 MiB; declared, or in chunks that never end."""
    size = 3 * 1024 * 1024
    if declared:
        parts = [LINE + b"content-length: %d\r\n\r\n" % size, b"x" * size]
    else:
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        parts = [LINE + b"transfer-encoding: chunked\r\n\r\n", chunk * (size // 0x10000)]

    heard = await talk(door.stack.urls["ingest"], *parts)

    assert statuses(heard) == [413]


async def test_a_real_body_with_300_permitted_users_fits(door: Door) -> None:
    body = b'{"meta":{"permitted_user_ids":[' + b",".join(b'"%d"' % (12_000_000 + n) for n in range(300)) + b"]}}"

    assert (await door.post(body)).status_code == 204


async def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    keep = LINE.replace(b"connection: close\r\n", b"")
    good = request(door, line=keep)
    bad = keep + b"x-pipedrive-signature: no\r\ncontent-length: 1\r\n\r\nx"

    heard = await talk(door.stack.urls["ingest"], good + bad + good + bad + request(door))

    assert statuses(heard) == [204, 401, 204, 401, 204]


async def test_http_1_0(door: Door) -> None:
    heard = await talk(door.stack.urls["ingest"], request(door, line=LINE.replace(b"HTTP/1.1", b"HTTP/1.0")))

    assert heard.startswith(b"HTTP/1.0 204 ")


async def test_expectations_are_met_before_the_body_is_sent(door: Door) -> None:
    head, body = request(door, b"expect: 100-continue").split(b"\r\n\r\n")
    host, port = place_of(door.stack.urls["ingest"])
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head + b"\r\n\r\n")
    go_on = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.write(body)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()

    assert go_on.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("part", ["headers", "body"])
async def test_dripping_senders_have_a_deadline(door: Door, part: str) -> None:
    """Slow loris: a byte now and then keeps neither headers nor a body alive."""
    whole = request(door)
    start = 20 if part == "headers" else len(whole) - len(BODY)
    host, port = place_of(door.stack.urls["ingest"])
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(whole[:start])
    started_s = time.monotonic()

    async def drip() -> None:
        for byte in whole[start:]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.2)  # the attack itself

    dripping = asyncio.create_task(drip())
    heard = await asyncio.wait_for(reader.read(), 10)
    dripping.cancel()
    writer.close()

    assert time.monotonic() - started_s < 4
    assert statuses(heard) == ([] if part == "headers" else [408])


async def test_a_body_is_never_decoded(door: Door) -> None:
    """Deep nesting, huge numbers, lone surrogates, broken JSON: bytes are bytes."""
    bodies = [b"[" * 500_000, b"9" * 500_000, b'"\\ud800"', b"\xff\xfe\x00", b"{", b""]

    found = [(await door.post(body)).status_code for body in bodies]

    assert found == [204] * len(bodies)
    assert [record.value for record in (await door.events())[-3:]] == bodies[-3:]


async def test_basic_credentials_with_odd_encodings(door: Door) -> None:
    """A second flow, which wants HTTP Basic as Pipedrive offers it."""
    document = door.stack.flow_document() | {"flow": "basic-flow", "external_ids": "basic"}
    document["pipedrive"] |= {"webhook": {"verify": "basic"}}
    writer = door.writer()
    pair = "us€r:p:ä ss"
    user, _, password = pair.partition(":")
    keys = {"keys": [{"id": "k", "user": user, "password": password}]}
    writer.secret("flow/basic-flow", "webhook-basic", "sandbox", keys)
    writer.flow(document, by="test")

    def encoded(text: str, encoding: str = "utf-8") -> str:
        return base64.b64encode(text.encode(encoding, "replace")).decode()

    async def status(value: str | None) -> int:
        url = f"{door.stack.urls['ingest']}/webhooks/pipedrive/basic-flow"
        headers = {} if value is None else {"authorization": value}
        return (await door.http.post(url, content=BODY, headers=headers)).status_code

    async def is_open() -> bool:
        return await status(f"Basic {encoded(pair)}") == 204

    await until(is_open)
    good = [f"Basic {encoded(pair)}", f"basic {encoded(pair)}", f"BASIC  {encoded(pair)}"]
    bad = [
        None, "", "Basic", f"Basic {encoded(pair, 'latin-1')}", f"Basic {encoded(pair)[:-1]}",
        f"Basic {encoded(pair).rstrip('=')}x", f"Basic {encoded(pair)}!", f"Bearer {encoded(pair)}",
        f"Basic {encoded(user)}", f"Basic {encoded(':' + password)}", f"Basic {encoded(pair + ' ')}",
        f"Basic {base64.urlsafe_b64encode(b'~~~???').decode()}",
    ]  # fmt: skip

    assert [await status(value) for value in good] == [204] * len(good)
    assert {await status(value) for value in bad} == {401}


async def test_only_allowed_addresses_learn_of_a_flow(door: Door) -> None:
    """The test's own address is the trusted proxy."""
    document = door.stack.flow_document() | {"flow": "fenced-flow", "external_ids": "fenced"}
    document["pipedrive"] |= {"webhook": {"verify": "hmac-sha256", "allow_from": ["198.51.100.0/24"]}}
    writer = door.writer()
    writer.secret(
        "flow/fenced-flow", "webhook-hmac", "sandbox", {"keys": [{"id": "k", "secret": door.stack.signing_key}]}
    )
    writer.flow(document, by="test")

    async def status(forwarded: str) -> int:
        headers = {"x-forwarded-for": forwarded, "x-pipedrive-signature": door.sign(BODY)}
        url = f"{door.stack.urls['ingest']}/webhooks/pipedrive/fenced-flow"
        return (await door.http.post(url, content=BODY, headers=headers)).status_code

    async def is_open() -> bool:
        return await status("198.51.100.7") == 204

    await until(is_open)
    assert await status("198.51.100.7, 203.0.113.9") == 404
    assert await status("203.0.113.9") == 404
    assert (await door.post(flow="fenced-flow")).status_code == 404


async def test_keys_rotate_under_load_without_one_rejected_delivery(door: Door) -> None:
    """old -> old+new -> new+old -> new, while deliveries signed with whatever is valid throughout go on."""
    old, new = door.stack.signing_key, "rotated"
    writer = door.writer()
    signing, found, ended = [old], [], asyncio.Event()

    async def load() -> None:
        while not ended.is_set():
            found.append((await door.post(signature=door.sign(BODY, signing[0]))).status_code)

    def put(*secrets: str) -> None:
        keys = {"keys": [{"id": hashlib.sha256(s.encode()).hexdigest()[:6], "secret": s} for s in secrets]}
        writer.secret(f"flow/{FLOW}", "webhook-hmac", "sandbox", keys)

    async def takes(secret: str, *, expected: int = 204) -> None:
        async def answered() -> bool:
            return (await door.post(signature=door.sign(BODY, secret))).status_code == expected

        await until(answered)

    loads = [asyncio.create_task(load()) for _ in range(8)]
    put(old, new)
    await takes(new)
    signing[0] = new
    put(new, old)
    started = len(found)

    async def many_more() -> bool:
        return len(found) > started + 100  # every delivery that was signed with the old key is answered

    await until(many_more)
    put(new)
    await takes(old, expected=401)
    ended.set()
    await asyncio.gather(*loads)
    put(old)
    await takes(old)

    assert set(found) == {204}
