"""The admin service as an operator has it: its API with a token, and many dead letters to operate on."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx2

from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.stack import ADMIN, ALL, Stack, StackOptions
from ml_connector.cli.tokens import AUDIENCE, ISSUER, make_token
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.codec import encode_json
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.traceparent import new_traceparent
from ml_connector.common.vault import Vault
from support.allowed_requests import refuse_strays
from support.writing import until

ENDED = {"done", "paused", "cancelled"}


class Api:
    """`/v1` of a running admin service. What is refused is raised, unless it is asked for by `status`."""

    def __init__(self, url: str, signing_key: str, *, role: str = "operator", subject: str = "anna") -> None:
        now_s = int(time.time())
        token = make_token(
            signing_key, issuer=ISSUER, audience=AUDIENCE, subject=subject, roles=[role], lifetime_s=3600, now_s=now_s
        )
        self.http = httpx2.AsyncClient(base_url=f"{url}/v1", headers={"authorization": f"Bearer {token}"}, timeout=60)

    async def get(self, path: str, **query: Any) -> Any:
        return _answer(await self.http.get(path, params=query))

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return _answer(await self.http.post(path, json=body))

    async def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return _answer(await self.http.put(path, json=body))

    async def letters(self, **query: Any) -> list[dict[str, Any]]:
        """All pages."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get("/dead-letters", limit=500, **query, **cursor)
            found += page["letters"]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    async def until_level(self, within_s: float = 30) -> None:
        """Until all that had been written when this was called is taken into account."""
        began_s = time.monotonic()

        async def level() -> bool:
            age_s = (await self.get("/status"))["age_s"]
            return age_s is not None and age_s < time.monotonic() - began_s

        await until(level, within_s=within_s)

    async def replay(self, selection: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Make one; as it was made."""
        body = {"selection": selection, "reason": "a test's reason", **options}
        made: dict[str, Any] = await self.post("/replays", body)
        return made

    async def ended(self, replay: str, within_s: float = 60) -> dict[str, Any]:
        """Once it is not running any more."""
        found: dict[str, Any] = {}

        async def has_ended() -> bool:
            try:
                found.update(await self.get(f"/replays/{replay}"))
            except httpx2.TransportError:
                return False  # it was killed, and is coming back
            return found["state"] in ENDED

        await until(has_ended, within_s=within_s, every_s=0.2)
        return found

    async def close(self) -> None:
        await self.http.aclose()


class Operating:
    """`async with Operating() as operating:`; the whole product and its admin service."""

    def __init__(self, options: StackOptions | None = None) -> None:
        self.stack = Stack(options or StackOptions(processes=ALL, keep_alive=True))

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        self.api = self.api_of(ADMIN)
        self.producer = Producer(self.kafka)
        self.producer.start()
        self._writer = TopicWriter(self.kafka, prefix="", vault=Vault.from_text(self.stack.vault_key))
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.api.close()
        await self.producer.close()
        try:
            await refuse_strays(self.stack.urls, pipedrive_too=False)  # some tests make changes there
        finally:
            await self.stack.__aexit__(*error)

    @property
    def kafka(self) -> dict[str, str]:
        return {"bootstrap.servers": self.stack.bootstrap}

    def api_of(self, name: str, **who: str) -> Api:
        return Api(self.stack.urls[name], self.stack.admin_key_pem, **who)

    # -- many dead letters -------------------------------------------------------------------------------------------

    async def break_mapping(self) -> None:
        """From now on no organization can be mapped: what the flow asks for is nowhere."""
        await self._apply(lambda fields: {**fields, "companyName": "data.no_such_member"})

    async def mend_mapping(self) -> None:
        await self._apply(lambda fields: fields)

    async def _apply(self, change: Any) -> None:
        document = copy.deepcopy(self.stack.flow_document())
        organization = document["entities"]["organization"]
        organization["fields"] = change(organization["fields"])
        await asyncio.to_thread(self._writer.flow, document, by="a test")

    async def events(self, bodies: Sequence[bytes]) -> None:
        """Into `pipedrive.events`, as ingest would write them."""
        facts = self.stack.facts
        now_ms = b"%d" % (time.time_ns() // 1_000_000)
        key = facts.company.encode()
        sent = [
            self.producer.send_nowait(
                topics.EVENTS.name,
                key=key,
                value=body,
                headers={
                    h.FLOW: facts.flow.encode(),
                    h.COMPANY: key,
                    h.ACCOUNT: facts.account.encode(),
                    h.RECEIPT: b"receipt",
                    h.RECEIVED_AT_MS: now_ms,
                    h.VERIFIED_BY: b"hmac-sha256:dev",
                    h.CONTENT_TYPE: b"application/json",
                    h.TRACEPARENT: new_traceparent().encode(),
                },
                partition=partition_for(key, 4),
            )
            for body in bodies
        ]
        for one in sent:
            await one

    async def rejected(self, count: int, *, first: int = 1) -> list[dict[str, Any]]:
        """So many organizations that could not be mapped, and now could."""
        await self.break_mapping()
        before = len(await self.api.letters())
        await self.events([webhook(number, self.stack.company_id) for number in range(first, first + count)])

        async def all_there() -> bool:
            return len(await self.api.letters()) == before + count

        await until(all_there, within_s=60)
        await self.mend_mapping()
        return await self.api.letters()


def webhook(number: int, company_id: str, *, at_ms: int | None = None, **data: Any) -> bytes:
    """An organization's `change`, as Pipedrive would send it."""
    at = time.gmtime((at_ms or time.time_ns() // 1_000_000) / 1000)
    meta = {
        "action": "change", "company_id": company_id, "entity": "organization", "entity_id": str(number),
        "id": f"e{number}-{time.time_ns()}", "webhook_id": "1", "version": "2.0", "attempt": 1,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", at),
    }  # fmt: skip
    return encode_json({"meta": meta, "data": {"id": number, "name": f"Company {number}", "custom_fields": {}, **data}})


def _answer(response: httpx2.Response) -> Any:
    if response.status_code >= 400:
        raise RefusedError(response.status_code, response.json())
    return response.json()


class RefusedError(Exception):
    """The API's own words."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.problem = str(body["problem"])
        self.details = body["details"]
