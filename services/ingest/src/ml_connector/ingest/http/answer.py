"""What an answer is as bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

CLOSE: Final = b"connection: close\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(NamedTuple):
    """`line`: status and phrase; `rest`: the headers and the body, as they are sent. `last`: it ends the connection."""

    status: int
    line: bytes
    rest: bytes
    last: bool = False

    def encode(self, *, version: bytes, date: bytes, last: bool, bodiless: bool) -> bytes:
        """`bodiless`: it answers a HEAD."""
        rest = self.rest[: self.rest.index(b"\r\n\r\n") + 4] if bodiless else self.rest
        return b"".join((b"HTTP/", version, self.line, date, CLOSE if last else b"", rest))


def answer(
    status: int, content: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = (), *, last: bool = False
) -> Answer:
    given = list(headers)
    if status != HTTPStatus.NO_CONTENT and not any(name == b"content-length" for name, _ in given):
        given.append((b"content-length", b"%d" % len(content)))
    told = b"".join(b"%s: %s\r\n" % header for header in given)
    return Answer(status, b" %d %s\r\n" % (status, HTTPStatus(status).phrase.encode()), told + b"\r\n" + content, last)


def refusal(status: int, text: str, *headers: tuple[bytes, bytes], last: bool = False) -> Answer:
    """The text says what is wrong, never quoting the request."""
    return answer(status, f"{text}\n".encode(), [(b"content-type", b"text/plain; charset=utf-8"), *headers], last=last)
