"""What is measured: one closed vocabulary. docs/metrics.md is made from it; `measuring.py` counts and exports.

Attributes are flows, accounts, companies, outcomes and the like, never a person or a value. The names of attributes are
those of the semantic conventions where these have one.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
Service = Literal["ingest", "resolver", "netsuite-writer", "admin"]

INGEST: Final = ("ingest",)
RESOLVER: Final = ("resolver",)
WRITER: Final = ("netsuite-writer",)
ADMIN: Final = ("admin",)
BOTH: Final = ("resolver", "netsuite-writer")
ALL: Final = ("ingest", "resolver", "netsuite-writer", "admin")

STATUS: Final = "http.response.status_code"  # `none` when nothing was answered
METHOD: Final = "http.request.method"
PEER: Final = "peer.service"  # `pipedrive`, `netsuite`


class Metric(NamedTuple):
    """One row of the vocabulary. `unit` as UCUM writes it: `s`, or what is counted in braces."""

    name: str
    kind: Kind
    unit: str
    services: tuple[str, ...]
    attributes: tuple[str, ...]
    description: str

    @property
    def in_prometheus(self) -> str:
        """The name that queries use; of a histogram without `_bucket`, `_count` or `_sum`."""
        name = self.name.replace(".", "_")
        if self.unit == "s" and not name.endswith("_seconds"):
            name += "_seconds"
        return name + "_total" if self.kind == "counter" else name


VOCABULARY: Final[list[Metric]] = []


def _metric(
    name: str, kind: Kind, unit: str, services: tuple[str, ...], attributes: tuple[str, ...], description: str
) -> Metric:
    VOCABULARY.append(Metric(f"ml_connector.{name}", kind, unit, services, attributes, description))
    return VOCABULARY[-1]


# fmt: off
DELIVERIES: Final = _metric("ingest.deliveries", "counter", "{delivery}", INGEST, ("flow", "result"),
    "webhook deliveries to known flows: accepted, refused, unavailable")
ANSWERS: Final = _metric("ingest.answers", "counter", "{answer}", INGEST, (STATUS,),
    "answers to whatever was posted below /webhooks/")
ANSWERING: Final = _metric("ingest.answering", "counter", "s", INGEST, (),
    "time between a request's head and its answer, summed; by the answers it is their average")
IN_FLIGHT: Final = _metric("ingest.in_flight", "gauge", "{request}", INGEST, (),
    "requests that have no answer yet")

PRODUCED: Final = _metric("kafka.produced", "counter", "{message}", ALL, (),
    "messages that the broker has acknowledged, outside transactions")
PRODUCE_ERRORS: Final = _metric("kafka.produce_errors", "counter", "{message}", ALL, (),
    "messages that the broker did not take in time, and transactions that were not committed")

MESSAGES: Final = _metric("resolver.messages", "counter", "{message}", RESOLVER, ("topic",),
    "messages that were resolved, put aside or dead-lettered, by the topic they were read from")
SET_ASIDE: Final = _metric("resolver.set_aside", "gauge", "{message}", RESOLVER, ("topic",),
    "messages of pipedrive.deferred and pipedrive.requests that were read and are not finished")
DEFERRED: Final = _metric("resolver.deferred", "counter", "{message}", RESOLVER, (),
    "events and requests that were written to pipedrive.deferred")
TOKENS_LEFT: Final = _metric("resolver.tokens_left", "gauge", "{token}", RESOLVER, ("company",),
    "API tokens of Pipedrive that the flows may still spend in these 24 hours")
TOKENS_LIMIT: Final = _metric("resolver.tokens_limit", "gauge", "{token}", RESOLVER, ("company",),
    "API tokens of Pipedrive that the flows may spend in 24 hours")
COMPANY_SUSPENDED: Final = _metric("resolver.company_suspended", "gauge", "{company}", RESOLVER, ("company",),
    "1 for each company whose credentials Pipedrive refuses")

REQUEST_DURATION: Final = _metric("vendor.request_duration", "histogram", "s", BOTH, (PEER, METHOD, STATUS),
    "requests to Pipedrive and NetSuite, without the wait for a slot")
OUTCOMES: Final = _metric("outcomes", "counter", "{outcome}", BOTH, ("account", "outcome"),
    "outcomes that were recorded: written, superseded, ignored, dead_lettered; a step that is repeated after a crash "
    "counts again (the accounting does not)")
DEAD_LETTERS: Final = _metric("dead_letters", "counter", "{letter}", BOTH, ("account", "stage"),
    "dead letters by what was wrong: decode, map, write, orphan, vendor")

SLOTS_USED: Final = _metric("netsuite_writer.slots_used", "gauge", "{request}", WRITER, ("account",),
    "requests in flight to an account")
SLOTS_LIMIT: Final = _metric("netsuite_writer.slots_limit", "gauge", "{request}", WRITER, ("account",),
    "requests that may be in flight to an account now")
SLOTS_CEILING: Final = _metric("netsuite_writer.slots_ceiling", "gauge", "{request}", WRITER, ("account",),
    "requests that an account allows when it refuses none")
UNSETTLED: Final = _metric("netsuite_writer.unsettled", "gauge", "{record}", WRITER, ("account",),
    "records with a state that waits or is being written")
ATTEMPTS: Final = _metric("netsuite_writer.attempts", "counter", "{attempt}", WRITER, ("account", STATUS),
    "requests that should change a record, by answer; a batch is one")
IN_DOUBT: Final = _metric("netsuite_writer.in_doubt", "gauge", "{record}", WRITER, ("account",),
    "records whose last call was not answered: NetSuite may still execute it")
SUSPENDED: Final = _metric("netsuite_writer.suspended", "gauge", "{suspension}", WRITER, ("account", "record_type"),
    "1 for each account that is suspended (record_type all), or record type of one")
FLOW_HALTED: Final = _metric("netsuite_writer.flow_halted", "gauge", "{flow}", WRITER, ("flow",),
    "1 for each flow that was halted after many rejections in a row, until a person resumes it")
CERTIFICATE_LEFT: Final = _metric("netsuite_writer.certificate_left", "gauge", "s", WRITER, ("account",),
    "until NetSuite refuses our logins because the certificate has expired")
PARTITIONS: Final = _metric("netsuite_writer.partitions", "gauge", "{partition}", WRITER, ("state",),
    "partitions of netsuite.desired that this process owns: started, restoring")
UNREADABLE: Final = _metric("netsuite_writer.unreadable", "gauge", "{entry}", WRITER, ("partition",),
    "entries of netsuite.observed that cannot be read: a state (its record waits for a person), a call (in doubt)")
DRIFT: Final = _metric("netsuite_writer.drift", "counter", "{record}", WRITER, ("flow", "did"),
    "records that a poll or a push found other than they should be: reported, asserted (written again), given_up")

OLDEST_UNSETTLED: Final = _metric("admin.oldest_unsettled", "gauge", "s", ADMIN, ("account", "flow"),
    "age of the oldest event that has no outcome yet, wherever it waits")
FLOW_PAUSED: Final = _metric("admin.flow_paused", "gauge", "{flow}", ADMIN, ("flow",),
    "1 for each flow that a person has paused")
LAG: Final = _metric("kafka.lag", "gauge", "{message}", ADMIN, ("group", "topic", "partition"),
    "messages that a consumer group has not committed yet, as admin sees it")
COMMITTED: Final = _metric("kafka.committed", "gauge", "{message}", ADMIN, ("group", "topic", "partition"),
    "the offset that a consumer group has committed: when it stands still under a lag, nobody makes progress")
OPEN_LETTERS: Final = _metric("admin.open_dead_letters", "gauge", "{letter}", ADMIN, ("account", "stage"),
    "dead letters that nobody has replayed, resolved or discarded")
DIFFERENCE: Final = _metric("admin.accounting_difference", "gauge", "{cause}", ADMIN, ("account",),
    "causes without exactly one outcome: accepted = written + superseded + ignored + dead-lettered + waiting is broken")
BEHIND: Final = _metric("admin.behind", "gauge", "{message}", ADMIN, (),
    "messages of the topics that are not in admin's tables yet")
# fmt: on


def document() -> str:
    """docs/metrics.md."""
    rows = [
        f"| `{one.name}`<br>`{one.in_prometheus}` | {one.kind} | {one.unit} | {', '.join(one.services)} | "
        f"{', '.join(f'`{name}`' for name in one.attributes)} | {one.description} |\n"
        for one in VOCABULARY
    ]
    return HEAD + "".join(rows)


HEAD: Final = """# Metrics

All that is measured. This file is made from `ml_connector.common.metrics` (`python -m ml_connector.cli.metric_docs`); a
test keeps it true. The first name is the one that OTLP carries, the second the one in Prometheus; there `.` in the name
of a label is `_`, too, and a histogram has `_bucket`, `_count` and `_sum`. Beside these `/metrics` has `target_info`
(the resource) and the `process_*` of the Prometheus client.

Where: `GET /metrics` on the health port of the resolver and the writer, and on `MLC_METRICS_PORT` of ingest and admin,
whose own port is public. OTLP carries the same if `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._METRICS_ENDPOINT`) is set.
Counters begin at 0 with the process. What one replica owns it tells; admin's replicas all tell the same, so take the
`max` of these. A gauge of an account or a company is told by its owner, and goes when it moves.

| name | kind | unit | service | attributes | meaning |
| --- | --- | --- | --- | --- | --- |
"""
