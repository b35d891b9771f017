"""How long does a service take to load a thousand flows with their credentials, and how much memory do they take?

Each service is started by itself against a real broker, once with one flow and once with `--flows`: the time from the
start of its process until `/readyz` says that it is ready, its CPU time and its memory then. The difference is what the
flows cost. Admin begins with an empty database each time: else it would go on where it stopped, and read nothing. Every
flow has the demo's mapping with three expressions of its own, and three credentials. Beside it, as the floor, a
bare consumer that only reads both topics to their ends. What is made when a flow is first used (the resolver's compiled
mapping, an opened credential) is measured apart, in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

from ml_connector.cli.stack import ADMIN, BROKER, SERVICES, Stack, StackOptions
from ml_connector.common import topics
from ml_connector.common.directory import FlowBook
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.kafka.producer import base_config
from ml_connector.common.vault import SecretEntry, Vault
from ml_connector.resolver.plan import compile_flow
from support.measuring import cpu_s, machine, memory_mib

AIM_S, AIM_MB = 3.0, 100.0
SECRET_BYTES = 1_700  # an RSA key of 3072 bits as PEM has about that
Message = tuple[str, str, bytes]  # topic, key, value


def document(base: dict[str, Any], number: int) -> dict[str, Any]:
    """The demo's flow, of another company and account, and with expressions that no other flow has."""
    made = copy.deepcopy(base)
    made |= {"flow": f"flow-{number}"}
    made["pipedrive"] |= {"company": f"company-{number}"}
    made["netsuite"] |= {"account": f"{2_000_000 + number}_SB1"}
    for entity in made["entities"].values():
        name, expression = next(iter(entity["fields"].items()))
        entity["fields"][name] = f'{expression} == "{number}" ? null : {expression}'
    return made


def messages(base: dict[str, Any], vault: Vault, count: int) -> Iterator[Message]:
    for number in range(count):
        made = document(base, number)
        flow, company, account = made["flow"], made["pipedrive"]["company"], made["netsuite"]["account"]
        version = FlowVersion(flow=flow, version=1, document=made, applied_at_ms=1, applied_by="a benchmark")
        yield topics.FLOWS.name, f"{flow}/v1", version.encode()
        yield topics.FLOWS.name, flow, ActiveFlow(flow=flow, version=1).encode()
        credentials: list[tuple[str, str, dict[str, Any]]] = [
            (f"flow/{flow}", "webhook-hmac", {"keys": [{"id": "k", "secret": "s" * 43}]}),
            (f"pipedrive/{company}", "api-token", {"token": "t" * 40}),
            (
                f"netsuite/{account}",
                "oauth2-m2m",
                {"client_id": "c" * 64, "certificate_id": "i" * 43, "private_key_pem": "p" * SECRET_BYTES},
            ),
        ]
        for owner, name, value in credentials:
            entry = vault.encrypt(owner, name, "sandbox", version=1, value=value)
            yield topics.SECRETS.name, entry.key, entry.encode()


def write(bootstrap: str, made: list[Message]) -> None:
    producer = Producer(base_config({"bootstrap.servers": bootstrap}))
    for topic, key, value in made:
        producer.produce(topic, key=key, value=value)
    if producer.flush(60):
        raise SystemExit("the broker did not take everything")


def floor_s(bootstrap: str) -> float:
    """Reading both topics to their ends, and nothing else."""
    began_s = time.perf_counter()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "floor", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic.name, 0, 0) for topic in (topics.FLOWS, topics.SECRETS)])
    ends = 0
    while ends < 2:
        ends += sum(message.error() is not None for message in consumer.consume(500, timeout=0.05))
    consumer.close()
    return time.perf_counter() - began_s


class Start(NamedTuple):
    """From a stopped process to a ready one."""

    took_s: float
    cpu_s: float
    mib: float


async def started(stack: Stack, name: str) -> Start:
    await stack.stop_one(name)
    if name == ADMIN:
        forget_database(stack)
    began_s = time.perf_counter()
    await stack.start_one(name)
    took_s = time.perf_counter() - began_s
    pid = stack.pids()[name]
    return Start(took_s, cpu_s(pid), memory_mib(pid))


def forget_database(stack: Stack) -> None:
    for file in Path(stack.environment()["MLC_STORE_DIR"]).parent.glob("admin.sqlite*"):
        file.unlink()


def best(starts: list[Start]) -> Start:
    """Of each figure: whatever else runs makes it worse, never better."""
    return Start(*map(min, zip(*starts, strict=True)))


async def measure(count: int, rounds: int) -> None:
    names = (*SERVICES, ADMIN)
    async with Stack(StackOptions(processes=(BROKER, *names))) as stack:
        few = {name: [await started(stack, name) for _ in range(rounds)] for name in names}
        made = list(messages(stack.flow_document(), Vault.from_text(stack.vault_key), count))
        write(stack.bootstrap, made)
        many = {name: [await started(stack, name) for _ in range(rounds)] for name in names}
        bare_s = min(floor_s(stack.bootstrap) for _ in range(rounds))
    print(f"{'ready, CPU, memory':<18}{'1 flow':>24}{f'{count} flows':>26}{'the flows cost':>26}")
    for name in names:
        one, all_of_them = best(few[name]), best(many[name])
        cost = Start(*(more - less for more, less in zip(all_of_them, one, strict=True)))
        told = "".join(f"{s.took_s:>8.2f} s{s.cpu_s:>6.2f} s{s.mib:>5.0f} MiB " for s in (one, all_of_them, cost))
        print(f"{name:<16}{told}".rstrip())
    print(f"{'bare consumer':<16}{'':>26}{bare_s:>8.2f} s             floor of the reading")
    print(f"aim: {AIM_S:.0f} s and {AIM_MB:.0f} MiB for the flows of a service\n")
    first_use(made, Vault.from_text(stack.vault_key))


def first_use(made: list[Message], vault: Vault) -> None:
    """What the hot path would pay if it were not kept."""
    book = FlowBook()
    for topic, key, value in made:
        if topic == topics.FLOWS.name:
            book.fold(key, value)
    flows = [live.flow for live in map(book.live, book.names()) if live is not None]
    entries = [SecretEntry.decode(value) for topic, _, value in made if topic == topics.SECRETS.name]
    compiled = per_one_us(lambda: [compile_flow(flow, 1) for flow in flows], len(flows))
    opened = per_one_us(
        lambda: [vault.decrypt(e, owner=e.owner, name=e.name, environment=e.environment) for e in entries], len(entries)
    )
    print(f"once per change, at first use: a mapping compiled {compiled:.0f} us, a credential opened {opened:.0f} us")


def per_one_us(work: Callable[[], object], count: int) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e6 / count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    arguments = parser.parse_args()
    print(machine(), flush=True)
    asyncio.run(measure(arguments.flows, arguments.rounds))
