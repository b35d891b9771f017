"""Signed requests with something wrong: in a header, in the framing, in some bytes, in how they follow each other.

Pure: the same seed and number make the same `Attempt`, so one that was answered wrongly can be looked at again.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass, field

BODY_CAP = 16 * 1024  # what the fuzzed ingest is started with
CRLF = b"\r\n"
Header = tuple[bytes, bytes]


@dataclass
class Draft:
    """One request on its way to becoming bytes. `framing`: the headers that say how long the body is."""

    path: bytes
    body: bytes
    signature: bytes
    method: bytes = b"POST"
    version: bytes = b"HTTP/1.1"
    headers: list[Header] = field(default_factory=lambda: [(b"host", b"x"), (b"content-type", b"application/json")])
    framing: list[Header] = field(default_factory=list)
    wire_body: bytes = b""
    line_end: bytes = CRLF
    signed_header: bytes = b"x-pipedrive-signature"

    def render(self) -> bytes:
        signature = [(self.signed_header, self.signature)] if self.signature else []
        lines = [b" ".join((self.method, self.path, self.version))]
        lines += [name + b": " + value for name, value in (*self.headers, *signature, *self.framing)]
        return self.line_end.join([*lines, b"", b""]) + self.wire_body


@dataclass(frozen=True)
class Attempt:
    """`bodies`: those that were signed; only they may be taken in. `end`: our side is closed after the last part."""

    number: int
    parts: list[bytes]
    bodies: list[bytes]
    end: bool


class Mutator:
    def __init__(self, seed: int, key: str, path: str) -> None:
        self._seed = seed
        self._key = key.encode()
        self._path = path.encode()

    def attempt(self, number: int) -> Attempt:
        chance = random.Random(f"{self._seed}:{number}")
        drafts = [self._draft(chance, number, place) for place in range(chance.choice((1, 1, 1, 1, 1, 2, 3)))]
        bodies = [draft.body for draft in drafts]
        for draft in drafts:
            for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
                chance.choice(MUTATIONS)(draft, chance)
        if chance.random() < 0.7:
            drafts[-1].headers.append((b"connection", b"close"))
        sent = b"".join(draft.render() for draft in drafts)
        if chance.random() < 0.2:
            sent = _spoilt(sent, chance)
        return Attempt(number, _parts(sent, chance), bodies, end=chance.random() < 0.1)

    def _draft(self, chance: random.Random, number: int, place: int) -> Draft:
        padding = b"x" * chance.choice((0, 10, 300, 300, 4000))
        body = b'{"data":{"id":%d},"meta":{"id":"f-%d-%d"},"more":"%s"}' % (number, number, place, padding)
        if chance.random() < 0.03:
            body += chance.randbytes(BODY_CAP * 2)
        draft = Draft(self._path, body, hmac.new(self._key, body, hashlib.sha256).hexdigest().encode())
        if chance.random() < 0.25:
            draft.framing, draft.wire_body = [(b"transfer-encoding", b"chunked")], _chunked(body, chance)
        else:
            draft.framing, draft.wire_body = [(b"content-length", b"%d" % len(body))], body
        return draft


def _chunked(body: bytes, chance: random.Random) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        size = chance.choice((1, 7, 100, 1000, 8000))
        piece = body[at : at + size]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at += size
    return b"".join([*pieces[:40], *([] if len(pieces) <= 40 else [_rest(body, pieces[:40])]), b"0\r\n\r\n"])


def _rest(body: bytes, pieces: list[bytes]) -> bytes:
    """What the first chunks left, as one more: thousands of them would say no more than forty."""
    taken = sum(int(piece.partition(CRLF)[0], 16) for piece in pieces)
    return b"%x\r\n%s\r\n" % (len(body) - taken, body[taken:])


def _spoilt(sent: bytes, chance: random.Random) -> bytes:
    """Some bytes other than they were, anywhere."""
    data = bytearray(sent)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, size = chance.randrange(len(data) + 1), chance.choice((1, 1, 2, 30))
        match chance.randrange(6):
            case 0:
                data[at : at + size] = chance.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = chance.randbytes(size)
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                data[at:at] = chance.choice((b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"0\r\n\r\n"))
            case _:
                del data[at:]
    return bytes(data)


def _parts(sent: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.randrange(len(sent) + 1) for _ in range(chance.choice((0, 0, 0, 1, 3))))
    return [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]


# -- what may be wrong with one request ----------------------------------------------------------------------------------

METHODS = (b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"post", b"PRI", b"", b"PO ST",
           b"M" * 300, b"P\xc3\x96ST", b"POST\t")  # fmt: skip
VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11.1", b"", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1")
ENDINGS = (
    b"x",
    b"/",
    b"?a=b",
    b"%00",
    b"%2e%2e",
    b"/../../etc",
    b"\xff",
    b"#f",
    b"\t",
    b" ",
    b"a" * 40_000,
    b";v=1",
    b"%zz",
)
PATHS = (
    b"*",
    b"/",
    b"",
    b"x",
    b"//",
    b"http://x/webhooks/pipedrive/nobody",
    b"/webhooks/pipedrive/",
    b"x:443",
    b"/docs",
)
NAMES = (b"x-a", b"", b" ", b"x a", b"x:", b"x\0", b"\xc3\xa9", b"x" * 5000, b"Host", b"te", b"trailer", b"forwarded",
         b"x-forwarded-for", b"traceparent", b"authorization", b"cookie", b"content-type", b"connection", b"upgrade")  # fmt: skip
VALUES = (b"", b" ", b"a", b"\0", b"\xff\xfe", b"a\rb", b"a\nb", b"b\r\n c", b"v" * 8_000, b"v" * 40_000, b"1, 2", b"h2c",
          b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"Basic !!!", b"close", b"upgrade", b"trailers", b"127.0.0.1")  # fmt: skip
LENGTHS = (b"0", b"1", b"-1", b"+5", b"0x10", b"5 5", b"", b"ten", b"1e3", b"99999999999999999999", b"4294967296", b"00005",
           b"1, 1", b"5, 6", b"\xd9\xa3", b"300000", b"16385")  # fmt: skip
CODINGS = (
    b"gzip",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, chunked",
    b"CHUNKED",
    b"identity",
    b"xchunked",
    b"",
    b"chunked;q=1",
)
CHUNKS = (b"zz\r\n", b"5\r\nab\r\n", b"0\r\n", b"-1\r\n", b"ffffffffffffffff\r\nx", b"5;ext=1\r\nhello\r\n0\r\n\r\n",
          b"0\r\nx-trailer: 1\r\n\r\n", b"005\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5 \r\nhello\r\n0\r\n\r\n", b"",
          b"0\r\n" + b"t: 1\r\n" * 2000 + b"\r\n", b"5;" + b"e" * 20_000 + b"\r\nhello\r\n0\r\n\r\n")  # fmt: skip
SIGNATURES = (b"", b"0" * 64, b"sha256=", b"\xff" * 64, b"none", b"0" * 63, b"0" * 10_000)


def other_method(draft: Draft, chance: random.Random) -> None:
    draft.method = chance.choice(METHODS)


def other_version(draft: Draft, chance: random.Random) -> None:
    draft.version = chance.choice(VERSIONS)


def other_path(draft: Draft, chance: random.Random) -> None:
    draft.path = chance.choice(PATHS) if chance.random() < 0.4 else draft.path + chance.choice(ENDINGS)


def odd_header(draft: Draft, chance: random.Random) -> None:
    draft.headers.insert(chance.randrange(len(draft.headers) + 1), (chance.choice(NAMES), chance.choice(VALUES)))


def many_headers(draft: Draft, chance: random.Random) -> None:
    draft.headers += [(b"x-%d" % number, b"v") for number in range(chance.choice((20, 90, 150, 1000)))]


def other_case(draft: Draft, chance: random.Random) -> None:
    """Allowed: names of headers have none."""
    draft.headers = [(bytes(chance.choice((byte, byte ^ 32)) if 97 <= byte <= 122 else byte for byte in name), value)
                     for name, value in draft.headers]  # fmt: skip
    draft.signed_header = draft.signed_header.title()


def no_header(draft: Draft, chance: random.Random) -> None:
    held = chance.choice((draft.headers, draft.framing, draft.framing))
    if held:
        held.pop(chance.randrange(len(held)))


def doubled_header(draft: Draft, chance: random.Random) -> None:
    draft.headers.append(chance.choice((*draft.headers, *draft.framing, (draft.signed_header, b"0" * 64))))


def encoded(draft: Draft, chance: random.Random) -> None:
    draft.headers.append((b"content-encoding", chance.choice((b"gzip", b"br", b"identity", b"", b"x" * 100))))


def expecting(draft: Draft, chance: random.Random) -> None:
    draft.headers.append((b"expect", chance.choice((b"100-continue", b"200-ok", b""))))


def upgrading(draft: Draft, chance: random.Random) -> None:
    draft.headers += [(b"connection", b"upgrade"), (b"upgrade", chance.choice((b"websocket", b"h2c", b"TLS/1.0")))]


def other_length(draft: Draft, chance: random.Random) -> None:
    draft.framing = [(b"content-length", chance.choice(LENGTHS))]


def two_lengths(draft: Draft, chance: random.Random) -> None:
    """What requests are smuggled with."""
    draft.framing.append((b"content-length", chance.choice((*LENGTHS, b"%d" % len(draft.body)))))
    if chance.random() < 0.5:
        draft.framing.append((b"transfer-encoding", chance.choice((b"chunked", *CODINGS))))
    chance.shuffle(draft.framing)


def other_coding(draft: Draft, chance: random.Random) -> None:
    draft.framing = [(b"transfer-encoding", chance.choice(CODINGS))]


def bad_chunks(draft: Draft, chance: random.Random) -> None:
    draft.framing = [(b"transfer-encoding", b"chunked")]
    draft.wire_body = chance.choice(CHUNKS)


def other_body(draft: Draft, chance: random.Random) -> None:
    """Well framed, but not what was signed."""
    draft.wire_body = chance.choice(
        (b"", b"{}", chance.randbytes(100), b"[" * 5000, b"x" * BODY_CAP, b"x" * (BODY_CAP + 1))
    )
    draft.framing = [(b"content-length", b"%d" % len(draft.wire_body))]


def other_signature(draft: Draft, chance: random.Random) -> None:
    odd = (
        *SIGNATURES,
        draft.signature.upper(),
        b"sha256=" + draft.signature,
        draft.signature + b" ",
        draft.signature[:-1],
    )
    draft.signature = chance.choice(odd)


def bare_lines(draft: Draft, chance: random.Random) -> None:
    draft.line_end = chance.choice((b"\n", b"\r", b"\r\r\n", b"\n\r"))


def cut_short(draft: Draft, chance: random.Random) -> None:
    draft.wire_body = draft.wire_body[: chance.randrange(len(draft.wire_body) + 1)]


def only_noise(draft: Draft, chance: random.Random) -> None:
    draft.method, draft.wire_body = chance.randbytes(chance.choice((1, 20, 500))), b""


MUTATIONS: tuple[Callable[[Draft, random.Random], None], ...] = (
    other_method, other_version, other_path, odd_header, odd_header, many_headers, other_case, no_header, doubled_header,
    encoded, expecting, upgrading, other_length, two_lengths, other_coding, bad_chunks, other_body, other_signature,
    bare_lines, cut_short, only_noise,
)  # fmt: skip
