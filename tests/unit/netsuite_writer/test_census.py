"""Records that NetSuite holds though no object of Pipedrive is behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from ml_connector.common.clock import ManualClock
from ml_connector.common.comparing import Census, Compared
from ml_connector.common.covering import pack
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import VendorUnavailable
from ml_connector.common.flows import parse_flow
from ml_connector.common.generation import Generation
from ml_connector.common.keys import record_key
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer.census import MOST_TOLD, ROWS, Counting
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.store import Store

ACCOUNT = "1234567_SB1"
BEGAN_MS = 1_000


def flow(on_delete: str = "inactivate") -> LiveFlow:
    mapping = {"record": "customer", "fields": {"companyName": "data.name"}, "on_delete": on_delete}
    document = {
        "flow": "f", "environment": "sandbox", "pipedrive": {"company": "c"}, "netsuite": {"account": ACCOUNT},
        "external_ids": "pd", "entities": {"organization": mapping},
    }  # fmt: skip
    return LiveFlow(parse_flow(document), 1, paused=False)


class Netsuite:
    """Customers by internal id, as a query of the census sees them; `fails`: answers before the first page."""

    def __init__(self, rows: Iterable[tuple[int, str, str]], *fails: Answer | VendorUnavailable) -> None:
        self.rows = sorted(rows)
        self.fails = list(fails)
        self.queries = 0

    async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
        self.queries += 1
        if self.fails:
            answer = self.fails.pop(0)
            if isinstance(answer, VendorUnavailable):
                raise answer
            return answer, []
        found = re.search(r"FROM customer WHERE LOWER\(externalid\) LIKE '(.*)%' AND id > (\d+) ORDER BY id\Z", suiteql)
        assert found is not None
        rows = [row for row in self.rows if row[1].lower().startswith(found[1]) and row[0] > int(found[2])]
        return Answer(200), [{"id": str(n), "externalid": e, "isinactive": i} for n, e, i in rows[:ROWS]]


class Racing(ManualClock):
    """Whoever waits moves it on."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


def asked(covered: Iterable[int] = (), **more: Any) -> Census:
    given = {"job_id": "j", "flow": "f", "account": ACCOUNT, "entity": "organization", "page": 0, "at_ms": 1}
    return Census(**{**given, "began_ms": BEGAN_MS, "covered": pack(covered), **more})


def written(number: int, **more: Any) -> Observed:
    given: dict[str, Any] = {
        "record_key": record_key(ACCOUNT, "customer", f"pd-org-{number}"), "flow": "f", "generation": Generation(1),
        "cause": "c", "outcome": "written", "action": "upsert", "at_ms": 5, "internal_id": "1",
    }  # fmt: skip
    return Observed(**{**given, **more})


async def counted(
    netsuite: Netsuite, census: Census, *observed: Observed, live: LiveFlow | None = None
) -> list[Compared]:
    store = Store.in_memory()
    for one in observed:
        store.put_observed(one.record_key, one.encode())
    counting = Counting(netsuite, store, Racing())
    return [one async for one in counting.count(census, live or flow())]


