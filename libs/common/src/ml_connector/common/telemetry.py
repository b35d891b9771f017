"""One trace from the webhook to the NetSuite call: W3C trace context in message headers (facts/kafka.md section 6).

Nothing is recorded unless OTEL_EXPORTER_OTLP_ENDPOINT is set; the trace id travels either way.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ml_connector.common.headers import TRACEPARENT, Headers

_W3C: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("ml_connector")

Attributes = Mapping[str, str | int | bool]


def configure(service: str) -> None:
    """Export spans by OTLP over HTTP if the standard environment variables ask for it."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: f"ml-connector-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def shutdown() -> None:
    """Send what is still buffered."""
    provider = trace.get_tracer_provider()
    if hasattr(provider, "shutdown"):
        provider.shutdown()


def new_traceparent() -> str:
    """A fresh, unsampled W3C trace context, for an event that came without one."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def parent_of(headers: Headers) -> Context:
    """The context that a message was made in."""
    value = headers.get(TRACEPARENT)
    return _W3C.extract({TRACEPARENT: value.decode("ascii", "replace")} if value else {})


def trace_id(traceparent: str | bytes | None) -> str:
    """The 32 hex digits of a traceparent; empty when there is none."""
    text = traceparent.decode("ascii", "replace") if isinstance(traceparent, bytes) else traceparent or ""
    parts = text.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""


@contextmanager
def span(
    name: str, kind: SpanKind, *, parent: Context | None = None, attributes: Attributes | None = None
) -> Iterator[Span]:
    """A span named as the semantic conventions say: `process pipedrive.events`, `PUT customer`, ..."""
    with _TRACER.start_as_current_span(
        name, context=parent, kind=kind, attributes=attributes, record_exception=False
    ) as current:
        yield current


def traceparent(current: Span) -> str:
    """The W3C form of a span's context, to be sent on; a new one when the span carries none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(current))
    return carrier.get(TRACEPARENT) or new_traceparent()
