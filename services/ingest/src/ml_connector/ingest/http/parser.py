"""One request after the other, from the bytes of a connection. httptools (llhttp) decides what is one. Pure.

The head is fed as a whole, then the body: no further than its end where its length was declared, so that what comes
behind it is left for the next turn.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import httptools

Headers = list[tuple[bytes, bytes]]  # names in lower case

MAX_HEADERS: Final = 100


class Malformed(Exception):
    """Not a request that HTTP/1.1 allows, or that is answered here."""


class Parser:
    """Holds one request until `reset`."""

    __slots__ = (
        "_length", "_parser", "_url", "chunked", "complete", "crowded", "dropping", "headed", "headers", "keep_alive",
        "left", "pieces", "size", "upgrade",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self.reset()

    def reset(self) -> None:
        self._url = b""
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.size = 0  # of the body so far, kept or dropped
        self.left = 0  # of a declared body
        self.headed = self.complete = self.chunked = self.crowded = self.dropping = self.upgrade = False
        self.keep_alive = True

    def release(self) -> None:
        """It and httptools' parser hold each other."""
        del self._parser

    def feed(self, data: bytes) -> None:
        """Raises Malformed."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgrade = True
        except httptools.HttpParserError as error:
            raise Malformed from error

    def feed_body(self, data: bytes) -> bytes:
        """What is left over. Raises Malformed."""
        if self.chunked:
            self.feed(data)
            return b""
        piece, rest = (data, b"") if len(data) <= self.left else (data[: self.left], data[self.left :])
        self.left -= len(piece)
        self.feed(piece)
        return rest

    @property
    def method(self) -> str:
        return self._parser.get_method().decode("ascii")

    @property
    def version(self) -> str:
        return self._parser.get_http_version()

    @property
    def path(self) -> str:
        """Without the query. Raises Malformed."""
        url = self._url
        try:
            path = url if url.startswith(b"/") else httptools.parse_url(url).path or b"/"
            text = path.partition(b"?")[0].decode("ascii")
            return unquote(text, errors="strict") if "%" in text else text
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError) as error:
            raise Malformed from error

    @property
    def query(self) -> bytes:
        return self._url.partition(b"?")[2]

    def body(self) -> bytes:
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def on_message_begin(self) -> None:
        if self.complete:  # behind a body in chunks: it cannot be told apart, so the answer will be the last
            self.keep_alive = False

    def on_url(self, url: bytes) -> None:
        if not self.headed:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.headed:
            return  # a trailer
        if len(self.headers) == MAX_HEADERS:
            self.crowded = True
            return
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.headed:
            return
        self.headed = True
        self.upgrade = self._parser.should_upgrade()
        for name, value in self.headers:
            if name == b"content-length":
                self.left = int(value)
            elif name == b"transfer-encoding":
                self.chunked = True

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            return
        self.size += len(piece)
        if not self.dropping:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive() and not self.upgrade
