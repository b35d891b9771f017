"""Spans: which are recorded, what travels on where none is, and what is never said."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, DEFAULT_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from ml_connector.common import logs, spans, telemetry
from ml_connector.common.errors import InvalidSettings
from ml_connector.common.headers import TRACEPARENT
from ml_connector.common.sampling import Linked
from ml_connector.common.traceparent import current, new_traceparent, parse, sampled, trace_id
from support.recording import DROPPED, RECORDED, Recording


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    return Recording(monkeypatch)


def test_without_recording_the_context_travels_on() -> None:
    with telemetry.span("process t", SpanKind.CONSUMER, parent=RECORDED) as span:
        assert (span.traceparent, current()) == (RECORDED, RECORDED)
    with telemetry.span("process t", SpanKind.CONSUMER) as span:
        assert parse(span.traceparent) and not sampled(span.traceparent)
    assert current() == ""


def test_child_is_of_its_parents_trace_and_passes_its_own_id_on(recording: Recording) -> None:
    with telemetry.span("process t", SpanKind.CONSUMER, parent=RECORDED) as span:
        assert trace_id(span.traceparent) == "a" * 32
        assert current() == span.traceparent != RECORDED

    assert recording.one.parent is not None
    assert f"{recording.one.parent.span_id:016x}" == "b" * 16
    assert parse(span.traceparent)[1] == recording.one.context.span_id  # type: ignore[index]  # it parses
    assert sampled(span.traceparent)


def test_child_of_a_dropped_trace_is_dropped(recording: Recording) -> None:
    with telemetry.span("process t", SpanKind.CONSUMER, parent=DROPPED) as span:
        assert span.traceparent == DROPPED

    assert recording.spans == ()


def test_sampler_that_does_not_follow_parents_is_asked_about_each(recording: Recording) -> None:
    recording.by(ALWAYS_ON)
    assert telemetry.recorded(DROPPED)

    telemetry.span("process t", SpanKind.CONSUMER, parent=DROPPED).end()

    assert len(recording.spans) == 1


def test_of_the_traces_that_begin_here_the_sampler_takes_its_share(recording: Recording) -> None:
    """What the first look decides, the SDK decides too: the id is chosen before."""
    recording.by(ParentBased(TraceIdRatioBased(0.25)))
    contexts = []
    for _ in range(2000):
        span = telemetry.span("POST /", SpanKind.SERVER)
        contexts.append(span.traceparent)
        span.end()

    taken = {trace_id(text) for text in contexts if sampled(text)}

    assert 400 < len(taken) < 600
    assert {f"{span.context.trace_id:032x}" for span in recording.spans} == taken
    assert len({trace_id(text) for text in contexts}) == 2000


def test_ratio_is_known_without_asking_the_sampler() -> None:
    """What is dropped, which is most, costs a comparison."""
    assert Linked(ParentBased(TraceIdRatioBased(0.25))).bound == Linked(TraceIdRatioBased(0.25)).bound == 1 << 62
    assert Linked(DEFAULT_ON).bound is None


def test_batch_is_recorded_if_one_of_its_members_is_and_both_link_to_each_other(recording: Recording) -> None:
    recording.by(ParentBased(ALWAYS_OFF))

    with spans.batch("t", [DROPPED, DROPPED], {}):
        assert not sampled(current())
    with spans.batch("t", [DROPPED, RECORDED, DROPPED], {}):
        within = current()

    part, whole = recording.named("batch process t"), recording.named("process t")
    assert [f"{link.context.trace_id:032x}" for link in whole.links] == ["a" * 32]
    assert (whole.parent, f"{whole.context.trace_id:032x}") == (None, trace_id(within))
    assert dict(whole.attributes or {})["messaging.batch.message_count"] == 3
    assert part.parent is not None
    assert f"{part.parent.span_id:016x}" == "b" * 16
    assert [link.context.span_id for link in part.links] == [whole.context.span_id]
    assert len(recording.spans) == 2


def test_batch_of_one_is_part_of_its_trace(recording: Recording) -> None:
    with spans.batch("t", [RECORDED], {}):
        assert current() == RECORDED

    assert recording.spans == ()


def test_replay_is_recorded_if_the_original_was(recording: Recording) -> None:
    recording.by(ParentBased(ALWAYS_OFF))

    spans.sending("t", links=[DROPPED]).end()
    spans.sending("t", links=["what an old letter says"]).end()
    spans.sending("t", links=[RECORDED]).end()

    assert len(recording.one.links) == 1
    assert recording.one.context.trace_id != int("a" * 32, 16)


def test_error_is_told_by_its_type_and_never_by_its_text(recording: Recording) -> None:
    with pytest.raises(ValueError, match="Jane"), telemetry.span("process t", SpanKind.CONSUMER, parent=RECORDED):
        raise ValueError("Jane Doe")

    assert recording.one.status.status_code is StatusCode.ERROR
    assert (recording.one.status.description, recording.one.events) == (None, ())
    assert dict(recording.one.attributes or {}) == {"error.type": "ValueError"}


def test_first_word_about_what_failed_stays(recording: Recording) -> None:
    with pytest.raises(RuntimeError), telemetry.span("POST /", SpanKind.SERVER) as span:
        span.fail("503")
        raise RuntimeError

    assert dict(recording.one.attributes or {}) == {"error.type": "503"}


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/services/rest/record/v1/customer/eid:pd-org-7", "/services/rest/record/v1/customer/eid:{external_id}"),
        ("/services/rest/record/v1/contact/4711", "/services/rest/record/v1/contact/{id}"),
        ("/services/rest/query/v1/suiteql?limit=1000", "/services/rest/query/v1/suiteql"),
        ("/services/rest/async/v1/job/J_1/task/2/result", "/services/rest/async/v1/job/{id}/task/{id}/result"),
        ("/services/rest/async/v1/job/J_1/task/", "/services/rest/async/v1/job/{id}/task/"),
        ("/services/rest/system/v1/governanceLimits", "/services/rest/system/v1/governanceLimits"),
        ("/api/v2/persons/12?include=x@y.example", "/api/v2/persons/{id}"),
    ],
)
def test_request_is_called_by_its_kind_without_ids_and_query(recording: Recording, path: str, template: str) -> None:
    with spans.request("GET", "host", path, parent=RECORDED) as span:
        spans.answered(span, 200)

    assert recording.one.name == f"GET {template}"
    assert path.partition("?")[2] not in repr(dict(recording.one.attributes or {})) or "?" not in path


def test_request_for_nobody_has_no_span(recording: Recording) -> None:
    spans.request("GET", "host", "/x").end()

    assert recording.spans == ()


def test_message_is_processed_as_the_child_of_its_sender(recording: Recording) -> None:
    headers = {TRACEPARENT: RECORDED.encode(), "flow": b"acme"}

    spans.processing("t", 3, 17, group="g", headers=headers).end()

    assert dict(recording.one.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "t",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 17,
        "messaging.consumer.group.name": "g",
        "ml_connector.flow": "acme",
    }


@pytest.mark.parametrize("text", ["", "x", RECORDED[:-1], RECORDED.replace("a", "g"), f"00-{'0' * 32}-{'b' * 16}-01"])
def test_what_is_no_traceparent_names_nothing(text: str) -> None:
    assert parse(text) is None


def test_new_one_is_one_and_not_sampled() -> None:
    assert parse(new_traceparent()) is not None
    assert not sampled(new_traceparent())
    assert [sampled(DROPPED[:-1] + digit) for digit in "0123"] == [False, True, False, True]


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False, False),
    ],
)
def test_standard_variables_say_what_is_exported(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], traces: bool, metrics: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert (telemetry._exported("TRACES"), telemetry._exported("METRICS")) == (traces, metrics)


def test_protocol_that_is_not_spoken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")

    with pytest.raises(
        InvalidSettings, match="OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not spoken here, use http/protobuf"
    ):
        telemetry._exported("TRACES")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    to = io.StringIO()
    logs.configure("test", to=to)
    yield to
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_log_line_names_the_trace_and_the_span_if_it_is_recorded(logged: io.StringIO, recording: Recording) -> None:
    with telemetry.span("process t", SpanKind.CONSUMER, parent=RECORDED):
        logs.get_logger().info("within")
    with telemetry.span("process t", SpanKind.CONSUMER, parent=DROPPED):
        logs.get_logger().info("within")
    logs.get_logger().info("outside")

    recorded, dropped, outside = [json.loads(line) for line in logged.getvalue().splitlines()]

    assert (recorded["trace_id"], recorded["span_id"]) == ("a" * 32, f"{recording.one.context.span_id:016x}")
    assert (dropped["trace_id"], "span_id" in dropped) == ("c" * 32, False)
    assert "trace_id" not in outside
