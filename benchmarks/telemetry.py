"""What does telemetry cost? CPU seconds of the three services per event: off, and exporting over OTLP at 1 % sampling.

Two whole stacks run side by side and are loaded in turn (off, on, on, off, ...), so that what else the machine does
meets both. Each round is a steady load within a window of fixed length, since idle loops cost CPU by the second (the
resolver's 6 % of a core): so they cost both sides the same. Off still counts its metrics, which nobody reads; on
exports metrics and spans as often as is usual: every minute, and every five seconds. Each event names its own record;
NetSuite must have all of them when the window ends. Aim: at most 5 % more.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import httpx2
from end_to_end import SERVICES, Target, steady
from prometheus_client.parser import text_string_to_metric_families

from ml_connector.cli.stack import Stack, StackOptions
from support.listener import Listener
from support.measuring import machine, own_cpu_s
from support.writing import until

AIM = 0.05
DRAIN_S = 3.0  # of a round's window, after the last event
SAMPLED = 0.01
DEADLINE_S = 300.0

Cost = dict[str, float]  # CPU ms per event, by service


def exporting(url: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED),
    }


def options(environment: dict[str, str]) -> StackOptions:
    return StackOptions(netsuite_concurrency=20, environment=dict.fromkeys(SERVICES, environment))


class Side:
    """One stack under load."""

    def __init__(self, stack: Stack, http: httpx2.AsyncClient) -> None:
        self._stack = stack
        self._http = http
        self._next = 1
        self._target = Target(
            http,
            f"{stack.urls['ingest']}/webhooks/pipedrive/{stack.flow}",
            stack.signing_key.encode(),
            stack.company_id,
            stack.urls["netsuite"],
        )

    async def round(self, rate: int, seconds: int) -> Cost:
        first, self._next = self._next, self._next + rate * seconds
        before, ends_s = self._cpu_s(), time.monotonic() + seconds + DRAIN_S
        await steady(self._target, first, rate=rate, seconds=seconds)
        await until(self._all_written, within_s=DEADLINE_S, every_s=0.5)
        late_s = time.monotonic() - ends_s
        if late_s > 0:
            print(
                f"late by {late_s:.1f} s: the rate is too high for this machine, the figures are too high for this side"
            )
        await asyncio.sleep(max(0.0, -late_s))
        after = self._cpu_s()
        return {name: (after[name] - before[name]) * 1000 / (rate * seconds) for name in SERVICES}

    def _cpu_s(self) -> Cost:
        return {name: own_cpu_s(self._stack.pids()[name]) for name in SERVICES}

    async def _all_written(self) -> bool:
        page = (await self._http.get(self._stack.facts.metrics["netsuite-writer"])).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        settled = sum(one.value for one in samples if one.name == "ml_connector_outcomes_total")
        return settled >= self._next - 1


async def compare(rounds: int, rate: int, seconds: int) -> tuple[list[Cost], list[Cost]]:
    off: list[Cost] = []
    on: list[Cost] = []
    with Listener(lambda _: 200) as receiver:
        async with (
            Stack(options({})) as plain,
            Stack(options(exporting(receiver.url))) as telling,
            httpx2.AsyncClient(timeout=30) as http,
        ):
            sides = [(Side(plain, http), off), (Side(telling, http), on)]
            for side, _ in sides:
                await side.round(rate, 5)  # definitions, token, connections, caches
            for number in range(rounds):
                for side, costs in sides if number % 2 == 0 else reversed(sides):
                    costs.append(await side.round(rate, seconds))
        if not any(heard.path == "/v1/traces" for heard in receiver.heard):
            raise SystemExit("no span was exported: the figures would mean nothing")
    return off, on


def told(off: list[Cost], on: list[Cost]) -> list[str]:
    """Each round is compared with its neighbour, so that a machine that becomes slower meanwhile says nothing."""
    pairs = {name: [(a[name], b[name]) for a, b in zip(off, on, strict=True)] for name in SERVICES}
    pairs["all three"] = [(sum(a.values()), sum(b.values())) for a, b in zip(off, on, strict=True)]
    more = {name: statistics.median(b / a - 1 for a, b in found) for name, found in pairs.items()}
    lines = [
        f"{name:<16} {statistics.median(a for a, _ in found):8.3f} {statistics.median(b for _, b in found):8.3f} "
        f"{more[name] * 100:+7.1f} %  ({min(b / a - 1 for a, b in found) * 100:+.1f} "
        f"to {max(b / a - 1 for a, b in found) * 100:+.1f})"
        for name, found in pairs.items()
    ]
    met = "met" if more["all three"] <= AIM else "missed"
    return [*lines, f"aim: at most {AIM * 100:.0f} % more: {met}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate", type=int, default=40, help="events a second")
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    print(
        f"telemetry: CPU ms per event, medians of {given.rounds} rounds of {given.seconds} s at {given.rate} events/s "
        f"({machine()})"
    )
    print(f"{'':<16} {'off':>8} {'1 %':>8}")
    for line in told(*asyncio.run(compare(given.rounds, given.rate, given.seconds))):
        print(line)


if __name__ == "__main__":
    main()
