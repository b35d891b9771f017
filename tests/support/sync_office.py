"""Syncs as jobs with their driver, a broker that keeps what it is given, and the topics as a test writes them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from sqlalchemy import select

from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.fold import fold
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.sync.ask import Asked
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.sync.drive import Driver
from ml_connector.admin.tables import outbox
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import ManualClock
from ml_connector.common.flows import FlowVersion
from ml_connector.common.kafka.producer import Delivered, Producer
from ml_connector.common.settings import Settings
from ml_connector.common.sync_job import SyncJob
from ml_connector.common.syncing import Purpose, SyncControl, SyncPage, SyncState, sync_key
from support import admin_messages as m

ANNA = Said(Actor("anna", Role.operator), "a new mapping")
FULL = Asked("acme-eu", "full")
DOCUMENT: dict[str, Any] = {
    "flow": "acme-eu",
    "environment": "sandbox",
    "pipedrive": {"company": "acme"},
    "netsuite": {"account": m.ACCOUNT},
    "external_ids": "pd",
    "entities": {
        "organization": {"record": "customer", "fields": {"companyName": "data.name"}},
        "person": {"record": "contact", "fields": {"lastName": "data.name"}},
    },
}

VERSION = FlowVersion(flow="acme-eu", version=1, document=DOCUMENT, applied_at_ms=1, applied_by="anna")


class Level:
    leads = True
    asked = 0

    async def until_level(self, deadline: object, *, of: object = None) -> None:
        self.asked += 1


class Broker:
    """What a producer was given, by kind and content."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, dict[str, bytes], SyncPage | SyncControl]] = []

    async def _done(self) -> Delivered:
        return Delivered("pipedrive.requests", 0, 0)

    def send_nowait(self, topic: str, *, key: bytes, value: bytes, headers: dict[str, bytes], partition: int) -> Any:
        assert topic == "pipedrive.requests"
        kind = SyncPage if headers[h.KIND] == b"sync" else SyncControl
        self.sent.append((key, headers, kind.decode(value)))
        return self._done()

    def take(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = [
            (one.entity, "page" if isinstance(one, SyncPage) else one.to) for _, _, one in self.sent
        ]
        self.sent.clear()
        return found


class Office:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock(m.START_MS + 1_000_000)
        self.level = Level()
        self.syncs = Syncs(self.database, self.level, self.clock)
        self.broker = Broker()
        self.published = 0
        self.places = m.Places(step=1)
        self.driver = self.another_driver()
        self.fold(
            (topics.FLOWS, b"acme-eu/v1", VERSION.encode(), {}),
            m.active_flow(),
        )

    def another_driver(self) -> Driver:
        settings = Settings(kafka_bootstrap_servers="nowhere:1")
        return Driver(settings, self.syncs, cast(Producer, self.broker), self.publish, self.level, self.clock)

    async def publish(self) -> bool:
        self.published += 1
        return True

    def fold(self, *given: m.Given) -> None:
        for one in given:
            with self.database.write() as connection:
                fold(connection, one[0], [self.places.put(one, 0)])

    def tell(self, job_id: str, state: str, entity: Any = "organization", **more: Any) -> None:
        """The owner's state of a walk, as it comes by the topic."""
        given = {"started_at_ms": 1, "changed_at_ms": self.clock.now_ms(), **more}
        entry = SyncState(job_id=job_id, flow="acme-eu", entity=entity, state=cast(Any, state), **given)
        self.fold((topics.STATE, sync_key("acme", job_id, entity).encode(), entry.encode(), {}))

    def forgets(self, job_id: str, entity: str = "organization") -> None:
        self.fold((topics.STATE, sync_key("acme", job_id, entity).encode(), None, {}))

    def look(self) -> list[tuple[str, str]]:
        asyncio.run(self.driver.look())
        return self.broker.take()

    def create(self, asked: Asked = FULL) -> SyncJob:
        return asyncio.run(self.syncs.create(asked, ANNA))

    def act(self, job: SyncJob, what: Any, purpose: Purpose = "sync") -> SyncJob:
        return asyncio.run(self.syncs.act(job.job_id, what, ANNA, purpose))

    def told(self) -> list[SyncJob]:
        with self.database.read() as connection:
            rows = connection.execute(select(outbox).where(outbox.c.topic == "connector.jobs").order_by(outbox.c.id))
            return [SyncJob.decode(row.value) for row in rows]
