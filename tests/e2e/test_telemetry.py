"""One trace for each webhook, over all hops and processes: as OTLP carries it to a receiver of ours.

Through a plain write, definitions that must be read first, a failing NetSuite, a batch, a dead letter and its replay.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from ml_connector.cli.stack import ACCOUNT, ADMIN, ALL, FLOW, SERVICES, StackOptions
from ml_connector.common.metrics import VOCABULARY
from support.canaries import Canaries
from support.exports import Span, Spans, Tree
from support.listener import Listener
from support.living import Living
from support.operating import Api
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = (*SERVICES, ADMIN)
NAME = "Canary & Söhne Holding 7f3a"
PERSON = "Ada Canary-7f3a"
EMAIL = "canary-7f3a@customer.example"
BATCH = 12

RECEIVE = "ingest SERVER POST /webhooks/pipedrive/{flow}"
SEND_EVENT = "ingest PRODUCER send pipedrive.events"
RESOLVE = "resolver CONSUMER process pipedrive.events"
SEND_DESIRED = "resolver PRODUCER send netsuite.desired"
WRITE = "netsuite-writer CONSUMER process netsuite.desired"
PUT_NAME = "PUT /services/rest/record/v1/customer/eid:{external_id}"
PUT = f"netsuite-writer CLIENT {PUT_NAME}"
TOKEN = "netsuite-writer CLIENT POST /services/rest/auth/oauth2/v1/token"
MEMBER = "netsuite-writer INTERNAL batch process netsuite.desired"
SETTLE = "netsuite-writer CLIENT settle netsuite.desired"


def written(*calls: Tree) -> Tree:
    """What follows from an event that is mapped."""
    return (SEND_DESIRED, [(WRITE, [*calls, (SETTLE, [])])])


class Watched:
    """The whole product, with a receiver for what it exports."""

    def __init__(self, living: Living, exports: Listener, lines: list[str]) -> None:
        self.living = living
        self.exports = exports
        self.lines = lines
        self.api = Api(living.stack.urls[ADMIN], living.stack.admin_key_pem)
        self.traces: dict[str, str] = {}

    async def settled(self, ref: str) -> str:
        """The trace of an object's last outcome, once all of it is exported."""
        await self.living.settle()
        trace: str = (await self.living.outcomes(ref))[-1]["trace"]

        async def exported() -> bool:
            spans = Spans(self.exports).of(trace)
            roots = [span for span in spans if not span.parent_id]
            return bool(roots) and any(span.name == "settle netsuite.desired" for span in spans)

        await until(exported)
        return trace

    async def tree(self, ref: str) -> list[Tree]:
        trace = self.traces.setdefault(ref, await self.settled(ref))
        return Spans(self.exports).tree(trace)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched() -> AsyncIterator[Watched]:
    lines: list[str] = []
    with Listener(lambda _: 200) as exports:
        told = {
            "MLC_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": exports.url,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        writer = {"MLC_BATCH_FROM": str(BATCH // 2), "MLC_BACKOFF_FIRST_S": "0.1"}
        environment = {name: told | (writer if name == "netsuite-writer" else {}) for name in OURS}
        living = Living(StackOptions(processes=ALL, environment=environment))
        living.stack._on_line = lambda name, line: lines.append(line) if name in OURS else None
        async with living:
            one = Watched(living, exports, lines)
            yield one
            await one.api.close()


async def test_first_event_waits_for_definitions_within_its_trace(watched: Watched) -> None:
    """Nobody knows the company's custom fields yet: it is put aside, they are read, and it goes on. The first request to
    NetSuite needs a token."""
    ref = await watched.living.create("organization", {"name": NAME}, {"Billing email": EMAIL})

    tree = await watched.tree(ref)

    fields: Tree = ("resolver CLIENT GET /api/v2/organizationFields", [])
    deferred = ("resolver CONSUMER process pipedrive.deferred", [fields, written((TOKEN, []), (PUT, []))])
    aside = ("resolver PRODUCER send pipedrive.deferred", [deferred])
    assert tree == [(RECEIVE, [(SEND_EVENT, [(RESOLVE, [aside])])])]
    resolve = Spans(watched.exports).one(watched.traces[ref], "process pipedrive.events")
    assert "must be read first" in resolve.attributes["ml_connector.deferred"]


async def test_plain_write_is_one_trace_over_three_processes(watched: Watched) -> None:
    ref = await watched.living.create("organization", {"name": f"{NAME} 2"})

    tree = await watched.tree(ref)

    assert tree == [(RECEIVE, [(SEND_EVENT, [(RESOLVE, [written((PUT, []))])])])]
    spans, trace = Spans(watched.exports), watched.traces[ref]
    receive, send, resolve, write, call, settle = (
        spans.one(trace, title.split(" ", 2)[2]) for title in (RECEIVE, SEND_EVENT, RESOLVE, WRITE, PUT, SETTLE)
    )
    assert receive.attributes == {
        "http.request.method": "POST", "http.route": "/webhooks/pipedrive/{flow}", "http.response.status_code": 204,
        "ml_connector.flow": FLOW,
    }  # fmt: skip
    assert of_kafka(send) == ("kafka", "send", "send", "pipedrive.events")
    assert of_kafka(resolve) == ("kafka", "process", "process", "pipedrive.events")
    assert of_kafka(write) == ("kafka", "process", "process", "netsuite.desired")
    assert of_kafka(settle) == ("kafka", "settle", "settle", "netsuite.desired")
    assert resolve.attributes["messaging.consumer.group.name"] == "resolver"
    assert write.attributes["messaging.consumer.group.name"] == "netsuite-writer"
    for name in ("messaging.destination.partition.id", "messaging.kafka.offset"):
        assert resolve.attributes[name] == send.attributes[name]
    assert isinstance(send.attributes["messaging.destination.partition.id"], str)
    assert call.attributes == {
        "http.request.method": "PUT", "http.response.status_code": 204, "server.address": "127.0.0.1",
        "url.template": "/services/rest/record/v1/customer/eid:{external_id}", "ml_connector.attempt": 1,
    }  # fmt: skip
    assert settle.attributes["ml_connector.outcome"] == "written"
    assert settle.attributes["ml_connector.account"] == ACCOUNT
    assert settle.attributes["ml_connector.record_type"] == "customer"
    assert not any(span.failed or span.links for span in spans.of(trace))


def of_kafka(span: Span) -> tuple[Any, ...]:
    names = ("system", "operation.name", "operation.type", "destination.name")
    return tuple(span.attributes[f"messaging.{name}"] for name in names)


async def test_attempts_that_failed_are_in_the_trace(watched: Watched) -> None:
    url = f"{watched.living.stack.urls['netsuite']}/_sandbox/faults"
    async with httpx2.AsyncClient() as http:
        (await http.post(url, json={"kind": "status_5xx", "method": "PUT", "count": 1})).raise_for_status()
    ref = await watched.living.create("organization", {"name": f"{NAME} 3"})

    tree = await watched.tree(ref)

    assert tree == [(RECEIVE, [(SEND_EVENT, [(RESOLVE, [written((PUT, []), (PUT, []))])])])]
    spans = Spans(watched.exports)
    first, second = (spans.one(watched.traces[ref], PUT_NAME, number) for number in (0, 1))
    status = str(first.attributes["http.response.status_code"])
    assert status.startswith("5")
    assert (first.failed, first.attributes["error.type"], first.message) == (True, status, "")
    assert (second.failed, second.attributes["ml_connector.attempt"]) == (False, 2)
    assert second.attributes["http.request.resend_count"] == 1


async def test_dead_letter_fails_its_span_and_its_replay_is_a_trace_that_links_to_it(watched: Watched) -> None:
    bad = {"Billing email": "canary-not-an-address-7f3a"}
    ref = await watched.living.create("organization", {"name": f"{NAME} 4"}, bad)
    original = await watched.settled(ref)
    await watched.api.until_level()
    (letter,) = await watched.api.letters()

    made = await watched.api.replay({"ids": [letter["id"]]})
    await watched.api.ended(made["id"])
    replay = await watched.settled(ref)

    spans = Spans(watched.exports)
    settle = spans.one(original, "settle netsuite.desired")
    assert (settle.failed, settle.message) == (True, "")
    assert settle.attributes["error.type"] == letter["code"]
    assert settle.attributes["ml_connector.dead_letter.stage"] == "write"
    assert settle.attributes["ml_connector.outcome"] == "dead_lettered"
    assert replay != original
    assert spans.tree(replay) == [("admin PRODUCER send pipedrive.events", [(RESOLVE, [written((PUT, []))])])]
    root = spans.one(replay, "send pipedrive.events")
    assert root.links == [(original, spans.one(original, "process netsuite.desired").span_id)]
    assert spans.one(replay, "settle netsuite.desired").failed, "it was rejected once more"


async def test_unknown_parent_is_asked_for_in_a_trace_that_links_to_its_child(watched: Watched) -> None:
    living = watched.living
    parent = await living.create("organization", {"name": f"{NAME} 5"}, delivery="drop")
    body = {"name": PERSON, "org_id": int(living.hands.id_of(parent))}
    child = await living.create("person", body)

    tree = await watched.tree(parent)
    trace = await watched.settled(child)

    asked = ("resolver CONSUMER process pipedrive.requests", [
        ("resolver CLIENT GET /api/v2/organizations/{id}", []), written((PUT, [])),
    ])  # fmt: skip
    assert tree == [("netsuite-writer PRODUCER send pipedrive.requests", [asked])]
    spans = Spans(watched.exports)
    (link,) = spans.one(watched.traces[parent], "send pipedrive.requests").links
    assert link == (trace, spans.one(trace, "process netsuite.desired").span_id)


async def test_batch_is_one_span_and_it_and_each_of_its_members_link_to_each_other(watched: Watched) -> None:
    living = watched.living
    await living.stack.stop_one("netsuite-writer")
    refs = [await living.create("organization", {"name": f"{NAME} b{number}"}) for number in range(BATCH)]
    async with httpx2.AsyncClient() as http:
        await http.get(f"{living.stack.urls['pipedrive']}/_sandbox/quiet", params={"timeout_s": 30})
    await living.stack.start_one("netsuite-writer")

    await watched.settled(refs[-1])
    traces = {(await living.outcomes(ref))[-1]["trace"] for ref in refs}

    async def ended() -> bool:
        """Its members' spans end after it."""
        found = Spans(watched.exports)
        return any({trace for trace, _ in span.links} <= members(found).keys() for span in batches(found))

    def batches(found: Spans) -> list[Span]:
        return [span for span in found.all if "messaging.batch.message_count" in span.attributes]

    def members(found: Spans) -> dict[str, Span]:
        return {span.trace_id: span for span in found.all if span.title == MEMBER}

    await until(ended)
    spans = Spans(watched.exports)
    (batch,) = batches(spans)
    writes = {trace: spans.one(trace, "process netsuite.desired").span_id for trace in traces}
    assert batch.title == "netsuite-writer CONSUMER process netsuite.desired"
    assert not batch.parent_id
    assert batch.attributes["messaging.batch.message_count"] == len(batch.links)
    assert set(batch.links) <= set(writes.items())
    for trace, parent_id in batch.links:
        member = members(spans)[trace]
        assert (member.parent_id, member.links) == (parent_id, [(batch.trace_id, batch.span_id)])
    calls = [span.name for span in spans.of(batch.trace_id) if span.parent_id == batch.span_id]
    assert "PUT /services/rest/record/v1/customer" in calls
    assert "POST /services/rest/query/v1/suiteql" in calls
    assert "GET /services/rest/async/v1/job/{id}" in calls


async def test_metrics_of_every_service_are_those_of_the_vocabulary(watched: Watched) -> None:
    known = {metric.in_prometheus: set(metric.services) for metric in VOCABULARY}
    pages = await _pages(watched)

    for service, page in pages.items():
        families = [family for family in text_string_to_metric_families(page) if family.name != "target_info"]
        names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
        ours = {name for name in names if not name.startswith("process_")}
        assert ours, service
        assert {name for name in ours if service not in known.get(name, set())} == set()
    written = f'ml_connector_outcomes_total{{account="{ACCOUNT}",outcome="written"}} {BATCH}.0'
    assert written in pages["netsuite-writer"], "since it was started again"


async def _pages(watched: Watched) -> dict[str, str]:
    async with httpx2.AsyncClient() as http:
        return {name: (await http.get(url)).text for name, url in watched.living.stack.facts.metrics.items()}


async def test_nothing_of_a_customer_and_no_query_is_told(watched: Watched) -> None:
    stack = watched.living.stack
    canaries = Canaries(
        {"name": NAME, "e-mail": EMAIL, "bad e-mail": "canary-not-an-address-7f3a", "person": PERSON,
         "signing key": stack.signing_key, "api token": stack.api_token, "private key": stack.private_key_pem,
         "vault key": stack.vault_key.partition(":")[2]}
    )  # fmt: skip
    told = [heard.body for heard in watched.exports.heard]
    told += [page.encode() for page in (await _pages(watched)).values()]
    told += [line.encode() for line in watched.lines]

    assert {name for data in told for name in canaries.found_in(data)} == set()
    texts = [
        (name, value) for span in Spans(watched.exports).all for name, value in span.attributes.items()
        if isinstance(value, str)
    ]  # fmt: skip
    assert [
        (name, value) for name, value in texts if "?" in value or name in {"url.query", "url.full", "url.path"}
    ] == []


async def test_log_lines_name_the_trace_that_they_are_about(watched: Watched) -> None:
    told = [json.loads(line) for line in watched.lines if line.startswith("{")]
    spans = {(span.trace_id, span.span_id): span for span in Spans(watched.exports).all}

    (again,) = [line for line in told if line["event"] == "trying_again"]

    assert spans[again["trace_id"], again["span_id"]].title == WRITE
    assert {line["trace_id"] for line in told if "trace_id" in line} <= {trace for trace, _ in spans}
