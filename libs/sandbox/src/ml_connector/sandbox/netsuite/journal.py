"""The request log: the judge of what the connector did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ml_connector.sandbox.web import Request

IDEMPOTENCY_KEY: Final = "x-netsuite-idempotency-key"


@dataclass(slots=True)
class Line:
    """One request, or one record of the asynchronous job `job`. Times in ms since the epoch; `commit_seq` orders all
    writes of all accounts.

    `submitted`: the job that this request started. `key`: the idempotency key of an asynchronous request. `body`: what
    was sent, while the journal keeps bodies.
    """

    seq: int
    account: str
    method: str
    path: str
    record_type: str
    external_id: str
    start_ms: float
    in_flight_at_start: int
    trace: str = ""
    job: str = ""
    end_ms: float = 0.0
    status: int = 0
    code: str = ""
    commit_seq: int | None = None
    commit_ms: float | None = None
    internal_id: str = ""
    submitted: str = ""
    key: str = ""
    body: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Journal:
    """All requests since the start or the last reset."""

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self.lines: list[Line] = []
        self.keep_bodies = False
        self._wall_s = wall_s
        self._last_seq = 0
        self._last_commit = 0

    def begin(self, request: Request, *, account: str, in_flight: int, job: str = "") -> Line:
        kind, external_id = _subject(request.path)
        self._last_seq += 1
        line = Line(
            self._last_seq, account, request.method, request.path, kind, external_id, self._wall_s() * 1000, in_flight,
            trace=request.headers.get("traceparent", ""), job=job, key=_key(request),
        )  # fmt: skip
        if self.keep_bodies and account:  # without one it asks for a token, and its body is a secret
            line.body = request.body.decode("utf-8", "replace")
        self.lines.append(line)
        return line

    def commit(self, line: Line, internal_id: str, external_id: str | None) -> None:
        self._last_commit += 1
        line.commit_seq = self._last_commit
        line.commit_ms = self._wall_s() * 1000
        line.internal_id = internal_id
        line.external_id = external_id or line.external_id

    def end(self, line: Line, *, status: int, code: str = "") -> None:
        line.end_ms = self._wall_s() * 1000
        line.status = status
        line.code = code

    def after(self, seq: int) -> list[dict[str, Any]]:
        start = max(0, len(self.lines) - (self._last_seq - seq))
        return [line.as_dict() for line in self.lines[start:]]

    def clear(self) -> None:
        self.lines.clear()


def _key(request: Request) -> str:
    """It means nothing to a synchronous request."""
    return request.headers.get(IDEMPOTENCY_KEY, "") if "respond-async" in request.headers.get("prefer", "") else ""


def _subject(path: str) -> tuple[str, str]:
    """Record type and external id of a record path; empty for other paths."""
    _, found, rest = path.partition("/record/v1/")
    if not found:
        return "", ""
    kind, _, name = rest.partition("/")
    return kind, name.partition("/")[0][len("eid:") :] if name.startswith("eid:") else ""
