"""However a request is cut, it is the same request, and what comes behind it is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.ingest.http.parser import Malformed, Parser

HEAD = b"POST /webhooks/x%%20y?a=b HTTP/1.1\r\nX-Name: Value\r\ncontent-length: %d\r\n\r\n"


@given(body=st.binary(max_size=200), behind=st.binary(max_size=50), cuts=st.lists(st.integers(0, 250), max_size=5))
def test_a_declared_body_is_read_to_its_end_and_no_further(body: bytes, behind: bytes, cuts: list[int]) -> None:
    parser, given_bytes = Parser(), body + behind
    parser.feed(HEAD % len(body))
    left = b""
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(given_bytes)], strict=True):
        piece = given_bytes[start:end]
        left += piece if parser.complete else parser.feed_body(piece)

    assert parser.complete
    assert (parser.body(), left) == (body, behind)
    assert (parser.method, parser.path, parser.query, parser.version) == ("POST", "/webhooks/x y", b"a=b", "1.1")
    assert parser.headers[0] == (b"x-name", b"Value")


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=5), cut=st.integers(0, 200))
def test_chunks_and_trailers(pieces: list[bytes], cut: int) -> None:
    parser = Parser()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nlate: x\r\n\r\n"
    parser.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    for part in (chunks[:cut], chunks[cut:]):
        parser.feed_body(part)

    assert parser.complete and parser.keep_alive
    assert parser.body() == b"".join(pieces)
    assert [name for name, _ in parser.headers] == [b"transfer-encoding"]


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: +3\r\n\r\n",
        b"POST / HTTP/1.1\r\nx : a\r\n\r\n",
        b"POST / HTTP/1.1\nx: a\n\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_differently_is_malformed(head: bytes) -> None:
    with pytest.raises(Malformed):
        Parser().feed(head)


def test_a_parser_serves_one_request_after_the_other() -> None:
    parser = Parser()
    for body in (b"first", b"", b"third"):
        parser.feed(HEAD % len(body))
        if body:
            parser.feed_body(body)
        assert parser.complete and parser.keep_alive and parser.body() == body
        parser.reset()
