"""What every answer has, and what no request gets past."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from ml_connector.admin.guard import SECURITY_HEADERS, Guard

LIMIT = 1000


def application() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/plain")
    async def plain() -> PlainTextResponse:
        return PlainTextResponse("ok", headers={"cache-control": "public", "access-control-allow-origin": "*"})

    @app.post("/json")
    async def parsed(body: dict[str, Any]) -> dict[str, int]:
        return {"members": len(body)}

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def chunks() -> Any:
            yield b"first"
            raise RuntimeError("broke off")

        return StreamingResponse(chunks())

    return app


@dataclass
class Answer:
    """`read`: how many parts of the body were taken."""

    status: int
    headers: dict[str, str]
    body: bytes
    read: int

    @property
    def problem(self) -> str:
        found = json.loads(self.body)
        assert set(found) == {"problem", "details"} and found["details"] == []
        return str(found["problem"])


async def ask(
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    chunks: tuple[bytes, ...] = (b"",),
    app: ASGIApp | None = None,
) -> Answer:
    """By ASGI itself, as a server would."""
    parts = [{"type": "http.request", "body": c, "more_body": n < len(chunks)} for n, c in enumerate(chunks, 1)]
    sent: list[Message] = []

    async def receive() -> Message:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    await Guard(app or application(), max_body_bytes=LIMIT)(scope, receive, send)
    assert [m["type"] for m in sent].count("http.response.start") == 1
    found = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    assert len(found) == len(dict(found)), "a header twice"
    return Answer(
        sent[0]["status"], dict(found), b"".join(m.get("body", b"") for m in sent[1:]), len(chunks) - len(parts)
    )


def json_headers(**more: str) -> list[tuple[str, str]]:
    return [("content-type", "application/json"), *((k.replace("_", "-"), v) for k, v in more.items())]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/plain", 200), ("GET", "/nowhere", 404), ("GET", "/fault", 500), ("OPTIONS", "/plain", 405)],
)
async def test_every_answer_has_the_security_headers_and_no_cors(method: str, path: str, status: int) -> None:
    answer = await ask(method, path, headers=[("origin", "https://evil.example.com")])

    assert answer.status == status
    assert {n.decode(): v.decode() for n, v in SECURITY_HEADERS}.items() <= answer.headers.items()
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_preflight_is_refused() -> None:
    headers = [("origin", "https://evil.example.com"), ("access-control-request-method", "POST")]

    answer = await ask("OPTIONS", "/json", headers=headers)

    assert answer.status == 405 and "no CORS" in answer.problem


@pytest.mark.parametrize("length", ["1001", "99999999999999999999", "9" * 5000])
async def test_larger_body_is_refused_before_it_is_read(length: str) -> None:
    answer = await ask("POST", "/json", headers=json_headers(content_length=length), chunks=())

    assert answer.status == 413 and "1000 bytes" in answer.problem


@pytest.mark.parametrize("length", ["-1", "1e9", "", "\u00b2"])
async def test_length_that_is_no_number_is_refused(length: str) -> None:
    assert (await ask("POST", "/json", headers=json_headers(content_length=length))).status == 400


@pytest.mark.parametrize("path", ["/json", "/raw"])
async def test_larger_body_without_length_is_refused_while_it_streams(path: str) -> None:
    with capture_logs() as logs:
        answer = await ask("POST", path, headers=json_headers(), chunks=(b" " * 600, b" " * 600, b"{}"))

    assert answer.status == 413 and "1000 bytes" in answer.problem
    assert logs == []


@pytest.mark.parametrize("headers", [(), [("content-length", "100000")]])
async def test_some_of_a_larger_body_is_read_so_that_its_sender_sees_the_answer(headers: list[tuple[str, str]]) -> None:
    answer = await ask("POST", "/raw", headers=headers, chunks=(b" " * 600,) * 100)

    assert answer.status == 413
    assert answer.read == 7  # 4,200 bytes: no more than four times as many as are allowed, and what came with them


async def test_body_longer_than_it_said_is_refused() -> None:
    answer = await ask("POST", "/raw", headers=json_headers(content_length="2"), chunks=(b" " * 1001,))

    assert answer.status == 413


async def test_largest_body_is_read() -> None:
    answer = await ask("POST", "/raw", headers=json_headers(content_length="1000"), chunks=(b" " * 600, b" " * 400))

    assert (answer.status, answer.body) == (200, b"1000")


async def test_fault_is_told_in_the_log_and_not_outside() -> None:
    with capture_logs() as logs:
        answer = await ask("GET", "/fault")

    assert answer.status == 500 and b"hunter2" not in answer.body and "RuntimeError" not in answer.problem
    assert [(line["event"], line["path"]) for line in logs] == [("request_failed", "/fault")]


async def test_client_that_went_away_is_no_fault() -> None:
    with capture_logs() as logs:
        await ask("POST", "/raw", chunks=())

    assert logs == []


async def test_fault_outside_of_any_framework_is_answered_too() -> None:
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return None

    assert [(await ask("GET", "/", app=app)).status for app in (bare, silent)] == [500, 500]


async def test_half_an_answer_is_cut_off() -> None:
    """Ending it would make the half look like the whole."""
    with capture_logs() as logs, pytest.raises(RuntimeError, match="broke off"):
        await ask("GET", "/half")

    assert [line["event"] for line in logs] == ["request_failed"]


async def test_what_is_no_request_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Guard(app, max_body_bytes=LIMIT)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # neither is used

    assert seen == ["lifespan"]