def extras(told: list[Compared]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {one.source_id: (one.found, one.causes) for part in told for one in part.differences}


async def test_who_is_not_among_pipedrives_objects_is_extra() -> None:
    """One that the connector wrote, and one that it never heard of."""
    netsuite = Netsuite([(11, "pd-org-1", "F"), (12, "PD-Org-2", "F"), (13, "pd-org-3", "F")])

    told = await counted(netsuite, asked([1]), written(2))

    assert extras(told) == {"2": ("extra", ("not_deleted",)), "3": ("extra", ("never_written",))}
    assert [(one.page, one.part, one.parts, one.records, one.equal) for one in told] == [(0, 1, 1, 3, 1)]


@pytest.mark.parametrize(
    "external_id", ["pd2-org-9", "pd-organization-9", "pd-org-9x", "pd-org-", "pd-person-9", "qd-org-9", "pd-org-0"]
)
async def test_other_flows_and_other_records_are_never_extra(external_id: str) -> None:
    told = await counted(Netsuite([(11, external_id, "F")]), asked())

    assert extras(told) == {}
    assert told[0].records == 0


@pytest.mark.parametrize(
    ("inactive", "observed", "on_delete"),
    [
        pytest.param("T", written(2, action="gone"), "inactivate", id="inactivated, since it was deleted"),
        pytest.param("T", None, "inactivate", id="inactive, whoever did that"),
        pytest.param("F", written(2, at_ms=BEGAN_MS), "inactivate", id="written while the reconcile ran"),
        pytest.param("F", written(2), "ignore", id="the flow leaves what was deleted as it is"),
        pytest.param("F", written(2, action="gone", outcome="ignored"), "inactivate", id="ignored when it was deleted"),
    ],
)
async def test_what_is_as_it_should_be_is_counted_only(
    inactive: str, observed: Observed | None, on_delete: str
) -> None:
    given = [] if observed is None else [observed]

    told = await counted(Netsuite([(11, "pd-org-2", inactive)]), asked(), *given, live=flow(on_delete))

    assert extras(told) == {}
    assert (told[0].records, told[0].equal) == (1, 1)


async def test_one_that_somebody_made_active_again_is_told_as_such() -> None:
    told = await counted(Netsuite([(11, "pd-org-2", "F")]), asked(), written(2, action="gone"))

    assert extras(told) == {"2": ("active", ("edited",))}


async def test_pages_go_on_behind_the_last_internal_id() -> None:
    """And differences are told in parts, the first one last, which says how many there are."""
    netsuite = Netsuite((number, f"pd-org-{number}", "F") for number in range(1, 2 * ROWS + 51))

    told = await counted(netsuite, asked(range(1, ROWS)))

    assert netsuite.queries == 3
    assert [(one.part, len(one.differences)) for one in told] == [(2, MOST_TOLD), (3, MOST_TOLD), (1, 51)]
    assert told[-1].parts == 3
    assert sum(one.records for one in told) == 2 * ROWS + 50
    assert sum(one.equal for one in told) == ROWS - 1


async def test_one_request_of_several_is_about_its_ids_only() -> None:
    netsuite = Netsuite((number, f"pd-org-{number}", "F") for number in (5, 6, 7, 8))

    told = await counted(netsuite, asked(above=5, up_to=7, page=-1))

    assert extras(told).keys() == {"6", "7"}
    assert told[0].page == -1


async def test_what_passes_is_waited_for_and_what_is_refused_is_told() -> None:
    rows = [(11, "pd-org-1", "F")]
    again = await counted(Netsuite(rows, VendorUnavailable("busy"), VendorUnavailable("busy")), asked())
    refused = await counted(Netsuite(rows, Answer(400, "INVALID_PARAMETER", "no")), asked())
    silent = await counted(Netsuite(rows, *[VendorUnavailable("busy")] * 2000), asked())

    assert again[0].failed == ""
    assert refused[0].failed == "NetSuite refuses the query: 400 INVALID_PARAMETER no"
    assert silent[0].failed == "given up after an hour: busy"


async def test_account_that_does_not_keep_the_order_is_not_asked_for_ever() -> None:
    class Unordered(Netsuite):
        async def query(self, suiteql: str) -> tuple[Answer, list[dict[str, Any]]]:
            return Answer(200), [{"id": "7", "externalid": f"pd-org-{n}", "isinactive": "F"} for n in range(ROWS)]

    told = await counted(Unordered([]), asked(range(ROWS)))

    assert "order of ids" in told[-1].failed


async def test_waiting_record_says_nothing() -> None:
    store = Store.in_memory()
    counting = Counting(Netsuite([(11, "pd-org-2", "F")]), store, ManualClock())
    store.waits = lambda record: True  # type: ignore[method-assign]

    told = [one async for one in counting.count(asked(), flow())]

    assert extras(told) == {}


async def test_flow_that_does_not_map_it_any_more_is_said() -> None:
    told = await counted(Netsuite([]), msgspec.structs.replace(asked(), entity="deal"))

    assert told[0].failed == "the flow does not map deals any more"
