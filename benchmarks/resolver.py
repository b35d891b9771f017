"""How many events one core resolves: the core alone, and the whole process through Faust.

- The core alone: from the message's bytes to the bytes of all that follows from it (two audit entries and the desired
  record), with 11 fields that are plain paths, 3 of them custom; and with 4 of the 11 as CEL.
- The whole process, from `pipedrive.events` to `netsuite.desired`, beside two consumers of the same topic without
  Faust: one that only decodes each event and produces as many bytes, and one that calls the very same core. What
  the first costs is the floor, what Faust costs over the second is Faust's share.

All in CPU seconds, threads of the Kafka client included; each consumer is a process of its own, and they take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from ml_connector.cli.stack import ACCOUNT
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.clock import SystemClock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.common.interpreter import prefer_latency
from ml_connector.common.kafka.admin import end_offsets
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import base_config, client_config
from ml_connector.common.kafka.record import place_of
from ml_connector.common.wire import StoredDefinitions
from ml_connector.resolver.core import Core
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.resolve import Book, state_key
from support.measuring import cpu_s, machine
from support.resolving import Resolving
from support.writing import until

COMPANY = "acme"
COMPANY_ID = "8087566"
PARTITIONS = 4
PARTITION = partition_for(COMPANY.encode(), PARTITIONS)
BARE, SAME_CORE, FAUST = "bare loop, as many bytes", "the same core without Faust", "the resolver, through Faust"
CONSUMERS = (BARE, SAME_CORE)
CODES = {name: f"{number:040x}" for number, name in enumerate(("Tier", "Reference", "Industry"), 1)}
PLAIN = {
    "companyName": "data.name",
    "entityId": "data.id",
    "accountNumber": "data.owner_id",
    "comments": "data.address.value",
    "email": "data.email",
    "phone": "data.phone",
    "url": "data.website",
    "custentity_size": "data.people_count",
    "custentity_tier": 'custom["Tier"]',
    "custentity_reference": 'custom["Reference"]',
    "custentity_industry": 'custom["Industry"]',
}
WITH_CEL = {
    **PLAIN,
    "companyName": "cut(data.name, 80)",
    "comments": "data.address.locality + ', ' + data.address.country",
    "custentity_size": "data.people_count > 100 ? 'large' : 'small'",
    "custentity_tier": 'custom["Tier"] == null ? "none" : custom["Tier"]',
}


def flow(fields: dict[str, str], base_url: str = "http://127.0.0.1:1") -> dict[str, Any]:
    return {
        "flow": COMPANY,
        "environment": "sandbox",
        "pipedrive": {"company": COMPANY, "company_id": COMPANY_ID, "base_url": base_url},
        "netsuite": {"account": ACCOUNT},
        "external_ids": COMPANY,
        "entities": {"organization": {"record": "customer", "fields": fields}},
    }


def webhook(number: int) -> bytes:
    """An organization's change in the official member order, of usual size (two kilobytes)."""
    address = {
        "value": f"{number} Main Street, Tallinn, Estonia", "country": "Estonia", "locality": "Tallinn",
        "route": "Main Street", "street_number": str(number), "postal_code": "10111",
    }  # fmt: skip
    data: dict[str, Any] = {
        "add_time": "2026-11-20T09:00:00Z", "address": address, "country_code": "EE", "email": "info@example.com",
        "custom_fields": {
            CODES["Tier"]: {"type": "enum", "id": 2}, CODES["Reference"]: {"type": "varchar", "value": f"R-{number}"},
            CODES["Industry"]: {"type": "varchar", "value": "Timber"},
        },
        "id": number, "label_ids": [], "name": f"Company {number}", "owner_id": 1234567, "people_count": number % 300,
        "phone": "+372 555 0100", "picture_id": None, "update_time": "2026-11-20T10:00:00Z", "visible_to": "3",
        "website": "https://www.example.com", "annual_revenue": None, "linkedin": None, "industry": None,
    }  # fmt: skip
    previous = {"name": f"Company {number} Ltd", "update_time": "2026-11-19T10:00:00Z"}
    meta = {
        "action": "change", "company_id": COMPANY_ID, "correlation_id": str(uuid.uuid4()), "entity_id": str(number),
        "entity": "organization", "id": str(uuid.uuid4()), "is_bulk_edit": False, "type": "general", "user_id": "1",
        "timestamp": "2026-11-20T10:00:00.123Z", "version": "2.0", "webhook_id": "1", "webhook_owner_id": "1",
        "permitted_user_ids": [str(10_000_000 + n) for n in range(30)], "change_source": "app", "attempt": 1,
        "host": "bench.pipedrive.com",
    }  # fmt: skip
    return json.dumps({"data": data, "previous": previous, "meta": meta}, separators=(",", ":")).encode()


