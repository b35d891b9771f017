"""Broker and ingest, and what may be sent to it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

import httpx2

from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.reading import read_topic
from ml_connector.cli.stack import FLOW, Stack
from ml_connector.common import topics
from ml_connector.common.asking import AtIngest
from ml_connector.common.kafka.record import Record
from ml_connector.common.vault import Vault
from support.sockets import place_of

BODY = b'{"data": {"id": 1}, "meta": "not decoded here"}'


class Door:
    """Broker and ingest."""

    def __init__(self, stack: Stack, http: httpx2.AsyncClient) -> None:
        self.stack = stack
        self.http = http

    def sign(self, body: bytes, key: str | None = None) -> str:
        return hmac.new((key or self.stack.signing_key).encode(), body, hashlib.sha256).hexdigest()

    async def post(self, body: bytes = BODY, *, flow: str = FLOW, **headers: str) -> httpx2.Response:
        """Signed with the flow's key unless `signature` says otherwise."""
        given = {"x-pipedrive-signature": headers.pop("signature", self.sign(body)), **headers}
        return await self.http.post(
            f"{self.stack.urls['ingest']}/webhooks/pipedrive/{flow}", content=body, headers=given
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*place_of(self.stack.urls["ingest"]))

    def whole_request(self, body: bytes, *, keep_alive: bool = True) -> bytes:
        """Signed, as bytes on the wire."""
        connection = "keep-alive" if keep_alive else "close"
        head = (
            f"POST /webhooks/pipedrive/{FLOW} HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\n"
            f"x-pipedrive-signature: {self.sign(body)}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def events(self) -> list[Record]:
        kafka = {"bootstrap.servers": self.stack.bootstrap}
        return await asyncio.to_thread(lambda: list(read_topic(kafka, topics.EVENTS.name)))

    async def told(self) -> list[AtIngest]:
        """What ingest has said of itself, the oldest first."""
        kafka = {"bootstrap.servers": self.stack.bootstrap}
        records = await asyncio.to_thread(lambda: list(read_topic(kafka, topics.REPLIES.name)))
        return [AtIngest.decode(one.value) for one in records if (one.key or b"").startswith(b"ingest/") and one.value]

    def writer(self) -> TopicWriter:
        kafka = {"bootstrap.servers": self.stack.bootstrap}
        return TopicWriter(kafka, prefix="", vault=Vault.from_text(self.stack.vault_key))
