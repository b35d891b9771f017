"""A whole request, and who answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ml_connector.ingest.http.answer import Answer

if TYPE_CHECKING:
    from ml_connector.ingest.http.connection import Connection
    from ml_connector.ingest.http.parser import Headers


class Request:
    """`headers`: names in lower case, in their order. `body` is there when `accept` is called, not before."""

    __slots__ = ("_connection", "began_s", "body", "headers", "last", "late", "method", "path", "query", "version")

    def __init__(
        self,
        connection: Connection,
        method: str,
        path: str,
        headers: Headers,
        *,
        query: bytes = b"",
        version: str = "1.1",
        began_s: float = 0.0,
    ) -> None:
        self._connection = connection
        self.began_s = began_s
        self.method = method
        self.path = path
        self.query = query
        self.version = version
        self.headers = headers
        self.body = b""
        self.last = False  # its sender wants no other over this connection, or cannot have one
        self.late: Callable[[], None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The last of them."""
        found = None
        for each, value in self.headers:
            if each == name:
                found = value
        return found

    def peer(self) -> str:
        """The address at the other end; empty when it has gone."""
        return self._connection.peer()

    def wait(self, within_s: float, late: Callable[[], None]) -> None:
        """`late` is called unless it is answered within that time."""
        self.late = late
        self._connection.answer_within(within_s)

    def answer(self, answer: Answer) -> None:
        """Once; what comes later, or after the connection is lost, is dropped."""
        self._connection.answer(self, answer)


class Route(Protocol):
    """Both are called on the event loop and do not block."""

    def admit(self, request: Request) -> Answer | None:
        """At the end of the head: an answer if it is refused whatever its body is; that is read, and dropped."""

    def accept(self, request: Request) -> None:
        """The request is whole; `request.answer` is to be called, now or later."""


class Handler(Route, Protocol):
    """All routes."""

    def answered(self, request: Request, answer: Answer, took_s: float) -> None:
        """By whomever; since its head was whole."""
