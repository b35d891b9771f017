"""Wire the admin service: topics into SQL, replays out of it, the API in front. The only wiring."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ml_connector.admin.api.services import Services
from ml_connector.admin.books import Books
from ml_connector.admin.catchup.look import Gaps
from ml_connector.admin.catchup.run import CatchUps
from ml_connector.admin.catchup.step import Steps
from ml_connector.admin.checks import Checks
from ml_connector.admin.connect.connect import Connects
from ml_connector.admin.connect.exchange import Exchange
from ml_connector.admin.database import Database
from ml_connector.admin.drift.polls import Polls
from ml_connector.admin.flows.change import Flows
from ml_connector.admin.flows.fits import Fits
from ml_connector.admin.flows.look import FlowLooks
from ml_connector.admin.flows.preview import FlowPreviews
from ml_connector.admin.flows.stops import Stops
from ml_connector.admin.identity.keys import DiscoveredKeys, FileKeys
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.admin.lease import Lease
from ml_connector.admin.letter_acts import LetterActs
from ml_connector.admin.letter_bytes import LetterBytes
from ml_connector.admin.materialize import Materializer
from ml_connector.admin.migrate import bring_up_to_date
from ml_connector.admin.outbox import Outbox
from ml_connector.admin.owners import Owners
from ml_connector.admin.reconcile.finish import Finishing
from ml_connector.admin.reconcile.fix import Fixes
from ml_connector.admin.reconcile.retire import Retiring
from ml_connector.admin.replay.control import Replays
from ml_connector.admin.replay.preview import Previews
from ml_connector.admin.replay.run import Runner
from ml_connector.admin.schedule.kinds import Kinds
from ml_connector.admin.schedule.reconciles import ScheduledReconciles
from ml_connector.admin.schedule.run import Scheduler
from ml_connector.admin.schedule.searches import ScheduledSearches
from ml_connector.admin.schedule.syncs import ScheduledSyncs
from ml_connector.admin.secrets.change import Secrets
from ml_connector.admin.secrets.look import SecretLooks
from ml_connector.admin.secrets.rotate import Rotation
from ml_connector.admin.settings import AdminSettings
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.sync.drive import Driver
from ml_connector.admin.watch import Watch
from ml_connector.admin.web import make_asgi, make_server
from ml_connector.admin.webhooks.ask import FlowWebhooks
from ml_connector.admin.webhooks.ingests import Ingests
from ml_connector.admin.webhooks.pushes import PushLooks
from ml_connector.admin.webhooks.refusals import Refusals
from ml_connector.admin.webhooks.rotate import Parts, WebhookRotation
from ml_connector.common import measuring, metrics, process, telemetry, topics
from ml_connector.common.clock import Clock, SystemClock
from ml_connector.common.health import serving_metrics
from ml_connector.common.kafka.admin import TopicSpec, refuse_other_partitions
from ml_connector.common.kafka.producer import Producer
from ml_connector.common.logs import get_logger
from ml_connector.common.ports import free_port
from ml_connector.common.signals import set_by_signal
from ml_connector.common.vault import Vault
from ml_connector.common.vault_keys import VaultKeys

log = get_logger()


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything else stands on."""

    settings: AdminSettings
    clock: Clock
    database: Database
    producer: Producer
    materializer: Materializer
    outbox: Outbox
    letters: LetterBytes
    ingests: Ingests
    owners: Owners
    previews: Previews


def _ground(settings: AdminSettings, clock: Clock) -> Ground:
    database = Database(settings.admin_database_url)
    producer = Producer(settings.kafka(), linger_ms=2, message_timeout_s=10)
    lease_ms = int(settings.admin_lease_s * 1000)
    lease = Lease(database, "outbox", uuid.uuid4().hex, clock, lease_ms)
    ingests = Ingests(clock)
    owners = Owners(settings, producer, hear=ingests.hear)
    return Ground(
        settings=settings,
        clock=clock,
        database=database,
        producer=producer,
        materializer=Materializer(settings, database, clock, lease_ms=lease_ms),
        outbox=Outbox(settings, database, producer, lease, clock, turn_ms=lease_ms),
        letters=LetterBytes(settings),
        ingests=ingests,
        owners=owners,
        previews=Previews(owners),
    )


