"""A resolver under test: as a process with a real broker and the Pipedrive stand-in, or its core alone."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Self

import httpx2
from confluent_kafka import Producer

from ml_connector.cli.reading import newest_by_key, read_topic
from ml_connector.cli.stack import ACCOUNT, COMPANY, FLOW, Stack, StackOptions
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.asking import Check, Checked, Finding, Subscribed, Webhooks
from ml_connector.common.clock import ManualClock
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import ActiveFlow, Flow, FlowVersion, parse_flow
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import base_config
from ml_connector.common.kafka.record import Record
from ml_connector.common.keys import standing_key
from ml_connector.common.syncing import CONTROL, PAGE, SyncControl, SyncPage, SyncState, sync_key
from ml_connector.common.vault import Vault
from ml_connector.common.wire import Desired, Hydrate, Outcome, Preview, Resolved, Standing, StoredDefinitions
from ml_connector.resolver.core import Core
from ml_connector.resolver.resolve import Book
from support.writing import until

RESOLVER = "resolver"
COMPANY_ID = 8087566
BASIC = {"keys": [{"id": "1", "user": "pipedrive", "password": "password-of-basic"}]}


class Resolving:
    """`async with Resolving() as resolving:`; the development flow, and as many companies as are added. Events go in
    as ingest writes them."""

    def __init__(self, **environment: str) -> None:
        options = StackOptions(
            processes=("broker", "pipedrive", RESOLVER), netsuite_concurrency=5, environment={RESOLVER: environment}
        )
        self.stack = Stack(options)
        self.vault = Vault.from_text(self.stack.vault_key)  # what credentials are sealed with
        self.http = httpx2.AsyncClient(timeout=30)
        self._number = 0

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        self._producer = Producer({**base_config(self.kafka), "linger.ms": 5})
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.http.aclose()
        await self.stack.__aexit__(*error)

    @property
    def kafka(self) -> dict[str, str]:
        return {"bootstrap.servers": self.stack.bootstrap}

    # -- companies ---------------------------------------------------------------------------------------------------

    async def company(self, name: str, **terms: Any) -> None:
        """Register it at the stand-in."""
        body = {"company": name, "company_id": COMPANY_ID, "api_token": token_of(name), **terms}
        await self.sandbox("POST", "companies", body)

    def flows(self, documents: Iterable[dict[str, Any]], *, version: int = 1) -> None:
        """Apply flows, with the credentials of their companies."""
        for document in documents:
            flow = parse_flow(document)
            name, company = flow.flow, flow.pipedrive.company
            applied = FlowVersion(flow=name, version=version, document=document, applied_at_ms=1, applied_by="test")
            secret = self.vault.encrypt(
                f"pipedrive/{company}", "api-token", flow.environment, version=1, value={"token": token_of(company)}
            )
            self._write(topics.SECRETS, secret.key.encode(), secret.encode(), {})
            basic = self.vault.encrypt(f"flow/{name}", "webhook-basic", flow.environment, version=1, value=BASIC)
            self._write(topics.SECRETS, basic.key.encode(), basic.encode(), {})
            self._write(topics.FLOWS, f"{name}/v{version}".encode(), applied.encode(), {})
            self._write(
                topics.FLOWS, name.encode(), ActiveFlow(flow=name, version=version, revision=version).encode(), {}
            )
        assert self._producer.flush(30) == 0

    def secret(self, company: str, name: str, value: dict[str, Any], *, version: int = 1) -> None:
        entry = self.vault.encrypt(f"pipedrive/{company}", name, "sandbox", version=version, value=value)
        self._write(topics.SECRETS, entry.key.encode(), entry.encode(), {})

    def flow(self, company: str, fields: Mapping[str, Any], **pipedrive: Any) -> dict[str, Any]:
        """A small flow of its own for a company."""
        side = {"company": company, "base_url": self.stack.urls["pipedrive"], **pipedrive}
        return {
            "flow": company,
            "environment": "sandbox",
            "pipedrive": side,
            "netsuite": {"account": ACCOUNT},
            "external_ids": company.replace("-", ""),
            "entities": {"organization": {"record": "customer", "fields": dict(fields)}},
        }

    async def sandbox(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.http.request(method, f"{self.stack.urls['pipedrive']}/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def pipedrive(self, company: str, method: str, path: str, body: Any = None) -> Any:
        """A request of somebody who works in the company."""
        token = self.stack.api_token if company == COMPANY else token_of(company)
        url = f"{self.stack.urls['pipedrive']}{path}"
        answer = await self.http.request(method, url, json=body, headers={"x-api-token": token})
        assert answer.is_success, answer.text
        return answer.json().get("data")

    async def asked(self, company: str) -> list[dict[str, Any]]:
        """The stand-in's log: what was asked for this company."""
        return [line for line in await self.sandbox("GET", "log") if line["company"] == company]

    # -- messages ----------------------------------------------------------------------------------------------------

    def take(self, bodies: Iterable[bytes], *, flow: str = FLOW, company: str = COMPANY) -> None:
        """As if ingest had received them now."""
        now_ms = str(time.time_ns() // 1_000_000)
        headers = {h.FLOW: flow, h.COMPANY: company, h.ACCOUNT: ACCOUNT, h.RECEIVED_AT_MS: now_ms}
        for body in bodies:
            self._write(topics.EVENTS, company.encode(), body, headers)
        assert self._producer.flush(30) == 0

    def store(self, company: str, key: str, value: bytes) -> None:
        """As if the resolver had kept it in `pipedrive.state`."""
        place = partition_for(company.encode(), 4)
        self._producer.produce(topics.STATE.name, key=key, value=value, partition=place)
        assert self._producer.flush(30) == 0

    def ask(self, request: Hydrate, *, company: str = COMPANY) -> None:
        self._write(topics.PIPEDRIVE_REQUESTS, company.encode(), request.encode(), {})
        assert self._producer.flush(30) == 0

    def sync(self, request: SyncPage | SyncControl, *, company: str) -> None:
        """As the admin service asks."""
        kind = PAGE if isinstance(request, SyncPage) else CONTROL
        self._write(topics.PIPEDRIVE_REQUESTS, company.encode(), request.encode(), {h.KIND: kind.decode()})
        assert self._producer.flush(30) == 0

    async def walk(self, company: str, job_id: str, entity: str) -> SyncState | None:
        """How far it is."""
        found = await asyncio.to_thread(newest_by_key, self.kafka, topics.STATE.name)
        value = found.get(sync_key(company, job_id, entity))
        return None if value is None else SyncState.decode(value)

    def ask_for_preview(self, body: bytes, headers: Mapping[str, str]) -> None:
        """As the admin service asks: the event itself, with more headers."""
        given = {h.ACCOUNT: ACCOUNT, **headers, h.KIND: "preview"}
        self._write(topics.PIPEDRIVE_REQUESTS, given[h.COMPANY].encode(), body, given)
        assert self._producer.flush(30) == 0

    async def preview(self, request_id: str) -> Preview:
        """Once it is answered."""
        found: dict[str, Preview] = {}

        async def answered() -> bool:
            read = [Preview.decode(record.value or b"") for record in await self.read(topics.REPLIES)]
            found.update((one.request_id, one) for one in read)
            return request_id in found

        await until(answered)
        return found[request_id]

    async def check(self, flow: str, *, company: str) -> dict[str, Finding]:
        """As the admin service asks; what was found, without `pipedrive.`."""
        request_id = uuid.uuid4().hex
        given = {h.KIND: "check", h.REQUEST_ID: request_id}
        self._write(topics.PIPEDRIVE_REQUESTS, company.encode(), Check(flow=flow).encode(), given)
        assert self._producer.flush(30) == 0
        found: list[Finding] = []

        async def answered() -> bool:
            answers = [one for one in await self.read(topics.REPLIES) if one.key == request_id.encode()]
            found.extend(one for answer in answers for one in Checked.decode(answer.value or b"").findings)
            return bool(found)

        await until(answered)
        return {one.check.removeprefix("pipedrive."): one for one in found}

    async def standing(self, company: str) -> Standing | None:
        """As it is told now."""
        found = await asyncio.to_thread(newest_by_key, self.kafka, topics.STATE.name)
        value = found.get(standing_key(company))
        return None if value is None else Standing.decode(value)

    async def webhooks(self, asked: Webhooks, *, company: str) -> Subscribed:
        """As the admin service asks."""
        request_id = uuid.uuid4().hex
        given = {h.KIND: "webhooks", h.REQUEST_ID: request_id}
        self._write(topics.PIPEDRIVE_REQUESTS, company.encode(), asked.encode(), given)
        assert self._producer.flush(30) == 0
        found: list[Subscribed] = []

        async def answered() -> bool:
            answers = [one for one in await self.read(topics.REPLIES) if one.key == request_id.encode()]
            found.extend(Subscribed.decode(one.value or b"") for one in answers)
            return bool(found)

        await until(answered)
        return found[0]

    async def followed(self, flow: str, *, company: str) -> None:
        """Until the resolver works with this flow. Flows come by another topic: an event before it waits for it."""
        name = f"{flow}-{uuid.uuid4().hex[:8]}"
        self.take([event(name)], flow=flow, company=company)
        await self.resolved([name])

    async def resolved(self, events: Iterable[str], *, within_s: float = 40.0) -> None:
        """Until each of these events has its desired record."""
        await self.caused({f"1:{event}" for event in events}, within_s=within_s)

    async def caused(self, causes: set[str], *, within_s: float = 40.0) -> None:
        """Until each of these has its desired record."""
        await until(lambda: self._includes(causes), within_s=within_s)

    async def _includes(self, causes: set[str]) -> bool:
        return causes <= set(await self.desired())

    async def desired(self) -> dict[str, Desired]:
        """By cause."""
        found = await asyncio.to_thread(newest_by_key, self.kafka, topics.DESIRED.name)
        return {key.split("#", 2)[2]: Desired.decode(value) for key, value in found.items()}

    async def audit(self, event: str, step: str = "resolved") -> Resolved:
        found = await asyncio.to_thread(newest_by_key, self.kafka, topics.AUDIT.name)
        return Resolved.decode(next(value for key, value in found.items() if key == f"1:{event}/{step}"))

    async def outcomes(self) -> dict[str, Outcome]:
        """By cause."""
        found = await asyncio.to_thread(newest_by_key, self.kafka, topics.AUDIT.name)
        read = [Outcome.decode(value) for key, value in found.items() if key.endswith("/outcome")]
        return {outcome.cause: outcome for outcome in read}

    async def dead_letters(self) -> dict[str, DeadLetter]:
        """By cause."""
        read = [DeadLetter.read(record.value, record.headers) for record in await self.read(topics.DEAD_LETTERS)]
        return {letter.cause: letter for letter in read}

    async def read(self, topic: topics.Topic) -> list[Record]:
        return await asyncio.to_thread(lambda: list(read_topic(self.kafka, topic.name)))

    def _write(self, topic: topics.Topic, key: bytes, value: bytes, headers: Mapping[str, str]) -> None:
        given: Any = list(headers.items())
        self._producer.produce(topic.name, key=key, value=value, headers=given)
        self._producer.poll(0)


class Cored:
    """The core alone, on a clock that stands still. Of each flow the version that was applied last is active."""

    def __init__(self, *, now_ms: int) -> None:
        self.clock = ManualClock(now_ms)
        self.book = Book(lambda _: None)
        self.core = Core(self, self.book, self.clock)
        self._versions: dict[tuple[str, int], Flow] = {}
        self._active: dict[str, LiveFlow] = {}

    def flow(self, name: str) -> LiveFlow | None:
        return self._active.get(name)

    def version(self, name: str, version: int) -> Flow | None:
        return self._versions.get((name, version))

    def apply(self, document: dict[str, Any], *, version: int) -> None:
        flow = parse_flow(document)
        self._versions[flow.flow, version] = flow
        self._active[flow.flow] = LiveFlow(flow, version, paused=False)
        self.core.flow_changed(flow)

    def remove(self, name: str) -> None:
        self.core.flow_changed(self._active.pop(name).flow)

    def define(self, company: str, names: Mapping[str, str], *, read_at_ms: int) -> None:
        """The custom fields of organizations (code -> name), as read at that moment."""
        fields: list[dict[str, Any]] = [
            {"field_code": code, "field_name": name, "field_type": "varchar"} for code, name in names.items()
        ]
        self.book.put(StoredDefinitions(company=company, entity="organization", read_at_ms=read_at_ms, fields=fields))


def token_of(company: str) -> str:
    return f"token-of-{company}"


def event(
    name: str,
    /,
    *,
    source_id: int = 0,
    custom: Mapping[str, Any] | None = None,
    at: str = "2026-11-20T10:00:00.123Z",
    **data: Any,
) -> bytes:
    """A webhook body: an organization, whose event id is `name` too."""
    number = source_id or 1 + abs(hash(name)) % 10**9
    meta = {
        "action": "create", "company_id": str(COMPANY_ID), "entity": "organization", "entity_id": str(number),
        "id": name, "timestamp": at, "version": "2.0", "webhook_id": "1",
    }  # fmt: skip
    known = {"id": number, "name": name, "custom_fields": custom or {}, **data}
    body = {"data": known, "previous": None, "meta": meta}
    return json.dumps(body).encode()
