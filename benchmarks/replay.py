"""How fast are dead letters issued again?

The admin service replays `--letters` dead letters through its API, as an operator would, at no particular rate: its own
process reads them from `dead-letters`, writes them to `pipedrive.events` and notes each in SQLite. Beside it, as the
floor, a bare loop in one process: the same messages from topic to topic, with the same headers, acknowledged by all
in-sync replicas, and nothing noted. Judged by the topic: every letter there once, with a cause of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from ml_connector.cli.reading import read_topic
from ml_connector.cli.stack import ADMIN, BROKER, FLOW, StackOptions
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


async def main(count: int) -> None:
    print(machine())
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--letters", type=int, default=50_000)
    asyncio.run(main(parser.parse_args().letters))
