"""An HTTP server for what a stand-in posts out; answers as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec


@dataclass(frozen=True, slots=True)
class Heard:
    headers: dict[str, str]
    body: bytes
    path: str = ""

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Listener:
    """`with Listener() as listener:`. `answer` gives the status for each request."""

    def __init__(self, answer: Callable[[Heard], int] = lambda _: 204) -> None:
        self.heard: list[Heard] = []
        self.answer = answer
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                heard = Heard({name.lower(): value for name, value in self.headers.items()}, body, self.path)
                listener.heard.append(heard)
                status = listener.answer(heard)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", listener.url + "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *words: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int, within_s: float = 15.0) -> list[Heard]:
        """Until so many requests were heard."""
        deadline = time.monotonic() + within_s
        while len(self.heard) < count:
            assert time.monotonic() < deadline, f"{len(self.heard)} of {count} after {within_s} s"
            time.sleep(0.01)
        return list(self.heard)
