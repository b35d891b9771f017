"""What was exported over OTLP, decoded: spans as trees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Exported
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from support.listener import Listener

Tree = tuple[str, list[Any]]  # a span as "<service> <kind> <name>", and its children in order of time


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    started_ns: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]  # trace, span
    failed: bool
    message: str

    @property
    def title(self) -> str:
        return f"{self.service} {self.kind} {self.name}"


class Spans:
    """All that a listener has heard so far."""

    def __init__(self, exports: Listener) -> None:
        self.all = [
            _span(span, {one.key: _value(one.value) for one in resource.resource.attributes})
            for heard in list(exports.heard)
            if heard.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(heard.body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of(self, trace_id: str) -> list[Span]:
        return [span for span in self.all if span.trace_id == trace_id]

    def one(self, trace_id: str, name: str, number: int = 0) -> Span:
        """Of those called so, the oldest first."""
        found = sorted((span for span in self.of(trace_id) if span.name == name), key=lambda span: span.started_ns)
        return found[number]

    def tree(self, trace_id: str) -> list[Tree]:
        """The roots; a span whose parent was not exported is one, too."""
        spans = self.of(trace_id)
        known = {span.span_id for span in spans}
        return _below(spans, (span for span in spans if span.parent_id not in known))


def _below(spans: list[Span], these: Iterable[Span]) -> list[Tree]:
    return [
        (span.title, _below(spans, (child for child in spans if child.parent_id == span.span_id)))
        for span in sorted(these, key=lambda span: span.started_ns)
    ]


def _span(span: Exported, resource: dict[str, Any]) -> Span:
    return Span(
        service=resource["service.name"].removeprefix("ml-connector-"),
        name=span.name,
        kind=Exported.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        started_ns=span.start_time_unix_nano,
        attributes={one.key: _value(one.value) for one in span.attributes},
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
    )


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
