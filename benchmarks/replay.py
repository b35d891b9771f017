"""How fast are dead letters issued again, and what does live work feel of it?

First: the admin service replays `--letters` dead letters through its API, as an operator would, at no particular rate:
its own process reads them from `dead-letters`, writes them to `pipedrive.events` and notes each in SQLite. Beside it,
as the floor, a bare loop in one process: the same messages from topic to topic, with the same headers, acknowledged by
all in-sync replicas, and nothing noted. Judged by the topic: every letter there once, with a cause of its own.

Second, through the whole product with 5 slots and a NetSuite that takes 50 ms: how long live events take from the topic
to their outcome, first alone, then while `--behind` dead letters are replayed at no particular rate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from ml_connector.cli.reading import newest_by_key, read_topic
from ml_connector.cli.stack import ADMIN, ALL, BROKER, FLOW, StackOptions
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.kafka.producer import Producer as OurProducer
from ml_connector.common.kafka.producer import base_config, client_config
from ml_connector.common.kafka.record import Record, of_message
from support.measuring import cpu_s, machine
from support.operating import Operating, webhook
from support.writing import until

ACCOUNT, COMPANY, COMPANY_ID = "1234567_SB1", "acme-eu", "8087566"
PARTITIONS = 4
AIM_PER_S = 5_000
LIVE_PER_S = 10


def letter(number: int) -> tuple[str, bytes, dict[str, bytes]]:
    """A customer that NetSuite refused."""
    one = DeadLetter(
        cause=f"1:{number}",
        record_key=f"{ACCOUNT}/customer/pd-org-{number}".lower(),
        account=ACCOUNT,
        stage="write",
        code="USER_ERROR",
        message="Error while accessing a resource. Please enter value(s) for: Subsidiary.",
        topic=topics.EVENTS.name,
        partition=0,
        offset=number,
        failed_at_ms=time.time_ns() // 1_000_000,
        body=webhook(number, COMPANY_ID),
        original={
            h.FLOW: FLOW.encode(),
            h.COMPANY: COMPANY.encode(),
            h.ACCOUNT: ACCOUNT.encode(),
            h.RECEIVED_AT_MS: b"1795580286761",
            h.VERIFIED_BY: b"hmac-sha256:dev",
        },
        generation=f"{1_795_580_286_761 + number}.0",
        mapping_version=1,
        attempts=1,
        request=b'{"companyName":"Company"}',
        response=b'{"o:errorDetails":[{"detail":"Please enter value(s) for: Subsidiary.","o:errorCode":"USER_ERROR"}]}',
    )
    return one.cause, one.body, one.to_headers()


async def fill(kafka: dict[str, str], count: int) -> None:
    producer = OurProducer(kafka)
    producer.start()
    partition = partition_for(ACCOUNT.encode(), PARTITIONS)
    for start in range(1, count + 1, 5_000):
        sent = []
        for number in range(start, min(start + 5_000, count + 1)):
            cause, body, headers = letter(number)
            sent.append(
                producer.send_nowait(
                    topics.DEAD_LETTERS.name, key=cause.encode(), value=body, headers=headers, partition=partition
                )
            )
        await asyncio.gather(*sent)
    await producer.close()


def bare(kafka: dict[str, str], count: int) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process."""
    began_s, cpu_before = time.monotonic(), time.process_time()
    consumer = Consumer({**client_config(kafka), "group.id": "bare", "enable.auto.commit": False})
    producer = Producer({**base_config(kafka), "linger.ms": 2})
    consumer.assign([TopicPartition(topics.DEAD_LETTERS.name, p, 0) for p in range(PARTITIONS)])
    done = 0
    while done < count:
        for message in consumer.consume(500, 0.1):
            record = of_message(message)
            kept = {name: value for name, value in record.headers.items() if name in h.ORIGINAL}
            headers: list[Any] = [*kept.items(), (h.CAUSE, b"rpl:bare:%d" % done), (h.LANE, b"replay")]
            producer.produce(
                topics.STATE.name, key=record.headers[h.COMPANY], value=record.value, headers=headers, partition=0
            )
            producer.poll(0)
            done += 1
    producer.flush()
    consumer.close()
    return time.monotonic() - began_s, time.process_time() - cpu_before


