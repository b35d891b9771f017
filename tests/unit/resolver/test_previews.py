"""What somebody is told who asks what would become of an event; that nothing is written is proven in integration/."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.credentials import ApiToken
from ml_connector.common.flows import PipedriveLimits
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Parent, Preview, Reference, Source, Step, StoredDefinitions, StoredStages
from ml_connector.resolver import emit
from ml_connector.resolver.definitions import Stages
from ml_connector.resolver.message import Defer, Message, Output
from ml_connector.resolver.pipedrive.breaker import Breaker
from ml_connector.resolver.pipedrive.budget import Budget
from ml_connector.resolver.pipedrive.client import PipedriveClient
from ml_connector.resolver.pipedrive.login import TokenLogin
from ml_connector.resolver.plan import FlowPlan
from ml_connector.resolver.preview import answer, asks_for_preview, preview_of, with_stages
from ml_connector.resolver.refresh import Refresher
from support.resolving import COMPANY_ID, Cored, event
from support.state_topic import StateTopic

ACCOUNT = "1234567_SB1"
AT_MS = 1_795_168_800_123  # 2026-11-20T10:00:00.123Z
NOW_MS = AT_MS + 60_000
RANK = "a" * 40


def document() -> dict[str, Any]:
    return {
        "flow": "acme", "environment": "sandbox",
        "pipedrive": {"company": "acme", "company_id": str(COMPANY_ID)},
        "netsuite": {"account": ACCOUNT}, "external_ids": "pd",
        "entities": {
            "organization": {
                "record": "customer", "required": ["companyName"],
                "fields": {"companyName": "data.name", "comments": 'custom["Rank"]'},
            },
            "deal": {
                "record": "opportunity",
                "fields": {"title": "data.title", "currency": 'lookup("currency", data.currency)'},
            },
        },
    }  # fmt: skip


@pytest.fixture
def acme() -> Cored:
    cored = Cored(now_ms=NOW_MS)
    cored.apply(document(), version=4)
    cored.define("acme", {RANK: "Rank"}, read_at_ms=NOW_MS)
    return cored


def request(value: bytes, **more: str) -> Message:
    given = {
        h.FLOW: "acme", h.COMPANY: "acme", h.ACCOUNT: ACCOUNT, h.RECEIVED_AT_MS: str(AT_MS + 1_000),
        h.KIND: "preview", h.REQUEST_ID: "q1", **{name.replace("_", "-"): text for name, text in more.items()},
    }  # fmt: skip
    headers = {name: text.encode() for name, text in given.items()}
    return Message(topics.PIPEDRIVE_REQUESTS.name, 0, 3, b"acme", value, headers)


def previewed(acme: Cored, value: bytes, **more: str) -> Preview:
    message = request(value, **more)
    return preview_of("q1", acme.core.event(message), acme.core.sources(message))


def deal(**data: Any) -> bytes:
    return event("a", source_id=8, **data).replace(b'"entity": "organization"', b'"entity": "deal"')


def test_preview_says_what_would_be_desired(acme: Cored) -> None:
    found = previewed(acme, deal(title="Big", currency="EUR", org_id=5), cause="rpl:j:1", revision="7")

    assert found == Preview(
        request_id="q1",
        result="desired",
        record_key="1234567_sb1/opportunity/pd-deal-8",
        generation=Generation(AT_MS, 7),
        action="upsert",
        mapping_version=4,
        fields={"title": "Big"},
        references={"currency": Reference("currency", "EUR")},
        parent=Parent("1234567_sb1/customer/pd-org-5", "organization", "5"),
        sources={"title": Source("data.title"), "currency": Source('lookup("currency", data.currency)')},
    )


def test_preview_names_what_is_held_back(acme: Cored) -> None:
    found = previewed(acme, event("a", custom={"b" * 40: {"type": "varchar", "value": "x"}}))

    assert (found.result, found.held_back) == ("desired", ["b" * 40])


def test_preview_of_an_object(acme: Cored) -> None:
    more = {"cause": "rpl:j:1", "object": "organization/5", "generation": f"{AT_MS}.0"}

    found = previewed(acme, b'{"id":5,"name":"A"}', **more)

    assert (found.result, found.record_key) == ("desired", "1234567_sb1/customer/pd-org-5")


def test_preview_says_why_the_mapping_fails(acme: Cored) -> None:
    found = previewed(acme, event("a", source_id=5, name=None))

    assert (found.result, found.stage, found.mapping_version) == ("dead_lettered", "map", 4)
    assert found.record_key == "1234567_sb1/customer/pd-org-5"
    assert "companyName" in found.reason


@pytest.mark.parametrize(
    ("value", "more", "stage", "reason"),
    [
        (b"{}", {}, "decode", "not an event"),
        (b"", {}, "decode", "not JSON"),
        (event("a"), {"flow": "nobody"}, "decode", "the flow does not exist"),
        (event("a"), {"mapping_version": "9"}, "map", "no version 9"),
    ],
)
def test_preview_of_what_is_no_event_of_ours(
    acme: Cored, value: bytes, more: dict[str, str], stage: str, reason: str
) -> None:
    found = previewed(acme, value, **more)

    assert (found.result, found.stage) == ("dead_lettered", stage)
    assert reason in found.reason


def test_preview_of_what_would_be_ignored_changes_nothing(acme: Cored) -> None:
    """As an event it would make the definitions be read again."""
    field = event("a").replace(b'"entity": "organization"', b'"entity": "organizationField"')

    found = previewed(acme, field)

    assert (found.result, found.reason) == ("ignored", "organizationField is not mapped")
    assert "organization" in acme.book.of("acme").definitions


def test_what_cannot_be_resolved_now_is_answered_now() -> None:
    assert preview_of("q1", Defer("Pipedrive is too slow")) == Preview(
        request_id="q1", result="unresolved", reason="Pipedrive is too slow"
    )


def test_answer_goes_to_whoever_asked() -> None:
    found = answer(Preview(request_id="q1", result="ignored"))

    assert (found.topic, found.key) == (topics.REPLIES, b"q1")
    assert topics.REPLIES.partitions(48) == 1


def test_request_that_waits_for_long_is_still_what_it_was() -> None:
    """At the end of the topic of what was put aside, where all that does not say otherwise is an event."""
    preview = request(event("a"))
    hydrate = Message(topics.PIPEDRIVE_REQUESTS.name, 0, 3, b"acme", b"{}", {})

    assert asks_for_preview(preview._replace(headers=emit.renewed(preview, kind="request").headers))
    assert emit.renewed(hydrate, kind="request").headers == {h.KIND: b"request"}


# -- with Pipedrive behind it ----------------------------------------------------------------------------------------


class Behind:
    """A Pipedrive that has the field "Rank", or is left alone; what is kept of it."""

    def __init__(self, http: httpx2.AsyncClient, cored: Cored) -> None:
        self.breaker = Breaker(first_s=60, longest_s=300, chance=random.Random(1))
        self.kept: list[Output] = []
        self._cored = cored
        self._client = PipedriveClient(
            http,
            TokenLogin("http://pipedrive.test", lambda: ApiToken(token="t")),
            breaker=self.breaker,
            budget=Budget(),
            limits=PipedriveLimits(),
            standing=StateTopic().standing("acme", cored.clock),
            clock=cored.clock,
        )
        self.refresher = Refresher(cored.core, cored.book, self, self._keep, cored.clock, reread_s=60)

    def client(self, plan: FlowPlan) -> PipedriveClient:
        assert plan.company == "acme"
        return self._client

    async def _keep(self, outputs: Sequence[Output]) -> None:
        self.kept += outputs

    async def preview(self, value: bytes, **more: str) -> Preview:
        return preview_of("q1", await self.refresher.event(request(value, **more)))


@pytest_asyncio.fixture
async def behind(acme: Cored) -> AsyncIterator[Behind]:
    """Its definitions are older than the event."""
    names = {RANK: "Rank", "b" * 40: "Other"}
    fields = [
        {"field_code": code, "field_name": name, "field_type": "varchar", "is_custom_field": True}
        for code, name in names.items()
    ]

    def fields_of(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"success": True, "data": fields, "additional_data": {"next_cursor": None}})

    acme.define("acme", {RANK: "Rank"}, read_at_ms=AT_MS)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(fields_of)) as http:
        yield Behind(http, acme)


UNKNOWN = event("a", custom={"b" * 40: {"type": "varchar", "value": "x"}})


async def test_what_is_lacking_is_read_first(behind: Behind) -> None:
    found = await behind.preview(UNKNOWN)

    assert (found.result, found.held_back) == ("desired", [])
    assert {output.topic for output in behind.kept} == {topics.STATE}


async def test_preview_while_the_company_is_left_alone(behind: Behind) -> None:
    behind.breaker.failed(0.0, "Pipedrive answered 503")

    lacking, known = await behind.preview(UNKNOWN), await behind.preview(event("a"))

    assert (lacking.result, lacking.reason) == ("unresolved", "left alone for a while: Pipedrive answered 503")
    assert known.result == "desired"
    assert behind.kept == []


async def test_preview_a_moment_after_the_definitions_were_read_says_so(behind: Behind) -> None:
    await behind.preview(UNKNOWN)
    unknown_still = event("a", custom={"c" * 40: {"type": "varchar", "value": "x"}})

    found = await behind.preview(unknown_still, cause="rpl:j:1", revision=str(NOW_MS + 1))

    assert found.result == "unresolved"
    assert found.reason == "organization of this company were read a moment ago"


def test_preview_of_an_unmapped_stage_names_those_of_the_company() -> None:
    stored = StoredStages(
        company="acme",
        read_at_ms=1,
        pipelines=[{"id": 1, "name": "Sales"}],
        stages=[{"id": 7, "pipeline_id": 1, "name": "Lead"}, {"id": 8, "pipeline_id": 1, "name": "Qualified"}],
    )
    staged = Cored(now_ms=NOW_MS)
    given = document()
    given["entities"]["deal"]["fields"]["entityStatus"] = "stage_status"
    staged.apply({**given, "stages": {"9": "8"}}, version=4)
    unmapped, other = previewed(staged, deal(stage_id=7)), previewed(staged, event("a", name=None))
    reason = "field 'stage_status': expression 'stages': stage 7 has no NetSuite status in the flow's stages"
    assert (unmapped.code, unmapped.reason) == ("UNMAPPED_STAGE", reason)

    assert with_stages(unmapped, Stages(stored)).reason == (
        f"{reason}; the company's stages are 'Sales/Lead', 'Sales/Qualified'"
    )
    assert with_stages(other, Stages(stored)) == other
    assert with_stages(unmapped, None) == unmapped


# -- what a value is made from ---------------------------------------------------------------------------------------

REGION, TAGS = "1" * 40, "2" * 40


@pytest.fixture
def staged() -> Cored:
    """Definitions with options, and stages."""
    cored = Cored(now_ms=NOW_MS)
    given = document()
    given["defaults"] = {"subsidiary": "2"}
    given["entities"]["organization"]["fields"] = {
        "companyName": "data.name", "comments": 'custom["Region"] + join(custom["Tags"], ",")', "isPerson": False,
    }  # fmt: skip
    given["entities"]["deal"]["fields"] = {"title": "data.title", "entityStatus": "stage_status"}
    cored.apply({**given, "stages": {"Sales/Lead": "8"}, "statuses": {"won": "13"}}, version=4)
    options = [{"id": 12, "label": "EMEA"}, {"id": 13, "label": "APAC"}]
    fields = [
        {"field_code": REGION, "field_name": "Region", "field_type": "enum", "options": options},
        {"field_code": TAGS, "field_name": "Tags", "field_type": "set", "options": options},
    ]
    cored.book.put(StoredDefinitions(company="acme", entity="organization", read_at_ms=NOW_MS, fields=fields))
    lead = {"id": 7, "pipeline_id": 1, "name": "Lead"}
    pipeline = {"id": 1, "name": "Sales"}
    cored.book.put(StoredStages(company="acme", read_at_ms=NOW_MS, pipelines=[pipeline], stages=[lead]))
    return cored


def test_each_value_says_through_which_fields_and_options_it_came(staged: Cored) -> None:
    custom = {REGION: {"type": "enum", "id": 12}, TAGS: {"type": "set", "values": [{"id": 13}, {"id": 12}]}}

    found = previewed(staged, event("a", custom=custom))

    assert found.fields["comments"] == "EMEAAPAC,EMEA"
    assert found.sources["comments"].steps == (
        Step("field", id=REGION, name="Region", type="enum"),
        Step("option", id="12", name="EMEA"),
        Step("field", id=TAGS, name="Tags", type="set"),
        Step("option", id="13", name="APAC"),
        Step("option", id="12", name="EMEA"),
    )
    assert found.sources["companyName"] == Source("data.name")
    assert found.sources["isPerson"] == Source("false")
    assert found.sources["subsidiary"] == Source("defaults.subsidiary: 2")


@pytest.mark.parametrize(
    ("data", "value", "step"),
    [
        ({"stage_id": 7, "status": "open"}, "8", Step("stage", id="7", name="Sales/Lead")),
        ({"stage_id": 7, "status": "won"}, "13", Step("status", id="won")),
    ],
)
def test_status_of_a_deal_says_whether_it_came_by_its_stage(
    staged: Cored, data: dict[str, Any], value: str, step: Step
) -> None:
    found = previewed(staged, deal(title="Big", **data))

    assert found.references["entityStatus"].value == value
    assert found.sources["entityStatus"] == Source("stage_status", (step,))


def test_unknown_field_and_unknown_option_are_named_as_such(staged: Cored) -> None:
    message = request(event("a", custom={REGION: {"type": "enum", "id": 99}}))
    told = staged.core.sources(message)["comments"].steps
    assert told[1] == Step("option", id="99")

    unknown = Cored(now_ms=NOW_MS)
    unknown.apply(document(), version=4)
    assert unknown.core.sources(message)["comments"].steps == (Step("field", name="Rank"),)


@pytest.mark.parametrize(
    ("value", "more"),
    [
        (b"{}", {}),
        (event("a"), {"flow": "nobody"}),
        (event("a"), {"mapping_version": "9"}),
        (event("a").replace(b'"entity": "organization"', b'"entity": "activity"'), {}),
    ],
)
def test_what_is_not_mapped_has_no_sources(acme: Cored, value: bytes, more: dict[str, str]) -> None:
    assert acme.core.sources(request(value, **more)) == {}
