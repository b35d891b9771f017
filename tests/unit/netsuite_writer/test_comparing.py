"""What is asked of NetSuite for a comparison, and what becomes of what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ml_connector.common.clock import ManualClock
from ml_connector.common.comparing import Compare, Expected
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import VendorUnavailable
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.keys import record_key
from ml_connector.common.wire import Observed, OutcomeKind, Parent
from ml_connector.netsuite_writer.comparing import REFUSED, REFUSED_FOR_S, Comparing
from ml_connector.netsuite_writer.netsuite.client import Response
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.store import Store
from ml_connector.netsuite_writer.write import Request

ACCOUNT = "1234567_SB1"
FLOW = LiveFlow(
    parse_flow({
        "flow": "f", "environment": "sandbox", "pipedrive": {"company": "c"}, "netsuite": {"account": ACCOUNT},
        "external_ids": "pd",
        "entities": {
            "organization": {"record": "customer", "fields": {"companyName": "data.name"}},
            "person": {"record": "contact", "fields": {"lastName": "data.last_name"}},
        },
    }),
    1,
    paused=False,
)  # fmt: skip
OK, BAD = Answer(200), Answer(400, "INVALID_PARAMETER", "Search error")


class Netsuite:
    """Refuses queries that name certain columns; knows one customer."""

    def __init__(self, refuses: Callable[[str], Answer | None]) -> None:
        self.queries: list[str] = []
        self._refuses = refuses

    async def query(self, suiteql: str, *, spare: bool) -> tuple[Answer, list[dict[str, Any]]]:
        assert spare
        self.queries.append(suiteql)
        refused = self._refuses(suiteql)
        if refused is not None:
            return refused, []
        row = {"id": "7", "externalid": "pd-org-1", "companyname": "A", "phone": "1", "isinactive": "F"}
        return OK, [row] if "'pd-org-1'" in suiteql and "LOWER(externalid)" not in suiteql else []

    async def find(self, request: Request, *, traceparent: str, spare: bool) -> Response:
        assert spare
        assert traceparent
        return Response(Answer(404))


def asked(*records: Expected) -> Compare:
    return Compare(
        job_id="j", flow="f", account=ACCOUNT, entity="organization", page=1, part=1, parts=1, at_ms=1, records=records
    )


def customer(number: int, **fields: Any) -> Expected:
    return Expected(str(number), "customer", f"pd-org-{number}", Generation(1), "upsert", fields=fields)


def comparing(netsuite: Netsuite, clock: ManualClock | None = None) -> Comparing:
    return Comparing("a", client=netsuite, store=Store.in_memory(), clock=clock or ManualClock())


async def test_refused_columns_are_found_and_left_out_for_an_hour() -> None:
    netsuite = Netsuite(lambda q: BAD if re.search(r"custentity_(a|b)\b|lastmodifieddate", q) else None)
    clock = ManualClock()
    one = comparing(netsuite, clock)
    request = asked(customer(1, companyName="A", phone="2", custentity_a="x", custentity_b="x", custentity_c=None))

    first = await one.compare(request, FLOW)
    netsuite.queries.clear()
    again = await one.compare(request, FLOW)
    asked_again = len(netsuite.queries)
    clock.advance(REFUSED_FOR_S + 1)
    netsuite.queries.clear()
    await one.compare(request, FLOW)

    assert first.not_comparable == {"custentity_a": REFUSED, "custentity_b": REFUSED} == again.not_comparable
    assert [[field.field for field in difference.fields] for difference in first.differences] == [["phone"]]
    assert asked_again == 1
    assert len(netsuite.queries) > 1


@pytest.mark.parametrize("answer", [BAD, Answer(403, "INSUFFICIENT_PERMISSION", "no")])
async def test_a_query_that_is_refused_whatever_it_names_is_told(answer: Answer) -> None:
    netsuite = Netsuite(lambda _: answer)

    told = await comparing(netsuite).compare(asked(customer(1, companyName="A")), FLOW)

    assert (told.records, told.equal, told.differences) == (1, 0, ())
    assert f"{answer.status} {answer.code}" in told.failed
    assert len(netsuite.queries) <= 3


@pytest.mark.parametrize("answer", [Answer(0), Answer(503), Answer(429), Answer(401)])
async def test_what_will_pass_is_tried_again_by_who_asks(answer: Answer) -> None:
    with pytest.raises(VendorUnavailable):
        await comparing(Netsuite(lambda _: answer)).compare(asked(customer(1, companyName="A")), FLOW)


async def test_who_is_not_found_is_looked_for_in_any_letters() -> None:
    netsuite = Netsuite(lambda _: None)

    told = await comparing(netsuite).compare(asked(customer(1, companyName="A"), customer(2, companyName="B")), FLOW)

    assert [(one.source_id, one.found) for one in told.differences] == [("2", "missing")]
    assert "LOWER(externalid) IN ('pd-org-2')" in netsuite.queries[1]


async def test_a_contact_whose_customer_was_never_written_is_unknown_or_missing_for_that() -> None:
    parent = Parent(f"{ACCOUNT}/customer/pd-org-9".lower(), "organization", "9")
    one = Expected("5", "contact", "pd-person-5", Generation(1), "upsert", fields={"lastName": "B"}, parent=parent)

    [told] = (await comparing(Netsuite(lambda _: None)).compare(asked(one), FLOW)).differences

    assert (told.found, told.reason, told.causes) == (
        "missing", "its customer was not written yet", ("never_written",),
    )  # fmt: skip


async def test_a_page_without_objects_asks_nothing() -> None:
    netsuite = Netsuite(lambda _: None)

    told = await comparing(netsuite).compare(asked(), FLOW)

    assert (told.records, told.equal, told.failed, netsuite.queries) == (0, 0, "", [])


@pytest.mark.parametrize(("outcome", "found"), [("written", "waiting"), ("dead_lettered", "different")])
async def test_newer_state_says_that_it_waits_unless_it_failed(outcome: OutcomeKind, found: str) -> None:
    """What was read of Pipedrive counts as five seconds old: a change just before may be newer."""
    store = Store.in_memory()
    key = record_key(ACCOUNT, "customer", "pd-org-1")
    newer = Observed(
        record_key=key, flow="f", generation=Generation(2), cause="c", outcome=outcome, action="upsert", at_ms=-1,
        internal_id="7",
    )  # fmt: skip
    store.put_observed(key, newer.encode())
    one = Comparing("a", client=Netsuite(lambda q: None), store=store, clock=ManualClock())

    told = await one.compare(asked(customer(1, companyName="B")), FLOW)

    assert [difference.found for difference in told.differences] == [found]
