"""One trace from the webhook to the NetSuite call: W3C trace context in message headers (facts/kafka.md section 6).

Spans are exported by OTLP over HTTP when the standard environment variables ask for it. Otherwise, and for what is not
sampled, a span costs next to nothing: only the trace context travels on. `spans.py` says what spans are called.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextvars import Token
from typing import Any, Final, Literal

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ml_connector.common import measuring, traceparent
from ml_connector.common.errors import InvalidSettings
from ml_connector.common.traceparent import doing, new_traceparent, sampled

Attributes = Mapping[str, str | int | bool]

PROTOCOL: Final = "http/protobuf"
ERROR_TYPE: Final = "error.type"

_recorder: Recorder | None = None  # None: nothing is recorded


def configure(service: str) -> None:
    """Measure; and export what the standard environment variables ask for. Raises InvalidSettings."""
    global _recorder  # noqa: PLW0603  one process, one recorder
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    named = "OTEL_SERVICE_NAME" in os.environ or f"{SERVICE_NAME}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {SERVICE_NAME: f"ml-connector-{service}"})
    measuring.begin(service, resource, exported=_exported("METRICS"))
    if not _exported("TRACES"):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from ml_connector.common.sampling import Ids, Linked

    ids = Ids()
    # Of itself the SDK would add metrics that are not in the vocabulary.
    provider = TracerProvider(resource=resource, id_generator=ids, meter_provider=metrics.NoOpMeterProvider())
    provider.sampler = Linked(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _recorder = Recorder(provider.get_tracer("ml_connector"), provider.sampler, ids)


def _exported(signal: Literal["TRACES", "METRICS"]) -> bool:
    """As the OpenTelemetry specification says, but for one thing: without an endpoint there is none."""
    given = os.environ.get
    endpoint = given("OTEL_EXPORTER_OTLP_ENDPOINT") or given(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    disabled = given("OTEL_SDK_DISABLED", "").lower() == "true" or given(f"OTEL_{signal}_EXPORTER") == "none"
    if disabled or not endpoint:
        return False
    name = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    name = name if name in os.environ else "OTEL_EXPORTER_OTLP_PROTOCOL"
    if given(name, PROTOCOL) != PROTOCOL:
        raise InvalidSettings(f"{name}: {given(name)} is not spoken here, use {PROTOCOL} (a collector speaks both)")
    return True


def shutdown() -> None:
    """Send what is still buffered."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if hasattr(provider, "shutdown"):
            provider.shutdown()


class Carried:
    """What a span is while nothing is recorded: the trace context, which travels on."""

    __slots__ = ("_token", "traceparent")
    recording = False

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent
        self._token: Token[str] | None = None

    def __enter__(self) -> Carried:
        self._token = doing.set(self.traceparent)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        if self._token is not None:
            doing.reset(self._token)
        self.end(error)

    def tell(self, name: str, value: str | int | bool) -> None:
        """An attribute that is known only later."""

    def fail(self, error_type: str) -> None:
        """What went wrong, by its class; never a text that may hold a value."""

    def end(self, error: BaseException | None = None) -> None:
        """Of a span that is not used in `with`."""


class Recorded(Carried):
    """A span of the SDK."""

    __slots__ = ("_span",)
    recording = True

    def __init__(self, span: Span) -> None:
        told = span.get_span_context()
        super().__init__(f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}")
        self._span = span

    def tell(self, name: str, value: str | int | bool) -> None:
        self._span.set_attribute(name, value)

    def fail(self, error_type: str) -> None:
        self._span.set_attribute(ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, error: BaseException | None = None) -> None:
        if error is not None and ERROR_TYPE not in (getattr(self._span, "attributes", None) or {}):
            self.fail(type(error).__name__)
        self._span.end()


class Recorder:
    """Starts spans where they are sampled."""

    def __init__(self, tracer: trace.Tracer, sampler: Any, ids: Any) -> None:
        self._tracer = tracer
        self._sampler = sampler
        self._ids = ids
        self._follows_parents: bool = sampler.follows_parents
        self._bound: int | None = sampler.bound

    def start(
        self, name: str, kind: SpanKind, parent: str, links: Sequence[str], attributes: Attributes | None
    ) -> Carried:
        """A dropped root, and the child of one, never reach the SDK: that is most of what there is."""
        if parent:
            if self._follows_parents and not sampled(parent):
                return Carried(parent)
            return self._record(name, kind, _remote(parent), _links(links), attributes)
        fresh = new_traceparent()
        if not links and self._bound is not None and int(fresh[19:35], 16) >= self._bound:
            return Carried(fresh)
        linked, trace_id = _links(links), int(fresh[3:35], 16)
        if not self._sampler.should_sample(None, trace_id, name, kind, attributes, linked).decision.is_sampled():
            return Carried(fresh)
        self._ids.choose(trace_id)
        return self._record(name, kind, _NO_PARENT, linked, attributes)

    def _record(
        self, name: str, kind: SpanKind, under: context.Context, links: Sequence[Link], attributes: Attributes | None
    ) -> Carried:
        return Recorded(
            self._tracer.start_span(
                name, under, kind, attributes, links, record_exception=False, set_status_on_exception=False
            )
        )


_NO_PARENT: Final = context.Context()


def _context(text: str) -> SpanContext | None:
    found = traceparent.parse(text)
    return None if found is None else SpanContext(found[0], found[1], is_remote=True, trace_flags=TraceFlags(found[2]))


def _links(texts: Sequence[str]) -> list[Link]:
    return [Link(found) for text in texts if (found := _context(text)) is not None]


def _remote(parent: str) -> context.Context:
    found = _context(parent)
    return _NO_PARENT if found is None else trace.set_span_in_context(NonRecordingSpan(found), _NO_PARENT)


def span(
    name: str,
    kind: SpanKind,
    *,
    parent: str | bytes | None = None,
    links: Sequence[str] = (),
    attributes: Attributes | None = None,
) -> Carried:
    """A span, to be used in `with` or to be ended. `parent`: the traceparent that it was caused by; its own is to be
    sent on. Without one it begins a trace. `links`: what else it has to do with."""
    text = parent.decode("ascii", "replace") if isinstance(parent, bytes) else parent or ""
    if _recorder is None:
        return Carried(text or new_traceparent())
    return _recorder.start(name, kind, text, links, attributes)


def recorded(traceparent_: str) -> bool:
    """Whether a child of it would be: what it takes to describe one can be spared otherwise."""
    return _recorder is not None and (sampled(traceparent_) or not _recorder._follows_parents)
