"""One connection: between two requests nothing but its socket and what has come of a head.

In: what the kernel says of the socket, answers, and that a time is over. Out: requests, bytes. What a sender does
wrong is answered and the connection ended; what comes after the last answer is read and dropped for a moment, since
a sender that is still writing would not see the answer.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Final

from ml_connector.common.logs import get_logger
from ml_connector.ingest.http.answer import CONTINUE, Answer, refusal
from ml_connector.ingest.http.parser import Malformed, Parser
from ml_connector.ingest.http.request import Request

if TYPE_CHECKING:
    from ml_connector.ingest.http.server import Server

log = get_logger()

MAX_HEAD: Final = 32 * 1024  # bytes
END: Final = b"\r\n\r\n"
READS: Final = 4  # of one connection before it is the others' turn
LINGER_S: Final = 0.5
LINGER_BYTES: Final = 4 * 1024 * 1024
SEND_S: Final = 5.0  # an answer that is not taken by then ends the connection
RETRY_AFTER: Final = (b"retry-after", b"5")

HEAD: Final = 0  # between two requests, or in a head
BODY: Final = 1
ANSWER: Final = 2  # the request is whole and waits for its answer
LINGER: Final = 3  # the last answer is given
CLOSED: Final = 4

MALFORMED: Final = refusal(400, "this is not HTTP/1.1 as it should be", last=True)
CUT_SHORT: Final = refusal(400, "the body ended early", last=True)
SLOW: Final = refusal(408, "the body took too long", last=True)
LARGE: Final = refusal(413, "the body is too large", last=True)
LARGE_HEAD: Final = refusal(431, "too many headers, or too large ones", last=True)
CROWDED: Final = refusal(503, "too many bodies at once, please send again", RETRY_AFTER, last=True)
BROKEN: Final = refusal(503, "not handled, please send again", RETRY_AFTER, last=True)


class Connection:
    __slots__ = (
        "_busy", "_came", "_dropped", "_held", "_hung_up", "_out", "_parser", "_refused", "_request", "_server",
        "_socket", "_unread", "due_s", "phase",
    )  # fmt: skip

    def __init__(self, server: Server, connected: socket.socket) -> None:
        self._server = server
        self._socket = connected
        self._parser: Parser | None = None  # only while a request is read
        self._request: Request | None = None  # until it is answered
        self._refused: Answer | None = None  # what will be said once its body is over
        self._came = b""  # and is not parsed
        self._held = 0  # bytes of the body that count toward the server's limit
        self._dropped = 0  # bytes that came after the last answer
        self._out = b""  # could not be sent yet
        self._unread = False  # there may be more in the socket
        self._hung_up = False  # the sender says no more: what is in the socket is the rest
        self._busy = False  # `_go_on` is at work
        self.phase = HEAD
        self.due_s = server.now() + server.limits.head_deadline_s

    def fileno(self) -> int:
        return self._socket.fileno()

    def peer(self) -> str:
        try:
            return str(self._socket.getpeername()[0])
        except OSError:
            return ""

    # What the kernel says

    def readable(self, *, hung_up: bool = False) -> None:
        """Read what there is, as long as something can be done with it."""
        self._hung_up |= hung_up
        for _ in range(READS):
            if self.phase in (ANSWER, CLOSED) or self._out:
                self._unread = True
                return
            view = self._server.buffer
            try:
                size = self._socket.recv_into(view)
            except BlockingIOError:
                self._unread = False
                return
            except OSError:
                self.close()
                return
            if not size:
                self._ended()
                return
            self._take(view[:size])
            if size < len(view) and not self._hung_up:
                self._unread = False
                return
        self._server.soon(self)

    def writable(self) -> None:
        if self._out:
            out, self._out = self._out, b""
            self._send(out)
            if not self._out and self.phase != CLOSED:
                self._sent()

    def _take(self, data: memoryview) -> None:
        if self.phase == LINGER:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.close()
            return
        self._came = self._came + data if self._came else data.tobytes()
        self._go_on()

    def _ended(self) -> None:
        """The sender says no more."""
        if self.phase == BODY:
            self._give(CUT_SHORT)
        else:
            self.close()

    # From bytes to requests

    def _go_on(self) -> None:
        """With what has come, request by request."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._came and not self._out:
                if self._parser is not None and self._request is not None:
                    self._go_on_with_body(self._parser, self._request)
                elif self.phase != HEAD or not self._go_on_with_head():
                    break
        except Malformed:
            self._give(MALFORMED)
        except Exception as error:  # of the handler: one request is no reason to end the process
            log.exception("not_handled", kind=type(error).__name__)
            self._give(BROKEN)
        finally:
            self._busy = False

    def _go_on_with_head(self) -> bool:
        """False: it is not whole. It is not parsed before, so that it costs no more than its bytes."""
        came = self._came
        end = came.find(END) + len(END)
        if end < len(END):
            if not came[:1].isalpha() and came[:1] != b"\r":
                raise Malformed
            if len(came) > MAX_HEAD:
                self._give(LARGE_HEAD)
            else:
                self._server.heads.hold(self, len(came))
            return False
        self._server.heads.let_go(self)
        if end > MAX_HEAD:
            self._give(LARGE_HEAD)
            return False
        parser = self._parser or self._server.parser()
        self._parser, self._came = parser, came[end:]
        parser.feed(came[:end])
        if parser.headed:
            self._begin(parser)
        return True

    def _begin(self, parser: Parser) -> None:
        """The head is whole: judge what can be judged by it."""
        server, limits = self._server, self._server.limits
        if parser.upgrade:
            raise Malformed
        if parser.crowded:
            self._give(LARGE_HEAD)
            return
        began_s = server.now()
        request = Request(
            self, parser.method, parser.path, parser.headers,
            query=parser.query, version=parser.version, began_s=began_s,
        )  # fmt: skip
        self._request = request
        self.phase = BODY
        self._refused = server.handler.admit(request)
        if parser.complete:
            self._whole(parser, request)
            return
        self.due_s = began_s + limits.body_deadline_s
        parser.dropping = self._refused is not None
        if parser.left > limits.body_bytes:
            self._give(LARGE)
        elif (
            not self._came
            and request.version == "1.1"
            and (request.header(b"expect") or b"").lower() == b"100-continue"
        ):
            if self._refused is not None:
                self._give(self._refused._replace(last=True))
            else:
                self._send(CONTINUE)

    def _go_on_with_body(self, parser: Parser, request: Request) -> None:
        limits = self._server.limits
        self._came = parser.feed_body(self._came)
        if parser.size > limits.body_bytes:
            self._give(LARGE)
        elif parser.complete:
            self._whole(parser, request)
        elif self._refused is None:
            self._server.buffered += parser.size - self._held
            self._held = parser.size
            if self._server.buffered > limits.buffered_bytes:
                self._give(CROWDED)

    def _whole(self, parser: Parser, request: Request) -> None:
        request.last = not parser.keep_alive or request.version == "1.0"
        request.body = parser.body()
        self._drop()
        self.phase = ANSWER
        self.due_s = math.inf
        if self._refused is not None:
            self.answer(request, self._refused)
        else:
            self._server.handler.accept(request)

    # Answers

    def answer_within(self, within_s: float) -> None:
        if self.phase == ANSWER:
            self.due_s = self._server.now() + within_s

    def answer(self, request: Request, answer: Answer) -> None:
        if request is self._request:
            self._give(answer)

    def _give(self, answer: Answer) -> None:
        """Answer what was asked, or what it was that came."""
        request, self._request = self._request, None
        server = self._server
        last = answer.last or server.stopping or request is None or request.last
        version = b"1.1" if request is None or request.version != "1.0" else b"1.0"
        bodiless = request is not None and request.method == "HEAD"
        if answer.status == 204:
            server.strangers.pop(self, None)
        self._refused = None
        now_s = server.now()
        if request is not None:
            server.handler.answered(request, answer, now_s - request.began_s)
        if last:
            self._linger(now_s)
        else:
            self.phase = HEAD
            self.due_s = now_s + server.limits.head_deadline_s
        self._send(answer.encode(version=version, date=server.date, last=last, bodiless=bodiless))
        if not self._out and self.phase != CLOSED:
            self._sent()

    def _send(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._out = data[sent:]
            self._server.watch_writable(self)
            self.due_s = self._server.now() + SEND_S

    def _sent(self) -> None:
        """All that was to be said is with the kernel."""
        if self.phase == LINGER:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
                return
            self._server.soon(self)
        elif not self._busy:
            self._go_on()
            if self._unread and self.phase in (HEAD, BODY):
                self.readable()

    def _linger(self, now_s: float) -> None:
        self._drop()
        self._came = b""
        self.phase = LINGER
        self.due_s = now_s + LINGER_S

    # Ends

    def overdue(self) -> None:
        if self.phase == BODY and not self._out:
            self._give(SLOW)
        elif self.phase == ANSWER and self._request is not None and self._request.late is not None:
            self.due_s = math.inf
            self._request.late()
        else:
            self.close()

    def close(self) -> None:
        if self.phase != CLOSED:
            self._server.forget(self)
            self._drop()
            self._came = self._out = b""
            self._request = None
            self.phase = CLOSED
            self._socket.close()

    def _drop(self) -> None:
        """What only reading needs."""
        server, parser = self._server, self._parser
        if self._held:
            server.buffered -= self._held
            self._held = 0
        if parser is not None:
            self._parser = None
            server.give_back(parser)
