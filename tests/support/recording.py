"""Spans of this process, as they would be exported."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from ml_connector.common import telemetry
from ml_connector.common.sampling import Ids, Linked
from ml_connector.common.telemetry import Recorder

RECORDED = f"00-{'a' * 32}-{'b' * 16}-01"
DROPPED = f"00-{'c' * 32}-{'d' * 16}-00"


class Recording:
    """As a process that exports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._exporter = InMemorySpanExporter()
        self.by(DEFAULT_ON)

    def by(self, sampler: Sampler) -> None:
        """Under another sampler."""
        ids = Ids()
        provider = TracerProvider(id_generator=ids, sampler=Linked(sampler), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._monkeypatch.setattr(telemetry, "_recorder", Recorder(provider.get_tracer("t"), provider.sampler, ids))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def one(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def named(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.name == name)
        return span
