"""From one message to the messages that follow from it: the resolver without Kafka, Faust and Pipedrive. Pure.

In: an event (also one that is replayed), or an object as it was just read for a hydrate. Out: outputs in the order in
which they must be written, or Defer, which may name what must be read from Pipedrive first. Never raises for what is
wrong with a message: that becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from ml_connector.common import cause as causes
from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.codec import encode_json
from ml_connector.common.comparing import Unmapped
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import Malformed, MappingFailed
from ml_connector.common.flows import Flow
from ml_connector.common.generation import Generation, is_from_the_future, of_rest_read
from ml_connector.common.keys import NO_RECORD
from ml_connector.common.topics import MAX_MESSAGE_BYTES
from ml_connector.common.traceparent import trace_id
from ml_connector.common.wire import Action, Desired, Hydrate, Lane, Origin, Outcome, Source
from ml_connector.resolver import emit
from ml_connector.resolver.decode import MAPPED, Event, cause_of, decode_object, decode_rest, decode_webhook
from ml_connector.resolver.expect import Expectation, expect
from ml_connector.resolver.map import Mapped, UnmappedStage, external_id_of, map_event, record_key_of
from ml_connector.resolver.message import Defer, Message, Output, Read
from ml_connector.resolver.plan import EntityPlan, FlowPlan, compile_flow
from ml_connector.resolver.preview import UNMAPPED_STAGE, asks_for_preview
from ml_connector.resolver.resolve import STAGES, Book, lacking, readable, state_key
from ml_connector.resolver.sources import sources_of

MAX_DESIRED_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024
# Ingest may know a flow before we do. It is here within 2 s (docs/flows.md), a busy machine may take some more.
FLOW_COMES_WITHIN_MS: Final = 10_000
FLOW_AGAIN_S: Final = 1.0
MAX_REVISION: Final = 2**53  # revisions are times in ms; a larger one would not be a number everywhere
_LANES: Final[dict[str, Lane]] = {"live": "live", "replay": "replay", "backfill": "backfill"}
# Events of these say that what we know of the company has changed.
_REFRESHING: Final = {"pipeline": STAGES, "stage": STAGES}


class Flows(Protocol):
    def flow(self, name: str) -> LiveFlow | None: ...

    def version(self, name: str, version: int) -> Flow | None: ...


class Core:
    """Resolves the messages of all companies that this process owns."""

    def __init__(
        self, flows: Flows, book: Book, clock: Clock, *, retried: Callable[[str, int], None] = lambda _, __: None
    ) -> None:
        """`retried`: hears of flow and time of each event whose first delivery failed."""
        self._retried = retried
        self._flows = flows
        self._book = book
        self._clock = clock
        self._plans: dict[str, FlowPlan] = {}
        self._versions: dict[tuple[str, int], FlowPlan] = {}

    def flows_changed(self) -> None:
        """Compile anew when asked next."""
        self._plans.clear()
        self._versions.clear()

    def plan(self, name: str) -> FlowPlan | None:
        """The flow as it is now; None when there is none of that name."""
        plan = self._plans.get(name)
        if plan is None:
            live = self._flows.flow(name)
            if live is None:
                return None
            plan = self._plans[name] = compile_flow(live.flow, live.version)
        return plan

    def event(self, message: Message) -> list[Output] | Defer:
        """A verified webhook body; or what is replayed, with headers that say how."""
        message = message.as_first_read()
        plan = self.plan(h.text(message.headers, h.FLOW))
        if plan is None:
            if self._may_still_come(message):
                return Defer("the flow is not known yet", after_s=FLOW_AGAIN_S)
            return self._malformed(message, "the flow does not exist any more", code="UNKNOWN_FLOW")
        mapping = plan if h.MAPPING_VERSION not in message.headers else self._mapping(message, plan)
        try:
            event = self._decoded(message, plan, mapping or plan)
        except Malformed as error:
            return self._malformed(message, str(error), code="MALFORMED")
        if event.attempt > 1 and h.REPLAY_OF not in message.headers:
            self._retried(plan.flow.flow, event.generation.source_version)
        if mapping is None:
            return self._without_version(message, plan, event)
        entity = mapping.entities.get(event.entity)
        if entity is None:
            return self._ignored(message, mapping, event)
        return self._resolve(message, mapping, entity, event)

    def sources(self, message: Message) -> dict[str, Source]:
        """Of each field that the mapping gives what its value is made from; empty where nothing is mapped."""
        plan = self.plan(h.text(message.headers, h.FLOW))
        mapping = plan if plan is None or h.MAPPING_VERSION not in message.headers else self._mapping(message, plan)
        if plan is None or mapping is None:
            return {}
        try:
            event = self._decoded(message, plan, mapping)
        except Malformed:
            return {}
        entity = mapping.entities.get(event.entity)
        return {} if entity is None else sources_of(mapping, entity, event, self._book.of(mapping.company))

    def hydrated(self, request: Hydrate, message: Message, plan: FlowPlan, read: Read) -> list[Output] | Defer:
        """What was just read. Always answered by a desired record, whatever was found."""
        entity = plan.entities.get(request.entity)
        if entity is None:
            return []  # nobody can wait for a record of an entity without a mapping
        cause = causes.of_hydrate(request.request_id)
        generation = of_rest_read(date_ms=read.date_ms, took_ms=read.took_ms)
        message = _as_read(message, request, plan, read, generation)
        if read.data is None:
            return self._answer(message, plan, entity, _bare_event(request, cause, generation), "gone")
        try:
            event = decode_rest(
                request.entity, read.data, source_id=request.source_id, cause=cause, generation=generation
            )
        except Malformed as error:
            return Defer(str(error))
        if event.action == "delete":
            return self._answer(message, plan, entity, event, "merged" if event.merged_to else "gone")
        return self._resolve(message, plan, entity, event, answers=True)

    def listed(self, message: Message, plan: FlowPlan, event: Event, *, arrived_at_ms: int) -> list[Output] | Defer:
        """An object that a sync came by, of an entity that the flow maps. `message`: what was read, as if it had been
        received; definitions that are older than `arrived_at_ms` are read again before a field is held back."""
        entity = plan.entities[event.entity]
        if event.action == "delete":
            return self._answer(message, plan, entity, event, "merged" if event.merged_to else "gone")
        return self._resolve(message, plan, entity, event, arrived_at_ms=arrived_at_ms)

    def expected(self, plan: FlowPlan, event: Event, *, arrived_at_ms: int) -> Expectation | Unmapped | Defer:
        """As `listed`, of an object whose record is only compared."""
        known = self._book.of(plan.company)
        return expect(plan, event, known, arrived_at_ms=arrived_at_ms, now_ms=self._clock.now_ms)

    def _may_still_come(self, message: Message) -> bool:
        """Of a delivery that was received a moment ago the flow; a replay or a preview is of a flow that is known."""
        if h.CAUSE in message.headers or asks_for_preview(message):
            return False
        return abs(self._clock.now_ms() - message.received_at_ms) < FLOW_COMES_WITHIN_MS

    # -- what an event says of itself --------------------------------------------------------------------------------

    def _mapping(self, message: Message, plan: FlowPlan) -> FlowPlan | None:
        """The version that the message asks for; whose company and account it is, the active one says."""
        version = h.number(message.headers, h.MAPPING_VERSION, 0)
        if version == plan.version:
            return plan
        name = plan.flow.flow
        found = self._versions.get((name, version))
        if found is None:
            flow = self._flows.version(name, version)
            if flow is None:
                return None
            flow = flow.model_copy(update={"pipedrive": plan.flow.pipedrive, "netsuite": plan.flow.netsuite})
            found = self._versions[name, version] = compile_flow(flow, version)
        return found

    def _decoded(self, message: Message, plan: FlowPlan, mapping: FlowPlan) -> Event:
        """Raises Malformed."""
        headers = message.headers
        if h.OBJECT in headers:
            return decode_object(
                message.value,
                what=h.text(headers, h.OBJECT),
                version=h.text(headers, h.GENERATION),
                cause=h.text(headers, h.CAUSE),
                revision=_revision(message),
                now_ms=self._clock.now_ms(),
            )
        event = decode_webhook(
            message.value,
            arrived_at_ms=message.received_at_ms,
            company_id=plan.flow.pipedrive.company_id,
            whole_meta=mapping.names_meta,
        )
        return _as_replayed(event, message) if h.CAUSE in headers else event

    def _arrived_at_ms(self, message: Message, event: Event) -> int:
        """Of a replay: when somebody asked for it, which is its revision. Older definitions are read again first."""
        revision = event.generation.revision
        if not revision:
            return message.received_at_ms
        if is_from_the_future(revision, arrived_at_ms=self._clock.now_ms()):
            return message.received_at_ms  # else it would wait until then
        return max(message.received_at_ms, revision)

    # -- one mapped object -------------------------------------------------------------------------------------------

    def _resolve(
        self,
        message: Message,
        plan: FlowPlan,
        entity: EntityPlan,
        event: Event,
        *,
        answers: bool = False,
        arrived_at_ms: int | None = None,
    ) -> list[Output] | Defer:
        known = self._book.of(plan.company)
        found = readable(entity, event, known)
        if arrived_at_ms is None:
            arrived_at_ms = self._arrived_at_ms(message, event)
        needed = lacking(entity, event, known, found, arrived_at_ms=arrived_at_ms, now_ms=self._clock.now_ms)
        if needed:
            return Defer(f"{' and '.join(needed)} must be read first", after_s=0.0, lacking=needed)
        where = emit.origin(message)
        received = emit.received(message, where, event, account=plan.account, with_body=True)
        try:
            mapped = map_event(plan, entity, event, known, found)
        except MappingFailed as error:
            if answers:
                return self._answer(message, plan, entity, event, "rejected", reason=str(error))
            code = UNMAPPED_STAGE if isinstance(error, UnmappedStage) else "MAPPING"
            return [received, *self._unmapped(message, plan, entity, event, str(error), code=code)]
        desired = self._desired(message, where, plan, entity, event, mapped)
        record_key = desired.record_key
        resolved = emit.resolved(desired, record_key, mapped, at_ms=self._clock.now_ms())
        wanted = emit.desired_output(desired, record_key, message)
        if len(wanted.value or b"") > MAX_DESIRED_BYTES:
            reason = f"the mapped fields have more than {MAX_DESIRED_BYTES} bytes"
            if answers:
                return self._answer(message, plan, entity, event, "rejected", reason=reason)
            return [received, *self._unmapped(message, plan, entity, event, reason, code="TOO_LARGE")]
        return [received, resolved, wanted]

    def _desired(
        self,
        message: Message,
        where: Origin,
        plan: FlowPlan,
        entity: EntityPlan,
        event: Event,
        mapped: Mapped,
        reason: str | None = None,
    ) -> Desired:
        return Desired(
            cause=event.cause,
            flow=plan.flow.flow,
            company=plan.company,
            account=plan.account,
            entity=entity.entity,
            source_id=event.source_id,
            record_type=entity.record_type,
            external_id=external_id_of(plan, entity, event.source_id),
            generation=event.generation,
            action=mapped.action,
            mapping_version=plan.version,
            origin=where,
            lane=_LANES.get(h.text(message.headers, h.LANE), "live"),
            fields=mapped.fields,
            references=mapped.references,
            parent=mapped.parent,
            default_parent=mapped.default_parent,
            merged_to=mapped.merged_to,
            reason=reason or None,
            replay_of=h.text(message.headers, h.REPLAY_OF) or None,
            force=h.FORCE in message.headers,
        )

    def _answer(
        self,
        message: Message,
        plan: FlowPlan,
        entity: EntityPlan,
        event: Event,
        action: Action,
        reason: str | None = None,
    ) -> list[Output]:
        """A hydrate that found nothing to write, or a sync that came by a deleted object."""
        mapped = Mapped(action, merged_to=event.merged_to)
        where = emit.origin(message)
        desired = self._desired(message, where, plan, entity, event, mapped, reason or f"Pipedrive: {action}")
        record_key = desired.record_key
        resolved = emit.resolved(desired, record_key, mapped, at_ms=self._clock.now_ms())
        received = emit.received(message, where, event, account=plan.account, with_body=True)
        return [received, resolved, emit.desired_output(desired, record_key, message)]

    # -- what becomes no desired record ------------------------------------------------------------------------------

    def _unmapped(
        self, message: Message, plan: FlowPlan, entity: EntityPlan, event: Event, reason: str, *, code: str
    ) -> list[Output]:
        outcome = msgspec.structs.replace(
            self._outcome(message, plan.account, event),
            record_key=record_key_of(plan, entity, event.source_id),
            external_id=external_id_of(plan, entity, event.source_id),
            generation=event.generation,
            mapping_version=plan.version,
            reason=reason,
        )
        return emit.dead_letter(message, outcome, stage="map", code=code)

    def _without_version(self, message: Message, plan: FlowPlan, event: Event) -> list[Output]:
        """The record is known all the same: no version of a flow changes what its records are called."""
        version = h.number(message.headers, h.MAPPING_VERSION, 0)
        reason = f"the flow has no version {version}" if version > 0 else "the header mapping-version is no version"
        entity = plan.entities.get(event.entity)
        if entity is None:
            outcome = msgspec.structs.replace(self._outcome(message, plan.account, event), reason=reason)
            left = emit.dead_letter(message, outcome, stage="map", code="UNKNOWN_VERSION")
        else:
            left = self._unmapped(message, plan, entity, event, reason, code="UNKNOWN_VERSION")
        where = emit.origin(message)
        return [emit.received(message, where, event, account=plan.account, with_body=event.entity in MAPPED), *left]

    def _malformed(self, message: Message, reason: str, *, code: str) -> list[Output]:
        account = h.text(message.headers, h.ACCOUNT)
        cause = h.text(message.headers, h.CAUSE) or cause_of(message.value)
        event = Event(cause=cause, entity="", action="", source_id="", generation=Generation(0))
        outcome = msgspec.structs.replace(self._outcome(message, account, event), reason=reason)
        received = emit.received(message, emit.origin(message), event, account=account, with_body=False)
        return [received, *emit.dead_letter(message, outcome, stage="decode", code=code)]

    def _ignored(self, message: Message, plan: FlowPlan, event: Event) -> list[Output]:
        """Another entity, or one that the flow does not map; its body is not kept."""
        changed = _REFRESHING.get(event.entity) or _definitions_of(event.entity)
        outputs = []
        if changed is not None and not asks_for_preview(message):
            self._book.drop(plan.company, changed)
            outputs.append(emit.state(plan.company, state_key(plan.company, changed), None))
        reason = f"{event.entity} is not mapped"
        outcome = msgspec.structs.replace(self._outcome(message, plan.account, event), reason=reason)
        received = emit.received(message, emit.origin(message), event, account=plan.account, with_body=False)
        return [*outputs, received, emit.outcome(outcome)]

    def _outcome(self, message: Message, account: str, event: Event) -> Outcome:
        headers = message.headers
        return Outcome(
            cause=event.cause,
            flow=h.text(headers, h.FLOW),
            company=h.text(headers, h.COMPANY),
            account=account,
            record_key=NO_RECORD,
            outcome="ignored",
            received_at_ms=message.received_at_ms,
            at_ms=self._clock.now_ms(),
            entity=event.entity,
            source_id=event.source_id,
            lane=_LANES.get(h.text(headers, h.LANE), "live"),
            replay_of=h.text(headers, h.REPLAY_OF) or None,
            trace=trace_id(headers.get(h.TRACEPARENT)),
        )


def _as_replayed(event: Event, message: Message) -> Event:
    """A replay comes with a cause and a revision of its own."""
    cause = h.text(message.headers, h.CAUSE)
    if not cause:
        return event
    generation = Generation(event.generation.source_version, _revision(message))
    return msgspec.structs.replace(event, cause=cause, generation=generation)


def _revision(message: Message) -> int:
    """Raises Malformed."""
    revision = h.number(message.headers, h.REVISION, 0)
    if not 0 <= revision < MAX_REVISION:
        raise Malformed("the header revision is no time")
    return revision


def _as_read(message: Message, request: Hydrate, plan: FlowPlan, read: Read, generation: Generation) -> Message:
    """What was read, as if it had been received: this is the original of a later dead letter, and can be replayed."""
    headers = {
        **message.headers,
        h.FLOW: request.flow.encode(),
        h.COMPANY: plan.company.encode(),
        h.ACCOUNT: plan.account.encode(),
        h.RECEIVED_AT_MS: b"%d" % request.at_ms,
        h.VERIFIED_BY: b"hydrate",
        h.LANE: request.lane.encode(),
        h.OBJECT: f"{request.entity}/{request.source_id}".encode(),
        h.GENERATION: str(generation).encode(),
        **({h.FORCE: b"1"} if request.force else {}),
    }
    return message._replace(value=encode_json(read.data), headers=headers)


def _bare_event(request: Hydrate, cause: str, generation: Generation) -> Event:
    return Event(
        cause=cause, entity=request.entity, action="change", source_id=request.source_id, generation=generation
    )


def _definitions_of(entity: str) -> str | None:
    """`dealField`, `organization_field`, ...: how these events are called is unconfirmed (docs/unproven.md)."""
    name = entity.lower().replace("_", "").removesuffix("s")
    found = name.removesuffix("field")
    return found if found != name and found in MAPPED else None
