"""Listen, and hand each connection what the kernel says of it. Linux: epoll, edge-triggered.

One epoll for all connections, which the event loop watches as one file: so a connection that has sent nothing costs a
socket and a few words, not a transport with its buffers. Whoever has not sent a good request yet is a stranger; when
there is no room left, the stranger that came first has to go.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from ml_connector.ingest.http.connection import ANSWER, BODY, Connection
from ml_connector.ingest.http.parser import Parser
from ml_connector.ingest.http.request import Handler
from ml_connector.ingest.listening import refuse_newcomers

BACKLOG: Final = 2048
READ_BYTES: Final = 64 * 1024
ACCEPTED: Final = 64  # newcomers in one turn
EVENTS: Final = 512  # in one turn
SWEEP_S: Final = 0.25  # how late a deadline may be noticed
HEADS_BYTES: Final = 4 * 1024 * 1024  # of all heads that are not whole, together
PARSERS: Final = 64  # kept for the next requests
IN: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
IN_OUT: Final = IN | select.EPOLLOUT
GONE: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
NO_MORE: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds. `buffered`: of all bodies that are being received together."""

    body_bytes: int
    buffered_bytes: int
    head_deadline_s: float
    body_deadline_s: float
    connections: int


class Heads:
    """Heads that are not whole: together they have a bound, beyond it the one that began first has to go."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._sizes: dict[Connection, int] = {}
        self._total = 0

    def hold(self, connection: Connection, size: int) -> None:
        self._total += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        while self._total > self._most:
            next(iter(self._sizes)).close()

    def let_go(self, connection: Connection) -> None:
        self._total -= self._sizes.pop(connection, 0)


class Server:
    """`start`, `refuse_newcomers`, `close`; all on one event loop."""

    def __init__(self, handler: Handler, limits: Limits, *, host: str, port: int) -> None:
        self.handler = handler
        self.limits = limits
        self.heads = Heads(HEADS_BYTES)
        self.strangers: dict[Connection, None] = {}
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.buffered = 0
        self.stopping = False  # each answer ends its connection
        self._connections: dict[int, Connection] = {}
        self._parsers: list[Parser] = []
        self._epoll = select.epoll()
        self._listener = _listener(host, port)
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._full = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def in_flight(self) -> int:
        """Requests that are being received or answered."""
        return sum(connection.phase in (BODY, ANSWER) for connection in self._connections.values())

    def start(self) -> None:
        self._listener.listen(BACKLOG)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._loop.add_reader(self._epoll.fileno(), self._turn)
        self._sweep()

    def refuse_newcomers(self) -> None:
        refuse_newcomers(self._listener)

    def close(self) -> None:
        self._sweeping.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        for connection in list(self._connections.values()):
            connection.close()
        for parser in self._parsers:
            parser.release()
        self._epoll.close()
        self._listener.close()

    def _turn(self) -> None:
        connections = self._connections
        for number, events in self._epoll.poll(0, EVENTS):
            connection = connections.get(number)
            if connection is None:
                if number == self._listener.fileno():
                    self._accept()
                continue
            if events & select.EPOLLOUT:
                connection.writable()
            if events & ~select.EPOLLOUT:
                connection.readable(hung_up=bool(events & GONE))

    def _accept(self) -> None:
        for _ in range(ACCEPTED):
            try:
                connected, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in NO_MORE:  # it has gone already
                    continue
                self._make_room()
                return
            if len(self._connections) >= self.limits.connections:
                self._make_room()
            connected.setblocking(False)
            connection = Connection(self, connected)
            self._connections[connected.fileno()] = connection
            self.strangers[connection] = None
            self._epoll.register(connected.fileno(), IN)
            if self._full:
                return

    def _make_room(self) -> None:
        """Where nobody can be sent away, those who wait at the door go on waiting."""
        stranger = self._first_stranger()
        if stranger is not None:
            stranger.close()
        elif not self._full:
            self._full = True
            self._epoll.modify(self._listener.fileno(), 0)

    def _first_stranger(self) -> Connection | None:
        return next((each for each in self.strangers if each.phase != ANSWER), None)

    def _sweep(self) -> None:
        """End what is overdue."""
        now_s = self.now()
        self.date = b"date: %s\r\n" % formatdate(usegmt=True).encode()
        for connection in [each for each in self._connections.values() if each.due_s < now_s]:
            connection.overdue()
        if self._full and (len(self._connections) < self.limits.connections or self._first_stranger() is not None):
            self._full = False
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN)
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    # For connections

    def soon(self, connection: Connection) -> None:
        """It may have more to read; first it is the others' turn."""
        self._loop.call_soon(connection.readable)

    def watch_writable(self, connection: Connection) -> None:
        self._epoll.modify(connection.fileno(), IN_OUT)

    def forget(self, connection: Connection) -> None:
        self.heads.let_go(connection)
        self.strangers.pop(connection, None)
        self._connections.pop(connection.fileno(), None)

    def parser(self) -> Parser:
        return self._parsers.pop() if self._parsers else Parser()

    def give_back(self, parser: Parser) -> None:
        """Only one that has ended a request cleanly can begin another."""
        if parser.complete and parser.keep_alive and len(self._parsers) < PARSERS:
            parser.reset()
            self._parsers.append(parser)
        else:
            parser.release()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # those that are accepted have it too
    listener.setblocking(False)
    listener.bind((host, port))
    return listener
