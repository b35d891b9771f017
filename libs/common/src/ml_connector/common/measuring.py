"""Count, and give it away: to Prometheus as text, over OTLP when the standard variables ask for it.

What happens often costs an addition to a plain number, which is read when somebody looks. Gauges are read on the event
loop, whoever looks: what they tell of belongs to it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry import metrics as otel
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics.export import CardinalityLimits, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from ml_connector.common.logs import get_logger
from ml_connector.common.metrics import REQUEST_DURATION, VOCABULARY, Metric

log = get_logger()

# A number with its attributes.
Reading = tuple[float, dict[str, str]]
Read = Callable[[], Iterable[Reading]]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LOOP_S: Final = 5.0  # a loop that does not come round within this is what /livez tells of
SERIES: Final = 100_000  # of one metric: accounts times statuses; the SDK would drop what is beyond 2,000
BUCKETS_S: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)  # NetSuite takes up to 60 s
_LIMITS: Final[CardinalityLimits] = {ObservableCounter: SERIES, ObservableGauge: SERIES, SdkHistogram: SERIES}

_counts: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(int))
_reads: dict[str, Read] = {}
_durations: Histogram | None = None
_registry: CollectorRegistry | None = None


def count(metric: Metric, *values: str, by: float = 1) -> None:
    """Add to a counter; `values`: of its attributes, in the vocabulary's order."""
    _counts[metric.name][values] += by


def counted(metric: Metric) -> dict[tuple[str, ...], float]:
    """A counter since the start, by its attributes' values."""
    return dict(_counts[metric.name])


def read(metric: Metric, values: Read) -> None:
    """Where a gauge, or a counter that is kept elsewhere, is read; the last one who says so counts."""
    _reads[metric.name] = _on_the_loop(values)


def took(peer: str, method: str, status: str, seconds: float) -> None:
    """A vendor has answered, or not."""
    if _durations is not None:
        _durations.record(seconds, dict(zip(REQUEST_DURATION.attributes, (peer, method, status), strict=True)))


def begin(service: str, resource: Resource, *, exported: bool) -> None:
    """Make the instruments of this service. `exported`: over OTLP, too."""
    global _durations, _registry  # noqa: PLW0603  one process measures once
    from opentelemetry.exporter.prometheus import PrometheusMetricReader

    _registry = CollectorRegistry()
    ProcessCollector(registry=_registry)
    readers: list[MetricReader] = [
        PrometheusMetricReader(scope_info_enabled=False, registry=_registry, cardinality_limits=_LIMITS)
    ]
    if exported:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(), cardinality_limits=_LIMITS))
    otel.set_meter_provider(MeterProvider(readers, resource=resource))
    meter = otel.get_meter("ml_connector")
    for metric in VOCABULARY:
        if service not in metric.services:
            continue
        if metric.kind == "histogram":
            _durations = meter.create_histogram(
                metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=BUCKETS_S
            )
        else:
            make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            make(metric.name, [_observing(metric)], metric.unit, metric.description)


def exposition() -> bytes:
    """What Prometheus reads. Not on the event loop: it waits for it."""
    return b"" if _registry is None else generate_latest(_registry)


def reading(metric: Metric) -> Iterable[Reading]:
    """Its numbers now. Not on the event loop, unless it is the one that they are read on."""
    if metric.name in _reads:
        return _reads[metric.name]()
    rows = tuple(_counts[metric.name].items()) if metric.kind == "counter" else ()
    return [(value, dict(zip(metric.attributes, values, strict=True))) for values, value in rows]


def _observing(metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, attributes) for value, attributes in reading(metric)]

    return observe


def _on_the_loop(values: Read) -> Read:
    """The exporter has a thread of its own, and what it reads changes on the loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return values

    async def look() -> list[Reading]:
        return list(values())

    def elsewhere() -> Iterable[Reading]:
        if loop.is_closed() or _running() is loop:
            return values()
        asked = look()
        try:
            return asyncio.run_coroutine_threadsafe(asked, loop).result(LOOP_S)
        except Exception as error:  # noqa: BLE001  a gauge that fails, a loop that is stuck or just closed: the others are told
            asked.close()
            log.warning("not_measured", error=type(error).__name__)
            return []

    return elsewhere


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
