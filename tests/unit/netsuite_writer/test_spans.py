"""A record's trace shows what was asked of NetSuite for it: alone, or together with others."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from ml_connector.netsuite_writer.netsuite.tokens import TOKEN_PATH
from support.desired import desired
from support.office import Office, found_rows, refused, written
from support.recording import RECORDED, Recording
from unit.netsuite_writer.test_account import MATCHING, is_query
from unit.netsuite_writer.test_batch import BATCH, Vendor, settled, states_of

TOKEN = f"POST {TOKEN_PATH}"
QUERY = "POST /services/rest/query/v1/suiteql"
PUT = "PUT /services/rest/record/v1/customer/eid:{external_id}"
SETTLE = "settle netsuite.desired"


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    return Recording(monkeypatch)


def under(recording: Recording, parent: str) -> list[str]:
    """Names of a span's children, by its id."""
    return [
        span.name for span in recording.spans if span.parent is not None and f"{span.parent.span_id:016x}" == parent
    ]


async def test_what_a_record_alone_waits_for_is_in_its_trace(recording: Recording) -> None:
    """The token that its first question needs, and whether NetSuite has it already."""
    office = Office(lambda request: found_rows() if is_query(request) else written(), documents=[MATCHING])

    office.accept(desired("organization", "1"), traceparent=RECORDED)
    await office.pass_time(1)

    assert under(recording, "b" * 16) == [TOKEN, QUERY, PUT, SETTLE]
    assert len(recording.spans) == 4
    await office.close()


async def test_token_that_is_refused_is_a_span_that_failed(recording: Recording) -> None:
    office = Office(lambda _: written())
    office.token_answer = refused(401, "invalid_client")

    office.accept(desired("organization", "1"), traceparent=RECORDED)
    await office.pass_time(0)

    (token,) = recording.spans
    assert (token.name, dict(token.attributes or {})["error.type"]) == (TOKEN, "401")
    await office.close()


async def test_records_that_are_looked_for_together_share_a_question_that_all_link_to(recording: Recording) -> None:
    office = Office(lambda request: found_rows() if is_query(request) else written(), documents=[MATCHING])

    office.accept(*(desired("organization", str(number)) for number in range(1, 4)), traceparent=RECORDED)
    await office.pass_time(1)

    whole = recording.named("match netsuite.desired")
    assert under(recording, f"{whole.context.span_id:016x}") == [TOKEN, QUERY]
    assert dict(whole.attributes or {})["messaging.batch.message_count"] == 3
    assert _links(recording, "batch match netsuite.desired") == [whole.context.span_id] * 3
    await office.close()


async def test_each_member_of_a_batch_links_to_it(recording: Recording) -> None:
    office = Office(Vendor(), **BATCH)
    states = states_of()

    office.accept(*states, traceparent=RECORDED)
    await settled(office, *states)

    whole = recording.named("process netsuite.desired")
    assert "PUT /services/rest/record/v1/customer" in under(recording, f"{whole.context.span_id:016x}")
    assert _links(recording, "batch process netsuite.desired") == [whole.context.span_id] * len(states)
    await office.close()


def _links(recording: Recording, name: str) -> list[int]:
    """Whom the children of what is recorded, which are called so, link to."""
    spans: list[ReadableSpan] = [span for span in recording.spans if span.name == name]
    assert under(recording, "b" * 16).count(name) == len(spans)
    return [link.context.span_id for span in spans for link in span.links]