def definitions() -> StoredDefinitions:
    fields: list[dict[str, Any]] = [
        {"field_code": code, "field_name": name, "field_type": "varchar", "options": []} for name, code in CODES.items()
    ]
    fields[0].update(field_type="enum", options=[{"id": n, "label": f"Tier {n}"} for n in range(1, 5)])
    return StoredDefinitions(company=COMPANY, entity="organization", read_at_ms=time.time_ns() // 10**6, fields=fields)


def message_headers() -> dict[str, bytes]:
    """As ingest stamps them."""
    return {
        h.FLOW: COMPANY.encode(), h.COMPANY: COMPANY.encode(), h.ACCOUNT: ACCOUNT.encode(),
        h.RECEIPT: uuid.uuid4().hex.encode(), h.RECEIVED_AT_MS: b"%d" % (time.time_ns() // 10**6),
        h.VERIFIED_BY: b"hmac-sha256:dev", h.CONTENT_TYPE: b"application/json",
        h.TRACEPARENT: b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    }  # fmt: skip


class OneFlow:
    """The only flow there is."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._flow = LiveFlow(parse_flow(flow(fields)), version=1, paused=False)

    def flow(self, name: str) -> LiveFlow | None:
        return self._flow if name == COMPANY else None

    def version(self, name: str, version: int) -> Flow | None:
        return self._flow.flow if (name, version) == (COMPANY, 1) else None


def make_core(fields: dict[str, str]) -> Core:
    kept = {state_key(COMPANY, "organization"): definitions().encode()}
    return Core(OneFlow(fields), Book(kept.get), SystemClock())


def measure_core(name: str, fields: dict[str, str], aim: int, *, events: int, rounds: int) -> None:
    core = make_core(fields)
    messages = [
        Message("pipedrive.events", 0, n, COMPANY.encode(), webhook(n), message_headers()) for n in range(1, events + 1)
    ]
    expected = core.event(messages[0])
    if not isinstance(expected, list) or expected[-1].topic is not topics.DESIRED:
        raise SystemExit(f"not resolved, the figures would mean nothing: {expected}")
    rates = []
    for _ in range(rounds):
        before_s = time.process_time()
        for message in messages:
            core.event(message)
        rates.append(events / (time.process_time() - before_s))
    print(f"  {name:<34} {told(rates)} (aim >= {aim})")


async def measure_faust(*, events: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {kind: [] for kind in (*CONSUMERS, FAUST)}
    async with Resolving(MLC_LOG_LEVEL="warning") as resolving:
        resolving.flows([flow(PLAIN, resolving.stack.urls["pipedrive"])])
        resolving.store(COMPANY, state_key(COMPANY, "organization"), definitions().encode())
        await through_faust(resolving, 500)  # connected and compiled after this
        for _ in range(rounds):
            first = await ends(resolving, topics.EVENTS)
            rates[FAUST].append(await through_faust(resolving, events))
            for kind in CONSUMERS:
                rates[kind].append(await consumed_by(kind, resolving, first[PARTITION], events))
    print(f"the whole process, {rounds} turns of {events} events:")
    medians = {kind: statistics.median(found) for kind, found in rates.items()}
    for kind, found in rates.items():
        print(f"  {kind:<34} {told(found)}")
    share = 1 - medians[FAUST] / medians[SAME_CORE]
    print(f"  Faust's share of the resolver's time: {100 * share:.0f} %   (aim: >= 5500 events through Faust)")


def told(rates: list[float]) -> str:
    """Median, and the range."""
    return f"{statistics.median(rates):6.0f} events per CPU second ({min(rates):.0f} to {max(rates):.0f})"


async def through_faust(resolving: Resolving, events: int) -> float:
    """Events per CPU second of the resolver, from the first that comes to the last that is resolved."""
    bodies = [webhook(number) for number in range(1, events + 1)]
    pid = resolving.stack.pids()["resolver"]
    before_s, wanted = cpu_s(pid), sum((await ends(resolving, topics.DESIRED)).values()) + events

    async def resolved() -> bool:
        return sum((await ends(resolving, topics.DESIRED)).values()) >= wanted

    await asyncio.to_thread(resolving.take, bodies, flow=COMPANY, company=COMPANY)
    await until(resolved, within_s=120, every_s=0.1)
    return events / (cpu_s(pid) - before_s)


async def consumed_by(kind: str, resolving: Resolving, offset: int, events: int) -> float:
    """Events per CPU second of a consumer in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--consume", kind, "--at", f"{resolving.stack.bootstrap},{offset}",
        "--events", str(events), env=os.environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return events / float(said)


async def ends(resolving: Resolving, topic: topics.Topic) -> dict[int, int]:
    return await asyncio.to_thread(end_offsets, resolving.kafka, topic.name, range(PARTITIONS))


def consume(kind: str, bootstrap: str, offset: int, events: int) -> float:
    """CPU seconds for so many events: a plain poll loop, and one idempotent producer."""
    core = make_core(PLAIN)
    prefer_latency()
    consumer = Consumer({**client_config({"bootstrap.servers": bootstrap}), "group.id": "bench"})
    producer = Producer({**base_config({"bootstrap.servers": bootstrap}), "linger.ms": 5})
    consumer.assign([TopicPartition(topics.EVENTS.name, PARTITION, offset)])
    sizes = [len(output.value or b"") for output in cast(list[Output], core.event(next(read(consumer))))]
    consumer.seek(TopicPartition(topics.EVENTS.name, PARTITION, offset))
    before_s = time.process_time()
    for _, message in zip(range(events), read(consumer), strict=False):
        if kind == SAME_CORE:
            for output in cast(list[Output], core.event(message)):
                send(producer, output.key, output.value or b"", output.headers)
        else:
            msgspec.json.decode(message.value)
            for size in sizes:
                send(producer, message.key, message.value[:size].ljust(size), message.headers)
    producer.flush()
    return time.process_time() - before_s


def read(consumer: Consumer) -> Iterator[Message]:
    while True:
        for found in consumer.consume(200, 1.0):
            headers: Any = dict(found.headers() or ())
            topic, partition, offset = place_of(found)
            yield Message(topic, partition, offset, found.key() or b"", found.value() or b"", headers)


def send(producer: Producer, key: bytes, value: bytes, headers: dict[str, bytes]) -> None:
    given: Any = list(headers.items())
    while True:
        try:
            producer.produce(topics.REPLIES.name, value, key, headers=given)
        except BufferError:
            producer.poll(0.05)
        else:
            producer.poll(0)
            return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--consume", help=argparse.SUPPRESS)
    parser.add_argument("--at", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.consume:
        bootstrap, _, offset = arguments.at.rpartition(",")
        print(consume(arguments.consume, bootstrap, int(offset), arguments.events))
        raise SystemExit
    print(machine())
    prefer_latency()  # as each service does
    print(f"the core alone, events of {len(webhook(1000))} bytes, one thread:")
    measure_core("11 plain paths, 3 of them custom", PLAIN, 40_000, events=arguments.events, rounds=arguments.rounds)
    measure_core("4 of the 11 as CEL", WITH_CEL, 15_000, events=arguments.events, rounds=arguments.rounds)
    asyncio.run(measure_faust(events=arguments.events, rounds=arguments.rounds))