@dataclass(frozen=True, slots=True)
class Jobs:
    """What is asked for, and who works on it."""

    replays: Replays
    runner: Runner
    syncs: Syncs
    driver: Driver
    retiring: Retiring
    polls: Polls
    kinds: Kinds
    scheduler: Scheduler
    catch_ups: CatchUps


def _jobs(on: Ground) -> Jobs:
    settings, database, materializer = on.settings, on.database, on.materializer
    replays = Replays(database, on.clock, same_failures=settings.admin_same_failures)
    syncs = Syncs(database, materializer, on.clock)
    steps = Steps(syncs)
    polls = Polls(settings, database, syncs, on.producer, on.clock)
    kinds: Kinds = {
        "sync": ScheduledSyncs(syncs),
        "reconcile": ScheduledReconciles(syncs),
        "deletions": ScheduledSearches(steps),
        "netsuite_poll": polls,
    }
    finishing = Finishing(settings, database, on.producer, on.clock)
    return Jobs(
        kinds=kinds,
        catch_ups=CatchUps(
            database,
            steps,
            on.owners,
            on.ingests,
            on.outbox.publish,
            materializer,
            on.clock,
            ban_s=settings.admin_ban_s,
        ),
        scheduler=Scheduler(database, kinds, on.outbox.publish, materializer, on.clock),
        replays=replays,
        runner=Runner(settings, database, replays, on.letters, on.producer, on.previews, materializer, on.clock),
        syncs=syncs,
        retiring=Retiring(database, materializer, on.clock, days=settings.admin_reports_days),
        driver=Driver(settings, syncs, on.producer, on.outbox.publish, materializer, on.clock, finishing, polls),
        polls=polls,
    )


def _services(on: Ground, jobs: Jobs, books: Books) -> Services:
    settings, database, materializer, clock = on.settings, on.database, on.materializer, on.clock
    vault = _vault(settings, clock)
    flows = FlowLooks(database)
    secrets = Secrets(database, materializer, vault, clock)
    webhooks = FlowWebhooks(flows, on.owners)
    return Services(
        database=database,
        materializer=materializer,
        outbox=on.outbox,
        letters=on.letters,
        letter_acts=LetterActs(database, on.letters, on.previews, clock),
        replays=jobs.replays,
        syncs=jobs.syncs,
        polls=jobs.polls,
        kinds=jobs.kinds,
        fixes=Fixes(database, jobs.syncs, materializer, clock),
        books=books,
        flows=Flows(database, materializer, Fits(on.owners).of, clock),
        flow_looks=flows,
        flow_previews=FlowPreviews(flows, on.previews, clock),
        secrets=secrets,
        secret_looks=SecretLooks(database),
        rotation=Rotation(database, materializer, vault, clock),
        checks=_checks(on, flows),
        webhooks=webhooks,
        webhook_rotation=_webhook_rotation(on, flows, secrets, webhooks),
        connects=_connects(on, secrets, vault),
        clock=clock,
    )


def _checks(on: Ground, flows: FlowLooks) -> Checks:
    looks = (
        Stops(on.database).look,
        Refusals(on.ingests, on.clock).look,
        PushLooks(on.ingests, on.database, on.clock).look,
        Gaps(on.database).look,
    )
    return Checks(flows, on.owners, looks=looks)


def _webhook_rotation(on: Ground, flows: FlowLooks, secrets: Secrets, webhooks: FlowWebhooks) -> WebhookRotation:
    parts = Parts(
        flows=flows,
        secrets=secrets,
        webhooks=webhooks,
        ingests=on.ingests,
        database=on.database,
        level=on.materializer,
        publish=on.outbox.publish,
    )
    return WebhookRotation(parts, on.clock, old_key_s=on.settings.admin_old_key_s)


def _connects(on: Ground, secrets: Secrets, vault: Callable[[], Vault] | None) -> Connects:
    return Connects(
        on.database,
        secrets,
        level=on.materializer,
        vault=vault,
        exchange=Exchange(on.settings, on.clock),
        public_url=on.settings.admin_public_url,
        clock=on.clock,
    )


