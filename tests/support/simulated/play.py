"""Play one case until everything is quiet, and say what was wrong (`verdict.py`)."""

from __future__ import annotations

import asyncio
import functools
import random
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.common.keys import flow_key
from ml_connector.common.wire import Desired, Hydrate
from ml_connector.netsuite_writer.settings import WriterSettings
from ml_connector.sandbox.netsuite.store import Record
from support.desired import ACCOUNT, FLOW, key_of
from support.judging import Evidence
from support.simulated import case as cases
from support.simulated import verdict
from support.simulated.broker import DESIRED, OBSERVED, Broker
from support.simulated.case import Case
from support.simulated.faults import LOGGED, OurFaults
from support.simulated.owner import PUBLIC_PEM, OneFlow, Owner, World
from support.simulated.pipedrive import LOST_STATUS, SimulatedPipedrive
from support.simulated.vendor import BASE_URL, SimulatedVendor
from support.simulated.virtual_time import LoopClock, Stuck, VirtualLoop

REQUEST_TIMEOUT_S = 10.0
QUIET_S = 60.0  # over the longest late commit, 40 s
SETTLED_WITHIN_S = 600.0  # once nothing is wrong any more; the quiet time, and every longest pause a few times
RESUMED_EVERY_S = 15.0  # by the person who looks after halted flows
BASE = WriterSettings(
    kafka_bootstrap_servers="nowhere:1",
    store_dir=Path("unused"),
    request_timeout_s=REQUEST_TIMEOUT_S,
    quiet_s=QUIET_S,
    backoff_longest_s=10.0,
    suspend_s=3.0,
    suspend_longest_s=10.0,
    outage_run=4,
    hydrate_again_s=30.0,
    tries=12,
)
EXPECTED_ERRORS = frozenset({"flow_halted"})


