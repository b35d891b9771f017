"""What our spans are called and what they say: the semantic conventions for HTTP and messaging (facts/kafka.md, 6).

Beside those: `ml_connector.*`, which name flows, accounts, record types and ids. Never a body, a query, a person.
Whoever is not sampled gets the context alone, before anything is put together for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from opentelemetry.trace import SpanKind

from ml_connector.common import telemetry
from ml_connector.common.headers import FLOW as FLOW_HEADER
from ml_connector.common.headers import TRACEPARENT, Headers
from ml_connector.common.telemetry import Attributes, Carried
from ml_connector.common.traceparent import current

FLOW: Final = "ml_connector.flow"
ACCOUNT: Final = "ml_connector.account"
RECORD_TYPE: Final = "ml_connector.record_type"
CAUSE: Final = "ml_connector.cause"
ATTEMPT: Final = "ml_connector.attempt"
OUTCOME: Final = "ml_connector.outcome"
STAGE: Final = "ml_connector.dead_letter.stage"
DEFERRED: Final = "ml_connector.deferred"

# What an address says of one record or job, and not of the kind of request.
_IDS: Final = re.compile(r"(?<=/)(?:eid:[^/]*|\d+|[0-9a-fA-F-]{16,})(?=/|$)|(?<=/job/)[^/]+|(?<=/task/)[^/]+")


def webhook(route: str, flow: str, parent: bytes | None) -> Carried:
    """A verified delivery, until it has its answer."""
    return telemetry.span(
        f"POST {route}",
        SpanKind.SERVER,
        parent=parent,
        attributes={"http.request.method": "POST", "http.route": route, FLOW: flow},
    )


def sending(topic: str, *, parent: str = "", links: Sequence[str] = (), more: Attributes | None = None) -> Carried:
    """A message, until the broker has it; its context travels in the message. Without a parent it begins a trace."""
    if parent and not telemetry.recorded(parent):
        return Carried(parent)
    attributes = {**_messaging("send", topic), **(more or {})}
    return telemetry.span(f"send {topic}", SpanKind.PRODUCER, parent=parent, links=links, attributes=attributes)


def sent(span: Carried, partition: int, offset: int) -> None:
    """The broker has it."""
    span.tell("messaging.destination.partition.id", str(partition))
    span.tell("messaging.kafka.offset", offset)


def processing(topic: str, partition: int, offset: int, *, group: str, headers: Headers) -> Carried:
    """One message, as the child of whoever sent it."""
    parent = headers.get(TRACEPARENT, b"").decode("ascii", "replace")
    if parent and not telemetry.recorded(parent):
        return Carried(parent)
    attributes: dict[str, str | int | bool] = {
        **_messaging("process", topic),
        "messaging.consumer.group.name": group,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }
    if FLOW_HEADER in headers:
        attributes[FLOW] = headers[FLOW_HEADER].decode("utf-8", "replace")
    return telemetry.span(f"process {topic}", SpanKind.CONSUMER, parent=parent, attributes=attributes)


@contextmanager
def batch(topic: str, members: Sequence[str], more: Attributes, *, operation: str = "process") -> Iterator[None]:
    """Many messages in one: a trace of its own, linked to those of its members that are recorded. Each of these has a
    span for as long as it takes, which links back. What concerns one message alone is part of its trace."""
    if len(members) == 1:
        with Carried(members[0]):
            yield
        return
    links = [member for member in members if telemetry.recorded(member)]
    if not links:
        with Carried(""):
            yield
        return
    attributes: Attributes = {**_messaging(operation, topic, "process"), **more}
    with ExitStack() as both:
        counted = {**attributes, "messaging.batch.message_count": len(members)}
        name = f"{operation} {topic}"
        whole = telemetry.span(name, SpanKind.CONSUMER, links=links, attributes=counted)
        for member in links:
            back = [whole.traceparent]
            part = telemetry.span(f"batch {name}", SpanKind.INTERNAL, parent=member, links=back, attributes=attributes)
            both.enter_context(part)
        both.enter_context(whole)
        yield


def settling(topic: str, *, parent: str, more: Attributes) -> Carried:
    """From a record's end to the transaction that keeps it."""
    if not telemetry.recorded(parent):
        return Carried(parent)
    return telemetry.span(
        f"settle {topic}", SpanKind.CLIENT, parent=parent, attributes={**_messaging("settle", topic), **more}
    )


def request(method: str, host: str, path: str, *, parent: str = "", attempt: int = 1) -> Carried:
    """One request to a vendor: of `parent`, else of what is being done; for nobody there is no span."""
    parent = parent or current()
    if not telemetry.recorded(parent):
        return Carried(parent)
    template = _IDS.sub(_placeholder, path.partition("?")[0])
    attributes: dict[str, str | int | bool] = {
        "http.request.method": method,
        "server.address": host,
        "url.template": template,
        ATTEMPT: attempt,
    }
    if attempt > 1:
        attributes["http.request.resend_count"] = attempt - 1
    return telemetry.span(f"{method} {template}", SpanKind.CLIENT, parent=parent, attributes=attributes)


def answered(span: Carried, status: int) -> None:
    """A client's status is an error from 400 on."""
    span.tell("http.response.status_code", status)
    if status >= 400:
        span.fail(str(status))


def told(span: Carried, status: int) -> None:
    """A server's status is an error of ours from 500 on."""
    span.tell("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))


def _placeholder(found: re.Match[str]) -> str:
    return "eid:{external_id}" if found[0].startswith("eid:") else "{id}"


def _messaging(operation: str, topic: str, kind: str = "") -> dict[str, str | int | bool]:
    """`kind`: of those that the conventions name, where ours has a name of its own."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind or operation,
        "messaging.destination.name": topic,
    }