class Admin:
    """The process."""

    def __init__(self, settings: AdminSettings, clock: Clock) -> None:
        self.settings = settings
        self._ground = _ground(settings, clock)
        self._jobs = _jobs(self._ground)
        self._keys = _keys(settings, clock)
        self.verifier = _verifier(settings, self._keys, clock)
        self._books = Books(settings, self._ground.database, self._ground.materializer, clock)
        self._watch = Watch(settings, self._ground.database, self._ground.materializer, clock)
        self.services = _services(self._ground, self._jobs, self._books)

    async def start(self) -> None:
        settings = self.settings
        declared = topics.with_prefix(settings.topic_prefix, settings.partitions)
        specs = [TopicSpec(name, count, {}) for name, count, _ in declared]
        await asyncio.to_thread(refuse_other_partitions, settings.kafka(), specs)
        on = self._ground
        await bring_up_to_date(on.database, on.clock, itself=settings.admin_migrates)
        on.producer.start()
        on.letters.start()
        await on.owners.start()
        on.ingests.begin()
        await on.materializer.start()
        measuring.read(metrics.BEHIND, lambda: [(on.materializer.behind().messages, {})])

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until the end."""
        return [
            self._ground.materializer.run(),
            self._ground.outbox.run(),
            self._ground.owners.run(),
            self._jobs.runner.run(),
            self._jobs.driver.run(),
            self._jobs.retiring.run(),
            self._jobs.scheduler.run(),
            self._jobs.catch_ups.run(),
            self._books.run(self.settings.admin_accounting_every_s),
            self._watch.run(),
        ]

    async def close(self) -> None:
        on = self._ground
        await on.materializer.close()
        await on.owners.close()
        await on.letters.close()
        await on.producer.close()
        if isinstance(self._keys, DiscoveredKeys):
            await self._keys.close()
        on.database.close()

    def not_ready(self) -> str | None:
        return None if self._ground.materializer.ready else "the topics are not read to their ends"


def _vault(settings: AdminSettings, clock: Clock) -> Callable[[], Vault] | None:
    """Without keys everything but storing a credential works. Raises InvalidSettings."""
    if settings.vault_keys_file is None and not settings.vault_key_text().strip():
        return None
    return VaultKeys(settings, clock).fresh


def _keys(settings: AdminSettings, clock: Clock) -> FileKeys | DiscoveredKeys:
    if settings.admin_jwks_file is not None:
        return FileKeys(settings.admin_jwks_file)
    url = settings.admin_discovery_url or f"{settings.admin_issuer.rstrip('/')}/.well-known/openid-configuration"
    return DiscoveredKeys(str(url), issuer=settings.admin_issuer, clock=clock, tls=settings.tls())


def _verifier(settings: AdminSettings, keys: FileKeys | DiscoveredKeys, clock: Clock) -> Verifier:
    return Verifier(
        keys,
        issuer=settings.admin_issuer,
        audience=settings.admin_audience,
        algorithms=settings.admin_algorithms,
        clock_skew_s=settings.admin_clock_skew_s,
        roles_claim=settings.admin_roles_claim,
        roles=settings.admin_roles,
        clock=clock,
    )


async def serve(settings: AdminSettings) -> None:
    """Run until SIGTERM or SIGINT; what is under way goes on when it is started again."""
    stop = set_by_signal(asyncio.Event())
    admin = Admin(settings, SystemClock())
    port = settings.http_port or free_port(settings.http_host)
    asgi = make_asgi(
        admin.services, admin.verifier, not_ready=admin.not_ready, max_body_bytes=settings.admin_max_body_bytes
    )
    server = make_server(asgi, settings, port)
    tasks: list[asyncio.Task[Any]] = []
    try:
        await admin.start()
        works: list[Coroutine[Any, Any, Any]] = [*admin.work(), server.serve(), stop.wait()]
        tasks = [asyncio.create_task(work) for work in works]
        log.info("serving", host=settings.http_host, port=port)
        async with serving_metrics(settings, ready=admin.not_ready):
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian declares no types here
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await admin.close()
        await asyncio.to_thread(telemetry.shutdown)  # what it reads last is asked of this loop


def main() -> None:
    process.run("admin", AdminSettings, serve)
