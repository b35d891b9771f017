"""From one message to the messages that follow from it: the resolver without Kafka, Faust and Pipedrive. Pure.

In: an event (also one that is replayed), or an object as it was just read for a hydrate. Out: outputs in the order in
which they must be written, or Defer, which may name what must be read from Pipedrive first. Never raises for what is
wrong with a message: that becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ml_connector.common import cause as causes
from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.comparing import Unmapped
from ml_connector.common.errors import Malformed, MappingFailed
from ml_connector.common.flows import Flow
from ml_connector.common.generation import of_rest_read
from ml_connector.common.topics import MAX_MESSAGE_BYTES
from ml_connector.common.wire import Action, Hydrate, Source
from ml_connector.resolver import emit, unresolved
from ml_connector.resolver.decode import MAPPED, Event, decode_rest
from ml_connector.resolver.events import arrived_at_ms, as_read, event_of
from ml_connector.resolver.expect import Expectation, expect
from ml_connector.resolver.map import Mapped, UnmappedStage, map_event
from ml_connector.resolver.message import Defer, Message, Output, Read
from ml_connector.resolver.plan import EntityPlan, FlowPlan
from ml_connector.resolver.plans import Flows, Plans
from ml_connector.resolver.preview import UNMAPPED_STAGE, asks_for_preview
from ml_connector.resolver.resolve import STAGES, Book, lacking, readable, state_key
from ml_connector.resolver.sources import sources_of

MAX_DESIRED_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024
# Ingest may know a flow before we do. It is here within 2 s (docs/flows.md), a busy machine may take some more.
FLOW_COMES_WITHIN_MS: Final = 10_000
FLOW_AGAIN_S: Final = 1.0
# Events of these say that what we know of the company has changed.
_REFRESHING: Final = {"pipeline": STAGES, "stage": STAGES}


class Core:
    """Resolves the messages of all companies that this process owns."""

    def __init__(
        self, flows: Flows, book: Book, clock: Clock, *, retried: Callable[[str, int], None] = lambda _, __: None
    ) -> None:
        """`retried`: hears of flow and time of each event whose first delivery failed."""
        self._retried = retried
        self._plans = Plans(flows)
        self._book = book
        self._clock = clock

    def flow_changed(self, flow: Flow) -> None:
        self._plans.forget(flow.flow)

    def plan(self, name: str) -> FlowPlan | None:
        """The flow as it is now; None when there is none of that name."""
        return self._plans.active(name)

    def event(self, message: Message) -> list[Output] | Defer:
        """A verified webhook body; or what is replayed, with headers that say how."""
        message = message.as_first_read()
        now_ms = self._clock.now_ms()
        plan = self._plans.active(h.text(message.headers, h.FLOW))
        if plan is None:
            if _may_still_come(message, now_ms):
                return Defer("the flow is not known yet", after_s=FLOW_AGAIN_S)
            reason = "the flow does not exist any more"
            return unresolved.malformed(message, reason, code="UNKNOWN_FLOW", now_ms=now_ms)
        mapping = self._plans.mapping(message, plan)
        try:
            event = event_of(message, plan, mapping or plan, now_ms)
        except Malformed as error:
            return unresolved.malformed(message, str(error), code="MALFORMED", now_ms=now_ms)
        if event.attempt > 1 and h.REPLAY_OF not in message.headers:
            self._retried(plan.flow.flow, event.generation.source_version)
        if mapping is None:
            return unresolved.without_version(message, plan, event, now_ms=now_ms)
        entity = mapping.entities.get(event.entity)
        if entity is None:
            changed = [] if asks_for_preview(message) else self._definitions_changed(mapping, event)
            return [*changed, *unresolved.ignored(message, mapping, event, now_ms=now_ms)]
        arrived_ms = arrived_at_ms(message, event, now_ms)
        return self._resolve(message, mapping, entity, event, now_ms=now_ms, arrived_ms=arrived_ms)

    def sources(self, message: Message) -> dict[str, Source]:
        """Of each field that the mapping gives what its value is made from; empty where nothing is mapped."""
        plan = self._plans.active(h.text(message.headers, h.FLOW))
        mapping = None if plan is None else self._plans.mapping(message, plan)
        if plan is None or mapping is None:
            return {}
        try:
            event = event_of(message, plan, mapping, self._clock.now_ms())
        except Malformed:
            return {}
        entity = mapping.entities.get(event.entity)
        return {} if entity is None else sources_of(mapping, entity, event, self._book.of(mapping.company))

    def hydrated(self, request: Hydrate, message: Message, plan: FlowPlan, read: Read) -> list[Output] | Defer:
        """What was just read. Always answered by a desired record, whatever was found."""
        entity = plan.entities.get(request.entity)
        if entity is None:
            return []  # nobody can wait for a record of an entity without a mapping
        now_ms = self._clock.now_ms()
        cause = causes.of_hydrate(request.request_id)
        generation = of_rest_read(date_ms=read.date_ms, took_ms=read.took_ms)
        message = as_read(message, request, plan, read, generation)
        source_id = request.source_id
        if read.data is None:
            event = Event(
                cause=cause, entity=request.entity, action="change", source_id=source_id, generation=generation
            )
            return _answer(message, plan, entity, event, "gone", now_ms=now_ms)
        try:
            event = decode_rest(request.entity, read.data, source_id=source_id, cause=cause, generation=generation)
        except Malformed as error:
            return Defer(str(error))
        if event.action == "delete":
            return _answer(message, plan, entity, event, "merged" if event.merged_to else "gone", now_ms=now_ms)
        arrived_ms = arrived_at_ms(message, event, now_ms)
        return self._resolve(message, plan, entity, event, now_ms=now_ms, arrived_ms=arrived_ms, answers=True)

    def listed(self, message: Message, plan: FlowPlan, event: Event, *, arrived_at_ms: int) -> list[Output] | Defer:
        """An object that a sync came by, of an entity that the flow maps. `message`: what was read, as if it had been
        received; definitions that are older than `arrived_at_ms` are read again before a field is held back."""
        entity = plan.entities[event.entity]
        now_ms = self._clock.now_ms()
        if event.action == "delete":
            return _answer(message, plan, entity, event, "merged" if event.merged_to else "gone", now_ms=now_ms)
        return self._resolve(message, plan, entity, event, now_ms=now_ms, arrived_ms=arrived_at_ms)

    def expected(self, plan: FlowPlan, event: Event, *, arrived_at_ms: int) -> Expectation | Unmapped | Defer:
        """As `listed`, of an object whose record is only compared."""
        known = self._book.of(plan.company)
        return expect(plan, event, known, arrived_at_ms=arrived_at_ms, now_ms=self._clock.now_ms())

    def _resolve(
        self,
        message: Message,
        plan: FlowPlan,
        entity: EntityPlan,
        event: Event,
        *,
        now_ms: int,
        arrived_ms: int,
        answers: bool = False,
    ) -> list[Output] | Defer:
        """One mapped object. `answers`: somebody waits for its desired record, whatever it says."""
        known = self._book.of(plan.company)
        found = readable(entity, event, known)
        needed = lacking(entity, event, known, found, arrived_at_ms=arrived_ms, now_ms=now_ms)
        if needed:
            return Defer(f"{' and '.join(needed)} must be read first", after_s=0.0, lacking=needed)
        try:
            mapped = map_event(plan, entity, event, known, found)
        except MappingFailed as error:
            reason, code = str(error), UNMAPPED_STAGE if isinstance(error, UnmappedStage) else "MAPPING"
        else:
            outputs = _resolved(message, plan, entity, event, mapped, now_ms=now_ms)
            if len(outputs[-1].value or b"") <= MAX_DESIRED_BYTES:
                return outputs
            reason, code = f"the mapped fields have more than {MAX_DESIRED_BYTES} bytes", "TOO_LARGE"
        if answers:
            return _answer(message, plan, entity, event, "rejected", reason, now_ms=now_ms)
        return unresolved.unmapped(message, plan, entity, event, reason, code=code, now_ms=now_ms)

    def _definitions_changed(self, plan: FlowPlan, event: Event) -> list[Output]:
        """What the event says is not true any more is forgotten, here and in `pipedrive.state`."""
        changed = _REFRESHING.get(event.entity) or _definitions_of(event.entity)
        if changed is None:
            return []
        self._book.drop(plan.company, changed)
        return [emit.state(plan.company, state_key(plan.company, changed), None)]


def _resolved(
    message: Message,
    plan: FlowPlan,
    entity: EntityPlan,
    event: Event,
    mapped: Mapped,
    reason: str | None = None,
    *,
    now_ms: int,
) -> list[Output]:
    """What came, what the mapping made of it, and the desired record."""
    where = emit.origin(message)
    desired = emit.desired(message, where, plan, entity, event, mapped, reason)
    record_key = desired.record_key
    return [
        emit.received(message, where, event, account=plan.account, with_body=True),
        emit.resolved(desired, record_key, mapped, at_ms=now_ms),
        emit.desired_output(desired, record_key, message),
    ]


def _answer(
    message: Message,
    plan: FlowPlan,
    entity: EntityPlan,
    event: Event,
    action: Action,
    reason: str | None = None,
    *,
    now_ms: int,
) -> list[Output]:
    """A hydrate that found nothing to write, or a sync that came by a deleted object."""
    mapped = Mapped(action, merged_to=event.merged_to)
    return _resolved(message, plan, entity, event, mapped, reason or f"Pipedrive: {action}", now_ms=now_ms)


def _may_still_come(message: Message, now_ms: int) -> bool:
    """Of a delivery that was received a moment ago the flow; a replay or a preview is of a flow that is known."""
    if h.CAUSE in message.headers or asks_for_preview(message):
        return False
    return abs(now_ms - message.received_at_ms) < FLOW_COMES_WITHIN_MS


def _definitions_of(entity: str) -> str | None:
    """`dealField`, `organization_field`, ...: how these events are called is unconfirmed (docs/unproven.md)."""
    name = entity.lower().replace("_", "").removesuffix("s")
    found = name.removesuffix("field")
    return found if found != name and found in MAPPED else None
