"""One trace from the webhook to the NetSuite call: W3C trace context in message headers (facts/kafka.md section 6).

Nothing is recorded unless OTEL_EXPORTER_OTLP_ENDPOINT is set, and costs next to nothing then; the trace id travels
either way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ml_connector.common import measuring
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.traceparent import new_traceparent

Attributes = Mapping[str, str | int | bool]

RECORDING: Final = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
_W3C: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("ml_connector")


def configure(service: str) -> None:
    """Measure; and export spans and metrics by OTLP over HTTP if the standard environment variables ask for it."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    named = "OTEL_SERVICE_NAME" in os.environ or f"{SERVICE_NAME}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {SERVICE_NAME: f"ml-connector-{service}"})
    measuring.begin(service, resource, exported=RECORDING)
    if not RECORDING:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracing)


def shutdown() -> None:
    """Send what is still buffered."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if hasattr(provider, "shutdown"):
            provider.shutdown()


class Carried:
    """What a span is while nothing is recorded: the trace context, which travels on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Carried:
        return self

    def __exit__(self, *error: object) -> None: ...

    def tell(self, name: str, value: str | int) -> None:
        """An attribute that is known only later."""

    def end(self) -> None:
        """Of one that was made by `begin`."""


class Recorded(Carried):
    """A span of the SDK."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(span))
        super().__init__(carrier.get(TRACEPARENT) or new_traceparent())
        self._span = span

    def tell(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)

    def end(self) -> None:
        self._span.end()


def begin(name: str, kind: SpanKind, *, parent: bytes | None = None) -> Carried:
    """A span that is ended by a callback, and is nobody's current one."""
    if RECORDING:
        return Recorded(_TRACER.start_span(name, context=_parent(parent), kind=kind))
    return _carried(parent)


def span(
    name: str, kind: SpanKind, *, parent: bytes | None = None, attributes: Attributes | None = None
) -> AbstractContextManager[Carried]:
    """A span named as the semantic conventions say: `process pipedrive.events`, `PUT customer`, ...

    `parent`: the traceparent that it was caused by. Its own is to be sent on.
    """
    if RECORDING:
        return _recorded(name, kind, parent, attributes)
    return _carried(parent)


def _carried(parent: bytes | None) -> Carried:
    return Carried(parent.decode("ascii", "replace") if parent else new_traceparent())


def _parent(parent: bytes | None) -> Context:
    return _W3C.extract({TRACEPARENT: parent.decode("ascii", "replace")} if parent else {})


@contextmanager
def _recorded(name: str, kind: SpanKind, parent: bytes | None, attributes: Attributes | None) -> Iterator[Carried]:
    with _TRACER.start_as_current_span(
        name, context=_parent(parent), kind=kind, attributes=attributes, record_exception=False
    ) as current:
        yield Recorded(current)