async def replayed(operating: Operating, count: int) -> tuple[float, float, float]:
    """Seconds to freeze the selection, seconds until all are issued, CPU seconds of the service."""
    pid = operating.stack.pids()[ADMIN]
    cpu_before, began_s = cpu_s(pid), time.monotonic()
    made = await operating.api.replay({"filter": {"state": "open"}})
    frozen_s = time.monotonic() - began_s

    async def all_issued() -> bool:
        return bool((await operating.api.get(f"/replays/{made['id']}"))["issued"] == count)

    await until(all_issued, within_s=300)
    return frozen_s, time.monotonic() - began_s, cpu_s(pid) - cpu_before


def judge(records: list[Record], count: int) -> None:
    causes = {record.headers[h.CAUSE] for record in records}
    replayed = {record.headers[h.REPLAY_OF] for record in records}
    if not len(records) == len(causes) == len(replayed) == count:
        raise SystemExit(f"{count} letters, but {len(records)} messages of {len(replayed)} letters")


async def issuing(count: int) -> None:
    print(
        f"{count} dead letters, from `dead-letters` to `pipedrive.events`, SQLite, one process each, broker beside it"
    )
    async with Operating(StackOptions(processes=(BROKER, ADMIN))) as operating:
        await fill(operating.kafka, count)
        await operating.api.until_level(within_s=300)
        frozen_s, took_s, cpu = await replayed(operating, count)
        judge(await asyncio.to_thread(lambda: list(read_topic(operating.kafka, topics.EVENTS.name))), count)
        bare_s, bare_cpu = await asyncio.to_thread(bare, operating.kafka, count)
    rate = count / took_s
    print(f"  bare loop          {count / bare_s:9,.0f}/s   {1e6 * bare_cpu / count:6.0f} us CPU each")
    print(
        f"  replay             {rate:9,.0f}/s   {1e6 * cpu / count:6.0f} us CPU each, asking included; "
        f"{frozen_s:.1f} s of {took_s:.1f} s to freeze the selection"
    )
    print(f"  aim                {AIM_PER_S:9,}/s   {'met' if rate >= AIM_PER_S else 'NOT MET'}")


async def live(operating: Operating, first: int, count: int) -> list[int]:
    """Milliseconds from the topic to the outcome, at a steady pace."""
    company_id = operating.stack.company_id
    for number in range(first, first + count):
        await operating.events([webhook(number, company_id)])
        await asyncio.sleep(1 / LIVE_PER_S)  # the load, not a wait for something
    wanted = {f"{ACCOUNT}/customer/pd-org-{number}".lower() for number in range(first, first + count)}
    found: list[int] = []

    async def all_ended() -> bool:
        audit = await asyncio.to_thread(newest_by_key, operating.kafka, topics.AUDIT.name)
        ends = [json.loads(value) for key, value in audit.items() if key.endswith("/outcome")]
        found[:] = [one["at_ms"] - one["received_at_ms"] for one in ends if one["record_key"] in wanted]
        return len(found) == count

    await until(all_ended, within_s=120, every_s=1)
    return found


async def living(behind: int, count: int) -> None:
    print(f"{count} live events at {LIVE_PER_S}/s, 5 slots, 50 ms: from the topic to the outcome")
    options = StackOptions(processes=ALL, netsuite_latency_ms=50)
    async with Operating(options) as operating:
        alone = await live(operating, 1_000_000, count)
        await operating.rejected(behind)
        made = await operating.api.replay({"filter": {"state": "open"}})
        beside = await live(operating, 2_000_000, count)
        left = (await operating.api.get(f"/replays/{made['id']}"))["items"].get("issued", 0)
    for name, took in (("alone", alone), (f"beside a replay of {behind}", beside)):
        took.sort()
        p50, p95 = took[len(took) // 2], took[int(len(took) * 0.95)]
        print(f"  {name:<26} p50 {p50:6,} ms   p95 {p95:6,} ms   max {took[-1]:6,} ms")
    print(f"  {left} replayed records still waited when the last live one was done")


async def main(letters: int, behind: int, count: int) -> None:
    print(machine())
    await issuing(letters)
    await living(behind, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--letters", type=int, default=50_000)
    parser.add_argument("--behind", type=int, default=5_000)
    parser.add_argument("--live", type=int, default=200)
    given = parser.parse_args()
    asyncio.run(main(given.letters, given.behind, given.live))
