"""The vocabulary of metrics: its page, its names in Prometheus, and how it is read."""

from __future__ import annotations

import asyncio
from pathlib import Path

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ml_connector.common import measuring
from ml_connector.common.metrics import ALL, BEHIND, PRODUCED, VOCABULARY, Metric, document

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
# Whoever adds one answers for how many values it can have.
BOUNDED = {
    "account": "configured", "flow": "configured", "company": "configured", "result": "3", "outcome": "4", "did": "3", "stage": "5",
    "record_type": "4", "state": "2", "topic": "13", "group": "3", "partition": "fixed", "peer.service": "2",
    "http.request.method": "5", "http.response.status_code": "some 20",
}  # fmt: skip


def exported(metric: Metric) -> set[str]:
    """The names of the samples that the exporter makes of it."""
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry, disable_target_info=True)])
    meter = provider.get_meter("test")
    match metric.kind:
        case "histogram":
            meter.create_histogram(metric.name, metric.unit).record(1.0)
        case "counter":
            meter.create_observable_counter(metric.name, [lambda _: [Observation(1)]], metric.unit)
        case "gauge":
            meter.create_observable_gauge(metric.name, [lambda _: [Observation(1)]], metric.unit)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name for family in families for sample in family.samples}


def test_page_is_what_the_vocabulary_says() -> None:
    assert PAGE.read_text() == document(), "run: python -m ml_connector.cli.metric_docs > docs/metrics.md"


def test_names_in_prometheus_are_those_that_the_exporter_makes() -> None:
    for metric in VOCABULARY:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        assert exported(metric) == {f"{metric.in_prometheus}{suffix}" for suffix in suffixes}


def test_each_is_named_once_and_has_few_series() -> None:
    assert len({metric.name for metric in VOCABULARY}) == len(VOCABULARY)
    for metric in VOCABULARY:
        assert set(metric.attributes) <= set(BOUNDED), f"how many values has each of {metric.attributes}?"
        assert metric.services
        assert set(metric.services) <= set(ALL)


def test_a_counter_is_the_sum_of_what_was_counted() -> None:
    before = measuring.counted(PRODUCED).get((), 0)

    measuring.count(PRODUCED)
    measuring.count(PRODUCED, by=2)

    assert measuring.counted(PRODUCED)[()] == before + 3


async def test_what_a_gauge_tells_of_is_read_on_the_loop() -> None:
    """The exporter has a thread of its own; a dict that the loop changes must not be walked there."""
    seen: list[asyncio.AbstractEventLoop] = []

    def values() -> list[measuring.Reading]:
        seen.append(asyncio.get_running_loop())
        return [(7, {})]

    measuring.read(BEHIND, values)
    there = await asyncio.to_thread(lambda: list(measuring.reading(BEHIND)))
    here = list(measuring.reading(BEHIND))

    assert there == here == [(7, {})]
    assert set(seen) == {asyncio.get_running_loop()}


async def test_a_gauge_that_fails_tells_nothing_and_spoils_no_other() -> None:
    def values() -> list[measuring.Reading]:
        raise KeyError("gone")

    measuring.read(BEHIND, values)

    assert await asyncio.to_thread(lambda: list(measuring.reading(BEHIND))) == []