def play(case: Case, tally: Counter[str] | None = None) -> list[str]:
    """Everything that was wrong. `tally`: counts what happened, so that nobody trusts cases in which little did."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)  # killed before they began
    loop = VirtualLoop()
    tally = Counter() if tally is None else tally
    faults = OurFaults()
    try:
        with capture_logs() as logs, faults.installed():
            try:
                problems = loop.run_until_complete(_Play(case, loop, tally, faults).run())
            except Stuck as error:
                problems = [str(error)]
        tally.update({f"fault of ours: {place}": count for place, count in faults.met.items()})
        expected = EXPECTED_ERRORS | LOGGED if faults.met else EXPECTED_ERRORS
        ours = [log for log in logs if log["log_level"] == "error" and log["event"] not in expected]
        return [*problems, *loop.problems, *(f"logged: {log}" for log in ours)]
    finally:
        loop.end()


@functools.cache
def flow_of(*, matching: bool, looks_up: bool, slots: int) -> Flow:
    organization: dict[str, Any] = {"record": "customer", "fields": {"companyName": "data.name"}}
    if matching:
        organization["match"] = ["companyName"]
    return parse_flow({
        "flow": FLOW,
        "environment": "sandbox",
        "pipedrive": {"company": "acme-eu"},
        "netsuite": {
            "account": ACCOUNT,
            "base_url": BASE_URL,
            "concurrency": slots,
            "opportunities": "look-up" if looks_up else "upsert",
        },
        "external_ids": "pd",
        "statuses": {"lost": LOST_STATUS},
        "entities": {
            "organization": organization,
            "person": {"record": "contact", "parent": "data.org_id", "fields": {"lastName": "data.name"}},
            "deal": {"record": "opportunity", "parent": "data.org_id", "fields": {"title": "data.title"}},
        },
    })  # fmt: skip


class _Play:
    """One case."""

    def __init__(self, case: Case, loop: VirtualLoop, tally: Counter[str], faults: OurFaults) -> None:
        self._case = case
        self._tally = tally
        self._faults = faults
        clock = LoopClock(loop)
        chance = random.Random(case.seed)
        flow = flow_of(matching=case.matching, looks_up=case.looks_up, slots=case.slots)
        self._world = World(
            loop=loop,
            clock=clock,
            broker=Broker(clock, chance),
            vendor=SimulatedVendor(
                clock,
                request_timeout_s=REQUEST_TIMEOUT_S,
                public_key_pem=PUBLIC_PEM,
                concurrency_limit=case.slots,
                opportunity_upsert=not case.looks_up,
                **case.switches,
            ),
            flows=OneFlow(LiveFlow(flow, 1, paused=False)),
            settings=BASE.model_copy(update=case.settings),
            slots=case.slots,
            chance=chance,
        )
        self._pipedrive = SimulatedPipedrive(self._emit, clock.now_ms)
        self._emitted: list[Desired] = []
        self._answered = 0
        self._answering = 0
        self._owners: list[Owner] = []
        self._calming: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []
        self._latency_s = case.latency_s
        self._fill()

    async def run(self) -> list[str]:
        self._slow_down(self._latency_s)
        await self._take_over(compacted=False)
        resolver = asyncio.get_running_loop().create_task(self._answer_hydrates())
        for event in self._case.events:
            await self._do(event)
        problems = []
        try:
            await self._calm()
        except Stuck as error:
            problems = [str(error), *self._left()]
        resolver.cancel()
        for owner in self._owners:
            await owner.process.kill()
        evidence = await self._evidence()
        verdict.count(evidence, into=self._tally)
        return [*problems, *self._world.vendor.problems, *verdict.of(evidence, self._pipedrive.objects.values())]

    async def _evidence(self) -> Evidence:
        vendor = self._world.vendor
        return Evidence(
            log=vendor.log(),
            records={ACCOUNT: await vendor.records()},
            states=self._emitted,
            outcomes=self._world.broker.outcomes(),
            slots=self._case.slots,
            client_timeout_s=REQUEST_TIMEOUT_S,
        )

    def _fill(self) -> None:
        """Objects of Pipedrive; and what NetSuite has of them already, if somebody typed it in there."""
        for number in cases.IDS:
            self._pipedrive.add("organization", number)
            self._pipedrive.add("person", number, cases.PARENTS[number])
            self._pipedrive.add("deal", number, cases.DEALS_PARENTS[number])
        if self._case.matching:
            records = self._world.vendor.account.records
            for number, label in (("1", 1), ("2", 0)):
                fields = {
                    "companyName": f"organization {number} V{label}",
                    "subsidiary": {"type": "subsidiary", "id": "2"},
                }
                records.add(Record(records.next_id(), "customer", None, fields, 0, 0))

    # -- the script --------------------------------------------------------------------------------------------------

    async def _do(self, event: cases.Event) -> None:
        match event:
            case cases.Wait(seconds=seconds):
                await asyncio.sleep(seconds)
            case cases.Change():
                self._change(event)
            case cases.Again(entity=entity, source_id=source_id, how="replay"):
                replayed = self._pipedrive.replay(entity, source_id)
                if replayed is not None:
                    self._emit(replayed)
                    await asyncio.sleep(0.001)  # nobody replays what is of the same millisecond as the next change
            case cases.Again(entity=entity, source_id=source_id):
                if not self._pipedrive.objects[entity, source_id].deleted:
                    self._emit(self._pipedrive.sync(entity, source_id))
            case cases.Arrive():
                self._arrive()
            case cases.Trouble():
                self._trouble(event)
            case cases.OurFault(place=place, count=count):
                self._faults.left[place] += count
            case cases.Restart(after_s=after_s, how=how, compacted=compacted):
                await asyncio.sleep(after_s)
                await self._restart(how, compacted=compacted)
            case _:
                self._disturb(event)

    def _disturb(self, event: cases.Event) -> None:
        """For a while."""
        world = self._world
        match event:
            case cases.Neighbours(slots=slots, for_s=for_s):
                world.vendor.account.switches.others_in_flight = slots
                self._end_after(for_s, self._leave_alone)
            case cases.Slow(latency_s=latency_s, for_s=for_s):
                self._slow_down(latency_s)
                self._end_after(for_s, lambda: self._slow_down(self._latency_s))
            case cases.Away(who="netsuite", for_s=for_s):
                world.vendor.unreachable = True
                self._end_after(for_s, lambda: setattr(world.vendor, "unreachable", False))
            case cases.Away(for_s=for_s):
                world.broker.away = True
                self._end_after(for_s, lambda: setattr(world.broker, "away", False))
            case cases.Pause(for_s=for_s):
                self._pause(paused=True)
                self._end_after(for_s, lambda: self._pause(paused=False))

    def _change(self, change: cases.Change) -> None:
        for source_id in change.ids:
            for state in self._pipedrive.change(change.entity, source_id, change.what):
                if change.arrives == "later":
                    self._pipedrive.held_back.append(state)
                    continue
                self._emit(state)
                if change.arrives == "twice":
                    self._pipedrive.held_back.append(state)

    def _arrive(self) -> None:
        while self._pipedrive.held_back:
            self._emit(self._pipedrive.held_back.pop())

    def _emit(self, state: Desired) -> None:
        self._emitted.append(state)
        self._world.broker.append(DESIRED, key_of(state), state.encode())

    def _trouble(self, trouble: cases.Trouble) -> None:
        if trouble.where == "task" and trouble.kind == "late_commit":
            return  # a job that has ended executes nothing any more
        match = cases.WHERE[trouble.where]
        count = None if trouble.for_s else trouble.count
        facts = {"kind": trouble.kind, "match": match, "count": count, "delay_s": trouble.delay_s}
        fault = self._world.vendor.standin.faults.add(facts)
        self._end_after(trouble.for_s or 1e6, lambda: setattr(fault, "count", 0))

    def _slow_down(self, latency_s: float) -> None:
        self._world.vendor.standin.latency.set({"other": {"fixed_ms": latency_s * 1000}})

    def _leave_alone(self) -> None:
        self._world.vendor.account.switches.others_in_flight = 0

    def _pause(self, *, paused: bool) -> None:
        live = self._world.flows.live
        resumed_at_ms = live.resumed_at_ms if paused else self._world.clock.now_ms()
        self._world.flows.live = LiveFlow(live.flow, live.version, paused=paused, resumed_at_ms=resumed_at_ms)
        for owner in self._owners:
            owner.flow_changed(live.flow)

    def _end_after(self, seconds: float, end: Callable[[], None]) -> None:
        self._calming.append((asyncio.get_running_loop().call_later(seconds, end), end))

    async def _restart(self, how: str, *, compacted: bool) -> None:
        session_s = self._world.settings.session_timeout_s
        former = self._owners[-1]
        if how == "killed":
            await former.process.kill()
            await asyncio.sleep(self._world.chance.choice((0.01, 1.0, session_s)))
        elif how == "closed":
            await former.close()
        else:
            former.process.cut_off = True
            await asyncio.sleep(session_s)
        self._world.vendor.taken_over(former.process)
        await self._take_over(compacted=compacted)

    async def _take_over(self, *, compacted: bool) -> None:
        owner = Owner(self._world, len(self._owners))
        self._owners.append(owner)
        await owner.start(compacted=compacted)

    async def _answer_hydrates(self) -> None:
        """As the resolver does: each, after a while."""
        while True:
            await asyncio.sleep(0.25)
            asked = self._world.broker.hydrates()
            for hydrate in asked[self._answered :]:
                self._answered += 1
                self._answering += 1
                delay_s = self._world.chance.choice((0.05, 0.5, 8.0))
                asyncio.get_running_loop().call_later(delay_s, self._answer, hydrate)

    def _answer(self, hydrate: Hydrate) -> None:
        self._answering -= 1
        self._emit(self._pipedrive.answer(hydrate))

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        """Nothing is wrong any more, what is bad is corrected: then everything settles. Raises Stuck."""
        for handle, end in self._calming:
            handle.cancel()
            end()
        self._pause(paused=False)
        self._arrive()
        loop = asyncio.get_running_loop()
        deadline_s, resumed_s = loop.time() + SETTLED_WITHIN_S, loop.time()
        corrected = False
        while not self._quiet():
            await asyncio.sleep(1.0)
            if not corrected and self._only_waits_for_parents():
                corrected = True
                self._correct()
            if loop.time() > deadline_s:
                raise Stuck(f"not settled within {SETTLED_WITHIN_S:.0f} s")
            if loop.time() - resumed_s > RESUMED_EVERY_S:
                resumed_s = loop.time()
                if flow_key(FLOW) in self._world.broker.live(OBSERVED):
                    self._pause(paused=False)

    def _quiet(self) -> bool:
        broker = self._world.broker
        if self._answering or self._answered < len(broker.hydrates()) or broker.live(DESIRED):
            return False
        return not self._owners[-1].store.attempts()  # a doubt is asserted once more

    def _only_waits_for_parents(self) -> bool:
        return not any("/customer/" in key for key in self._world.broker.live(DESIRED))

    def _correct(self) -> None:
        """A person repairs in Pipedrive what NetSuite did not take."""
        for it in self._pipedrive.objects.values():
            if it.bad and not it.deleted:
                for state in self._pipedrive.change(it.entity, it.source_id, "edit"):
                    self._emit(state)

    def _left(self) -> list[str]:
        broker = self._world.broker
        attempts = [f"attempt of {attempt.record_key}" for attempt in self._owners[-1].store.attempts()]
        return [f"left: {one}" for one in (*broker.live(DESIRED), *attempts)]
