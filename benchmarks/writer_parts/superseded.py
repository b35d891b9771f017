"""Seventy per cent superseded: how many events a busy account settles, when only the newest of each record is sent."""

from __future__ import annotations

import random
from typing import Final

from ml_connector.common.wire import Desired
from support.desired import ACCOUNT
from writer_parts.rig import Options, Rig, organization

SHARE: Final = 0.7
SLOTS: Final = 5
LATENCY_MS: Final = 100
AIM: Final = 3.0


async def measure(options: Options) -> None:
    events = 300 if options.quick else 2000
    async with Rig(slots=SLOTS) as rig:
        await rig.warm_up()
        await rig.latency(LATENCY_MS)
        await rig.forget_log()
        states = generations(rig, events)
        await rig.emit(*states)
        await rig.until_settled()
        await tell(rig, states)


def generations(rig: Rig, events: int) -> list[Desired]:
    """So many states of three records for ten events, in no order: late older ones are among them."""
    ids = rig.new_ids(round(events * (1 - SHARE)))
    states = [organization(ids[n % len(ids)], version=1_000_000 + n // len(ids)) for n in range(events)]
    random.Random(1).shuffle(states)  # noqa: S311  an order, no secret
    return states


async def tell(rig: Rig, states: list[Desired]) -> None:
    causes = {state.cause for state in states}
    outcomes = [outcome for cause, found in (await rig.outcomes()).items() if cause in causes for outcome in found]
    kinds = [outcome.outcome for outcome in outcomes]
    if len(outcomes) != len(states) or set(kinds) != {"written", "superseded"}:
        raise SystemExit(f"{len(outcomes)} outcomes for {len(states)} events: the figures would mean nothing")
    await check_newest(rig, states)
    writes = [line for line in await rig.log() if line["commit_seq"] is not None]
    took_s = (max(outcome.at_ms for outcome in outcomes) - min(line["start_ms"] for line in writes)) / 1000
    effective, bound = len(states) / took_s, SLOTS / (LATENCY_MS / 1000)
    print(f"{SHARE:.0%} superseded: {len(states)} events, {SLOTS} slots, {LATENCY_MS} ms")
    print(f"  {kinds.count('superseded')} superseded, {len(writes)} requests, all settled in {took_s:.1f} s")
    print(
        f"  {effective:.0f} events/s; one request per event can do {bound:.0f}/s: {effective / bound:.2f}x"
        f"   (aim >= {AIM:g}x; {1 / (1 - SHARE):.2f}x if no older one were ever sent)",
        flush=True,
    )


async def check_newest(rig: Rig, states: list[Desired]) -> None:
    newest: dict[str, int] = {}
    for state in states:
        newest[state.external_id] = max(newest.get(state.external_id, 0), int(state.fields["custentity_number"]))
    held = {record["externalId"]: record for record in await rig._get(f"records/{ACCOUNT}/customer")}
    if any(held[name]["custentity_number"] != str(number) for name, number in newest.items()):
        raise SystemExit("NetSuite does not hold the newest: the figures would mean nothing")
