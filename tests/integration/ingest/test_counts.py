"""What ingest tells of itself: over OTLP, to a receiver of ours, and to Prometheus."""

from __future__ import annotations

import httpx2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from ml_connector.cli.stack import FLOW, Stack, StackOptions
from support.door import Door
from support.listener import Listener
from support.writing import until

DELIVERIES = "ml_connector.ingest.deliveries"


def counted(exports: Listener) -> dict[tuple[str, str], int]:
    """The newest number of each flow and result."""
    found: dict[tuple[str, str], int] = {}
    for heard in list(exports.heard):
        for resource in ExportMetricsServiceRequest.FromString(heard.body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.sum.data_points if metric.name == DELIVERIES else ():
                    told = {each.key: each.value.string_value for each in point.attributes}
                    found[told["flow"], told["result"]] = point.as_int
    return found


async def test_deliveries_are_counted_by_flow_and_result() -> None:
    with Listener(lambda _: 200) as exports:
        exporting = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{exports.url}/v1/metrics",
            "OTEL_EXPORTER_OTLP_ENDPOINT": exports.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_TRACES_SAMPLER": "always_off",
        }
        options = StackOptions(processes=("broker", "ingest"), environment={"ingest": exporting})
        async with Stack(options) as stack, httpx2.AsyncClient(timeout=20) as http:
            door = Door(stack, http)
            answers = [await door.post() for _ in range(3)]
            answers += [await door.post(signature="0" * 64) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [204] * 3 + [401] * 2

            async def told() -> bool:
                return sum(counted(exports).values()) == 5

            await until(told, within_s=20)
            page = (await http.get(stack.facts.metrics["ingest"])).text
            hidden = await http.get(f"{stack.urls['ingest']}/metrics")
    assert hidden.status_code == 404  # the public port has none
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["ml_connector_ingest_deliveries_total", FLOW, "accepted"] == 3
    assert samples["ml_connector_ingest_answers_total", "204"] == 3
    assert samples["ml_connector_ingest_answers_total", "401"] == 2
    assert samples["ml_connector_ingest_in_flight",] == 0
    assert 0 < samples["ml_connector_ingest_answering_seconds_total",] < 60
    assert samples["ml_connector_kafka_produced_total",] >= 3
    assert counted(exports) == {(FLOW, "accepted"): 3, (FLOW, "refused"): 2, (FLOW, "unavailable"): 0}
