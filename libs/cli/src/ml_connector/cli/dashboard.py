"""Make the Grafana dashboard: `python -m ml_connector.cli.dashboard > deploy/monitoring/dashboard.json`.

A test compares, and checks every query against the vocabulary of docs/metrics.md.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

WIDTH: Final = 24
HEIGHT: Final = 8

# Row -> panels: title, unit, queries with their legends.
Query = tuple[str, str]
ROWS: Final[dict[str, list[tuple[str, str, list[Query]]]]] = {
    "Is all well?": [
        ("Oldest unsettled event", "s", [("max by (flow) (ml_connector_admin_oldest_unsettled_seconds)", "{{flow}}")]),
        ("Stopped", "short", [
            ("max by (account, record_type) (ml_connector_netsuite_writer_suspended)", "{{account}} {{record_type}}"),
            ("max by (company) (ml_connector_resolver_company_suspended)", "{{company}}"),
            ("max by (flow) (ml_connector_netsuite_writer_flow_halted)", "{{flow}} halted"),
            ("max by (flow) (ml_connector_admin_flow_paused)", "{{flow}} paused"),
        ]),
        ("Accounting differences", "short", [
            ("max by (account) (ml_connector_admin_accounting_difference)", "{{account}}"),
        ]),
    ],
    "Outcomes": [
        ("Outcomes", "ops", [("sum by (outcome) (rate(ml_connector_outcomes_total[5m]))", "{{outcome}}")]),
        ("Dead letters", "short", [
            ("sum by (stage) (increase(ml_connector_dead_letters_total[1h]))", "{{stage}}, in an hour"),
            ("sum by (account) (max by (account, stage) (ml_connector_admin_open_dead_letters))", "{{account}}, open"),
        ]),
        ("Changed in NetSuite", "short", [
            ("sum by (flow, did) (increase(ml_connector_netsuite_writer_drift_total[1h]))",
             "{{flow}} {{did}}, in an hour"),
        ]),
    ],
    "Ingest": [
        ("Answers", "ops", [
            ("sum by (http_response_status_code) (rate(ml_connector_ingest_answers_total[5m]))",
             "{{http_response_status_code}}"),
        ]),
        ("Deliveries", "ops", [
            ("sum by (flow, result) (rate(ml_connector_ingest_deliveries_total[5m]))", "{{flow}} {{result}}"),
        ]),
        ("Time to answer, mean", "s", [
            ("sum(rate(ml_connector_ingest_answering_seconds_total[5m]))"
             " / sum(rate(ml_connector_ingest_answers_total[5m]))", "mean"),
        ]),
        ("Requests in flight", "short", [("sum(ml_connector_ingest_in_flight)", "in flight")]),
    ],
    "Waiting": [
        ("Lag", "short", [("sum by (group, topic) (max by (group, topic, partition) (ml_connector_kafka_lag))",
                           "{{topic}}")]),
        ("Put aside", "short", [("sum by (topic) (ml_connector_resolver_set_aside)", "{{topic}}"),
                                ("sum(rate(ml_connector_resolver_deferred_total[5m]))", "put aside a second")]),
        ("Unsettled records", "short", [("max by (account) (ml_connector_netsuite_writer_unsettled)", "{{account}}")]),
        ("In doubt", "short", [("max by (account) (ml_connector_netsuite_writer_in_doubt)", "{{account}}")]),
    ],
    "Vendors": [
        ("Slots", "short", [
            ("max by (account) (ml_connector_netsuite_writer_slots_used)", "{{account}} used"),
            ("max by (account) (ml_connector_netsuite_writer_slots_limit)", "{{account}} limit"),
            ("max by (account) (ml_connector_netsuite_writer_slots_ceiling)", "{{account}} ceiling"),
        ]),
        ("Attempts", "ops", [
            ("sum by (http_response_status_code) (rate(ml_connector_netsuite_writer_attempts_total[5m]))",
             "{{http_response_status_code}}"),
        ]),
        ("Requests to vendors", "ops", [
            ("sum by (peer_service, http_response_status_code)"
             " (rate(ml_connector_vendor_request_duration_seconds_count[5m]))",
             "{{peer_service}} {{http_response_status_code}}"),
        ]),
        ("Their duration, 95th percentile", "s", [
            ("histogram_quantile(0.95, sum by (peer_service, le)"
             " (rate(ml_connector_vendor_request_duration_seconds_bucket[5m])))", "{{peer_service}}"),
        ]),
        ("Pipedrive tokens left", "percentunit", [
            ("min by (company) (ml_connector_resolver_tokens_left / ml_connector_resolver_tokens_limit)",
             "{{company}}"),
        ]),
        ("Certificates", "s", [
            ("min by (account) (ml_connector_netsuite_writer_certificate_left_seconds)", "{{account}}"),
        ]),
    ],
    "Inside": [
        ("Messages produced", "ops", [("sum by (job) (rate(ml_connector_kafka_produced_total[5m]))", "{{job}}"),
                                      ("sum by (job) (rate(ml_connector_kafka_produce_errors_total[5m]))",
                                       "{{job}}, not taken")]),
        ("Messages resolved", "ops", [
            ("sum by (topic) (rate(ml_connector_resolver_messages_total[5m]))", "{{topic}}"),
            ("sum(ml_connector_netsuite_writer_unreadable)", "unreadable"),
        ]),
        ("Partitions", "short", [("sum by (state) (ml_connector_netsuite_writer_partitions)", "{{state}}")]),
        ("Admin behind", "short", [("min(ml_connector_admin_behind)", "messages")]),
        ("Committed", "ops", [
            ("sum by (group, topic) (max by (group, topic, partition) (deriv(ml_connector_kafka_committed[5m])))",
             "{{topic}}"),
        ]),
    ],
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row, made in ROWS.items():
        panels.append({"type": "row", "title": row, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}})
        y += 1
        for start in range(0, len(made), 3):
            together = made[start : start + 3]
            width = WIDTH // len(together)
            for number, (title, unit, queries) in enumerate(together):
                place = {"h": HEIGHT, "w": width, "x": number * width, "y": y}
                panels.append(_panel(title, unit, queries, place))
            y += HEIGHT
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number
    return {
        "uid": "ml-connector",
        "title": "ml-connector",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }


def document() -> str:
    """deploy/monitoring/dashboard.json."""
    return json.dumps(dashboard(), indent=2) + "\n"


def _panel(title: str, unit: str, queries: list[Query], place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(queries)
        ],
    }


if __name__ == "__main__":
    sys.stdout.write(document())
