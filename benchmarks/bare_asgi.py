"""The floor under ingest: one ASGI function on the same server that checks the signature, produces, awaits the broker.

The same message to the same broker, but no flows, no limits, no deadlines, no counts:
`python benchmarks/bare_asgi.py BOOTSTRAP TOPIC PORT` with the signing
key in BARE_KEY.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import sys
import threading
from typing import Any

import uvloop
from confluent_kafka import Producer
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

HEADERS: list[tuple[str, str | bytes | None]] = [
    ("flow", b"acme-eu"), ("company", b"acme-eu"), ("account", b"1234567_SB1"), ("receipt", b"0123456789abcdef" * 2),
    ("received-at-ms", b"1764000000000"), ("verified-by", b"hmac-sha256:dev"), ("content-type", b"application/json"),
    ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
]  # fmt: skip
KEY = os.environ["BARE_KEY"].encode()


def make_app(producer: Producer, topic: str, loop: asyncio.AbstractEventLoop) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        given = dict(scope["headers"]).get(b"x-pipedrive-signature", b"")
        status = 401
        if hmac.compare_digest(hmac.new(KEY, body, hashlib.sha256).hexdigest().encode(), given):
            stored = loop.create_future()

            def delivered(error: Any, _: Any) -> None:
                loop.call_soon_threadsafe(stored.set_result, error)

            producer.produce(topic, body, b"acme-eu", headers=HEADERS, on_delivery=delivered)
            status = 204 if await stored is None else 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


async def serve(bootstrap: str, topic: str, port: int) -> None:
    producer = Producer({
        "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 2, "compression.type": "lz4",
        "partitioner": "murmur2_random",
    })  # fmt: skip

    def poll() -> None:
        while True:
            producer.poll(0.1)

    threading.Thread(target=poll, daemon=True).start()
    app = make_app(producer, topic, asyncio.get_running_loop())
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False,
        log_enabled=False,
    )  # fmt: skip
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
