"""What does telemetry cost? CPU time of the three services per event: off, and exporting over OTLP at 1 % sampling.

Three whole stacks run side by side and are loaded in turn, in another order each round, so that what else the machine
does meets all: one without exports, the same again, and one that exports. What the first two differ by is the noise:
a difference within it says nothing. Each turn is a steady load within a window of fixed length, since idle loops cost
CPU by the second (the resolver's 6 % of a core): so they cost all sides the same. Off still counts its metrics, which
nobody reads; on exports metrics and spans as often as is usual: every minute, and every five seconds. Each event names
its own record; NetSuite must have all of them when the window ends, or the round is left out. Aim: at most 5 % more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import cast

import httpx2
from end_to_end import SERVICES, Target, steady
from prometheus_client.parser import text_string_to_metric_families

from ml_connector.cli.stack import Stack, StackOptions
from support.listener import Listener
from support.measuring import machine, own_cpu_s
from support.writing import until

AIM = 0.05
DRAIN_S = 3.0  # of a turn's window, after the last event
SAMPLED = 0.01
DEADLINE_S = 300.0
OFF, AGAIN, ON = "off", "off again", "1 %"
ALL = "all three"

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

    async def turn(self, rate: int, seconds: int) -> Cost | None:
        """None: it was late, so its window was longer than the others'."""
        first, self._next = self._next, self._next + rate * seconds
        before, ends_s = self._cpu_s(), time.monotonic() + seconds + DRAIN_S
        await steady(self._target, first, rate=rate, seconds=seconds)
        await until(self._all_written, within_s=DEADLINE_S, every_s=0.5)
        left_s = ends_s - time.monotonic()
        if left_s < 0:
            return None
        await asyncio.sleep(left_s)
        after = self._cpu_s()
        cost = {name: (after[name] - before[name]) * 1000 / (rate * seconds) for name in SERVICES}
        return {**cost, ALL: sum(cost.values())}

    def _cpu_s(self) -> Cost:
        return {name: own_cpu_s(self._stack.pids()[name]) for name in SERVICES}

    async def _all_written(self) -> bool:
        page = (await self._http.get(self._stack.facts.metrics["netsuite-writer"])).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        settled = sum(one.value for one in samples if one.name == "ml_connector_outcomes_total")
        return settled >= self._next - 1


async def compare(rounds: int, rate: int, seconds: int) -> dict[str, list[Cost]]:
    with Listener(lambda _: 200) as receiver:
        async with contextlib.AsyncExitStack() as entered:
            http = await entered.enter_async_context(httpx2.AsyncClient(timeout=30))
            sides = {}
            for name in (OFF, AGAIN, ON):
                environment = exporting(receiver.url) if name == ON else {}
                stack = await entered.enter_async_context(Stack(options(environment)))
                sides[name] = Side(stack, http)
                await sides[name].turn(rate, 5)  # definitions, token, connections, caches
            costs = await in_turn(sides, rounds, rate, seconds)
        if not any(heard.path == "/v1/traces" for heard in receiver.heard):
            raise SystemExit("no span was exported: the figures would mean nothing")
    return costs


async def in_turn(sides: dict[str, Side], rounds: int, rate: int, seconds: int) -> dict[str, list[Cost]]:
    """By side, of each round that was in time."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    orders = itertools.cycle(itertools.permutations(sides))
    for order in itertools.islice(orders, rounds):
        turns = {name: await sides[name].turn(rate, seconds) for name in order}
        if None not in turns.values():
            for name, cost in turns.items():
                costs[name].append(cast(Cost, cost))
    kept = len(costs[OFF])
    if kept < rounds:
        print(f"{rounds - kept} rounds are left out: the rate is too high for this machine, a turn was late")
    if kept == 0:
        raise SystemExit("nothing is left: give a lower --rate, or wait until the machine is quiet")
    return costs


def told(costs: dict[str, list[Cost]]) -> list[str]:
    """Sides are compared within a round, so that a machine that becomes slower meanwhile says nothing."""
    lines = [f"{'':<16} {OFF:>8} {ON:>8}   {'more':<30} noise: {AGAIN}"]
    for name in (*SERVICES, ALL):
        off, again, on = ([cost[name] for cost in costs[side]] for side in (OFF, AGAIN, ON))
        lines.append(
            f"{name:<16} {statistics.median(off):8.3f} {statistics.median(on):8.3f}   {_more(off, on):<30} "
            f"{_more(off, again)}"
        )
    both = [(a[ALL] + b[ALL]) / 2 for a, b in zip(costs[OFF], costs[AGAIN], strict=True)]
    on = [cost[ALL] for cost in costs[ON]]
    more = statistics.median(b / a - 1 for a, b in zip(both, on, strict=True))
    met = "met" if more <= AIM else "missed"
    return [*lines, f"all three, of the mean of both that are off: {_more(both, on)}; aim: at most {AIM:.0%}: {met}"]


def _more(off: Sequence[float], on: Sequence[float]) -> str:
    """Median, and where half of the rounds lie."""
    more = sorted(100 * (b / a - 1) for a, b in zip(off, on, strict=True))
    low, _, high = statistics.quantiles(more, n=4, method="inclusive") if len(more) > 1 else more * 3
    return f"{statistics.median(more):+.1f} % ({low:+.1f} to {high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="best six, or a multiple: each order of the sides")
    parser.add_argument("--rate", type=int, default=40, help="events a second")
    parser.add_argument("--seconds", type=int, default=10, help="of a turn")
    given = parser.parse_args()
    print(
        f"telemetry: CPU ms per event, {given.rounds} rounds, turns of {given.seconds} s at {given.rate} events/s "
        f"({machine()}); medians, and where half of the rounds lie"
    )
    for line in told(asyncio.run(compare(given.rounds, given.rate, given.seconds))):
        print(line)


if __name__ == "__main__":
    main()
