"""Which traces are recorded, beyond what OTEL_TRACES_SAMPLER says: those that have to do with a recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class Ids(RandomIdGenerator):
    """Lets a trace's id be chosen before its first span, so that one that is not sampled needs none."""

    def __init__(self) -> None:
        self._chosen = 0

    def choose(self, trace_id: int) -> None:
        self._chosen = trace_id

    def generate_trace_id(self) -> int:
        chosen, self._chosen = self._chosen, 0
        return chosen or super().generate_trace_id()


class Linked(Sampler):
    """A batch, a replay: its trace is recorded if one that it links to is, and otherwise as any other."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise: Final = otherwise
        # The standard's `parentbased_...`: what a parent does not record, nobody asks about.
        self.follows_parents = isinstance(otherwise, ParentBased)
        root = getattr(otherwise, "_root", otherwise)  # of ParentBased; it has no public name
        # Of a trace that begins: it is recorded if its id's lower 64 bits are below. None: only the sampler knows.
        self.bound = root.bound if isinstance(root, TraceIdRatioBased) else None

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        begins = not trace.get_current_span(parent_context).get_span_context().is_valid
        linked = begins and any(link.context.trace_flags.sampled for link in links or ())
        sampler = ALWAYS_ON if linked else self._otherwise
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"Linked{{{self._otherwise.get_description()}}}"
