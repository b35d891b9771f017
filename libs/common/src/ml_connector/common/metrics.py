"""What is measured: one closed vocabulary. OTLP carries it when OTEL_EXPORTER_OTLP_ENDPOINT is set (`telemetry.py`).

Attributes are flows, accounts and outcomes, never a person or a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

Metric = Literal[
    "ml_connector.ingest.deliveries",  # webhook deliveries since the start, by flow and result
    "ml_connector.admin.accounting_difference",  # causes without exactly one outcome, by account
    "ml_connector.admin.behind",  # messages that are not materialized yet
    "ml_connector.netsuite_writer.certificate_left",  # until NetSuite refuses our logins, by account
]
_UNITS: Final[dict[Metric, str]] = {
    "ml_connector.ingest.deliveries": "{delivery}",
    "ml_connector.admin.accounting_difference": "{cause}",
    "ml_connector.admin.behind": "{message}",
    "ml_connector.netsuite_writer.certificate_left": "s",
}

# A number with its attributes.
Reading = tuple[int, dict[str, str]]


def count(name: Metric, read: Callable[[], Iterable[Reading]]) -> None:
    """A counter that is kept elsewhere and read when it is exported, so that counting costs an addition."""
    metrics.get_meter("ml_connector").create_observable_counter(name, callbacks=[_observing(read)], unit=_UNITS[name])


def gauge(name: Metric, read: Callable[[], Iterable[Reading]]) -> None:
    """A number that goes up and down, read when it is exported."""
    metrics.get_meter("ml_connector").create_observable_gauge(name, callbacks=[_observing(read)], unit=_UNITS[name])


def _observing(read: Callable[[], Iterable[Reading]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, attributes) for value, attributes in read()]

    return observe
