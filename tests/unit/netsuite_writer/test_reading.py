"""Whatever comes back is an answer: a look-up that cannot be read is asked again, and a pause that is asked for is known."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ml_connector.common.wire import Reference
from ml_connector.netsuite_writer.netsuite.reading import granted_by, looked_up, read_answer, read_rows
from ml_connector.netsuite_writer.settle import TryAgain, settle
from support.desired import child, desired, observed
from support.office import DOCUMENT, Office, found_rows, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("items", "id", "links", "rel", "href", "status", "o:errorDetails")), inner)
    ),
    max_leaves=8,
)
BODIES = st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode())
HTML = httpx2.Response(200, html="<title>Sign in</title>")
NO_UTF8 = httpx2.Response(200, content=b'{"items":[{"id":"\xff"}]}')
DEEP = httpx2.Response(200, content=b"[" * 100_000)
PROXY = httpx2.Response(403, html="<title>Blocked</title>")
SHAPES: list[Any] = [[], {"items": [None]}, {"items": {}}]
ODD = [HTML, NO_UTF8, DEEP, PROXY, *(httpx2.Response(200, json=shape) for shape in SHAPES)]


@given(st.sampled_from((200, 201, 202, 204, 302, 400, 401, 403, 404, 429, 500, 503)), BODIES)
def test_no_answer_raises_anything(status: int, body: bytes) -> None:
    answer = looked_up(read_answer(httpx2.Response(status, content=body)))
    granted, rows = granted_by(body), read_rows(body)

    assert answer.status != 200 or answer.internal_id
    assert granted is None or granted > 0
    assert rows is None or all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize("answer", [HTML, NO_UTF8, DEEP, PROXY, httpx2.Response(200, json={"id": None})])
def test_a_look_up_that_cannot_be_read_is_transient(answer: httpx2.Response) -> None:
    assert settle(looked_up(read_answer(answer)), "upsert") == TryAgain(unknown=True)


def test_a_refusal_of_netsuite_itself_stays_what_it_is() -> None:
    details = [{"detail": "Invalid or unsupported search", "o:errorCode": "INVALID_PARAMETER"}]
    answer = looked_up(read_answer(httpx2.Response(400, json={"o:errorDetails": details})))

    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER")


DATE = "Sat, 28 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:09 GMT", "date": DATE}, 9),
        ({"retry-after": "Sat, 28 Nov 2026 11:00:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:09 GMT"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon", "date": DATE}, 0),
        ({"retry-after": "9" * 400, "date": DATE}, 0),
    ],
)
def test_the_pause_that_is_asked_for(headers: dict[str, str], seconds: float) -> None:
    assert read_answer(httpx2.Response(429, headers=headers)).retry_after_s == seconds


@given(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=40))
def test_no_pause_raises_anything(asked: str) -> None:
    answer = read_answer(httpx2.Response(503, headers={"retry-after": asked, "date": DATE}))

    assert answer.retry_after_s >= 0


# -- each path ---------------------------------------------------------------------------------------------------------

MATCHING: dict[str, Any] = {**DOCUMENT["entities"]["organization"], "match": ["companyName"]}
LOOKING_UP: dict[str, Any] = {
    **DOCUMENT,
    "netsuite": {**DOCUMENT["netsuite"], "opportunities": "look-up"},
    "entities": {
        "organization": MATCHING,
        "deal": {"record": "opportunity", "parent": "data.org_id", "fields": {"title": "data.title"}},
    },
}


async def written_after(office: Office, *states: Any) -> None:
    with capture_logs() as logs:
        office.accept(*states)
        for _ in range(10):
            await office.pass_time(60)
    assert [office.outcome(state) for state in states] == ["written"] * len(states)
    assert [line for line in logs if line["log_level"] == "error"] == []


def first_odd(odd: httpx2.Response, then: httpx2.Response, *, method: str, path: str) -> Any:
    """The first such request gets an odd answer."""
    left = [odd]

    def vendor(request: httpx2.Request) -> httpx2.Response:
        if request.method != method or path not in request.url.path:
            return written("7")
        return left.pop() if left else then

    return vendor


@pytest.mark.parametrize("odd", ODD)
async def test_a_match_query_without_a_page_is_asked_again(odd: httpx2.Response) -> None:
    vendor = first_odd(odd, found_rows(), method="POST", path="suiteql")
    office = Office(vendor, documents=[LOOKING_UP])

    await written_after(office, desired("organization", "1"))

    assert [request.method for request in office.requests] == ["POST", "POST", "PUT"]
    await office.close()


@pytest.mark.parametrize("odd", [*ODD, found_rows({"id": "x", "symbol": "EUR"}), found_rows({"symbol": "EUR"})])
async def test_a_table_of_references_that_cannot_be_read_is_asked_for_again(odd: httpx2.Response) -> None:
    vendor = first_odd(odd, found_rows({"id": "1", "symbol": "EUR"}), method="POST", path="suiteql")
    office = Office(vendor)

    await written_after(office, desired("organization", "1", references={"currency": Reference("currency", "EUR")}))

    assert [request.method for request in office.requests] == ["POST", "POST", "PUT"]
    await office.close()


@pytest.mark.parametrize("odd", [HTML, NO_UTF8, DEEP, PROXY, httpx2.Response(200, json=[])])
async def test_a_record_that_cannot_be_looked_up_is_looked_up_again(odd: httpx2.Response) -> None:
    vendor = first_odd(odd, httpx2.Response(200, json={"id": "8"}), method="GET", path="opportunity")
    office = Office(vendor, documents=[LOOKING_UP])
    parent, deal = desired("organization", "1"), child("deal", "1", of="1", fields={"title": "D"})
    office.store.put_observed(parent.record_key, observed(parent).encode())

    await written_after(office, deal)

    assert [request.method for request in office.requests] == ["GET", "GET", "PATCH"]
    await office.close()


@given(
    st.lists(BODIES, min_size=4, max_size=4), st.lists(st.sampled_from((200, 202, 400, 404)), min_size=4, max_size=4)
)
def test_whatever_a_batch_is_answered_its_records_are_written(bodies: list[bytes], statuses: list[int]) -> None:
    """The submission is taken; poll, read-back, tasks and results are answered by chance, each once."""

    async def play() -> None:
        odd = [httpx2.Response(status, content=body) for status, body in zip(statuses, bodies, strict=True)]

        def vendor(request: httpx2.Request) -> httpx2.Response:
            if request.method == "PUT" and request.url.path.endswith("/customer"):
                return httpx2.Response(202, headers={"location": "https://netsuite.test/async/v1/job/1"})
            if request.method == "PUT":
                return written("7")
            return odd.pop() if odd else httpx2.Response(200, json={"completed": True, "items": []})

        office = Office(vendor, batch_from=2)
        await written_after(office, *(desired("organization", str(number)) for number in range(1, 4)))
        await office.close()

    asyncio.run(play())
