"""A sync walks over a company's objects; what comes of it is compared with the stand-in's own data and log."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
import pytest_asyncio

from ml_connector.cli.accounting import recompute
from ml_connector.cli.stack import ACCOUNT
from ml_connector.common import topics
from ml_connector.common.comparing import Compare
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import SyncControl, SyncPage, SyncState
from ml_connector.common.wire import Desired, Hydrate
from support.exports import Span, Spans
from support.listener import Listener
from support.resolving import RESOLVER, Resolving
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "process pipedrive.requests"
COUNTS: dict[Entity, int] = {"organization": 1_300, "person": 1_100, "deal": 1_200}
ENTITIES: dict[str, Any] = {
    "organization": {"record": "customer", "fields": {"companyName": "data.name", "comments": 'custom["Tier"]'}},
    "person": {"record": "contact", "fields": {"lastName": "data.last_name"}},
    "deal": {"record": "opportunity", "fields": {"title": "data.title"}},
}


@pytest.fixture(scope="module")
def exports() -> Iterator[Listener]:
    with Listener(lambda _: 200) as listener:
        yield listener


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving(exports: Listener) -> AsyncIterator[Resolving]:
    quickly = {"MLC_PROBE_FIRST_S": "0.2", "MLC_PROBE_LONGEST_S": "0.5", "MLC_DEFERRED_S": "0.3"}
    pages_only = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRICS_EXPORTER": "none"}
    async with Resolving(**quickly, **pages_only, OTEL_EXPORTER_OTLP_ENDPOINT=exports.url) as one:
        yield one


class Acme:
    """A company with objects that nobody has told of."""

    def __init__(self, resolving: Resolving) -> None:
        self.resolving = resolving
        self.name = f"acme-{uuid.uuid4().hex[:8]}"
        self.job = uuid.uuid4().hex[:8]

    async def founded(self, counts: dict[Entity, int], entities: Any = None, **pipedrive: Any) -> None:
        await self.resolving.company(self.name)
        objects = {f"{entity}s": counts.get(entity, 0) for entity in COUNTS}
        await self.resolving.sandbox("POST", f"companies/{self.name}/objects", objects)
        document = self.resolving.flow(self.name, {}, **pipedrive)
        self.resolving.flows([{**document, "entities": ENTITIES if entities is None else entities}])

    def walk(self, entity: Entity, **more: Any) -> None:
        given = {"job_id": self.job, "flow": self.name, "entity": entity, "at_ms": int(time.time() * 1000), **more}
        self.resolving.sync(SyncPage(**given), company=self.name)

    def steer(self, to: Literal["running", "paused", "cancelled", "forgotten"], entity: Entity, **more: Any) -> None:
        control = SyncControl(job_id=self.job, flow=self.name, entity=entity, to=to, at_ms=1, **more)
        self.resolving.sync(control, company=self.name)

    async def state(self, entity: Entity) -> SyncState | None:
        return await self.resolving.walk(self.name, self.job, entity)

    async def ends(self, entity: Entity, state: str = "done", *, within_s: float = 40) -> SyncState:
        found: list[SyncState] = []

        async def has() -> bool:
            one = await self.state(entity)
            found.extend([one] if one is not None and one.state == state else [])
            return bool(found)

        await until(has, within_s=within_s)
        return found[0]

    async def emitted(self, entity: Entity) -> dict[str, Desired]:
        """By source id."""
        start = f"syn:{self.job}:{entity}:"
        return {
            key.removeprefix(start): one
            for key, one in (await self.resolving.desired()).items()
            if key.startswith(start)
        }

    async def slowly(self, entity: Entity) -> None:
        """Each page takes a while from now on."""
        fault = {"company": self.name, "match": f"/api/v2/{entity}s", "delay_s": 0.3}
        await self.resolving.sandbox("POST", "faults", fault)

    async def has_asked(self) -> bool:
        """For a page that is not answered yet: its tokens are spent, and it is not in the log."""
        facts: dict[str, Any] = await self.resolving.sandbox("GET", f"companies/{self.name}")
        lines = await self.resolving.asked(self.name)
        return bool(facts["tokens_spent"] - sum(int(line["tokens"]) for line in lines) >= 10)

    async def has_walked(self, entity: Entity, pages: int) -> bool:
        state = await self.state(entity)
        return state is not None and state.progress.pages >= pages

    async def waits(self, entity: Entity, why: str) -> bool:
        state = await self.state(entity)
        return state is not None and why in state.reason

    async def requests(self, path: str) -> list[int]:
        """Statuses of what was asked."""
        return [line["status"] for line in await self.resolving.asked(self.name) if line["path"] == path]

    async def change(self, method: str, path: str, body: Any = None) -> None:
        await self.resolving.pipedrive(self.name, method, f"/api/v2/{path}", body)


def all_of(count: int) -> set[str]:
    return {str(number) for number in range(1, count + 1)}


async def test_every_object_of_three_entities_is_emitted_once(resolving: Resolving) -> None:
    """Archived deals have a list of their own; deleted ones are shown for 30 days."""
    acme = Acme(resolving)
    await acme.founded(COUNTS)
    for number in range(1, 21):
        await acme.change("PATCH", f"deals/{number}", {"is_archived": True})
    await acme.change("DELETE", "deals/500")
    await acme.change("DELETE", "persons/7")

    for entity in COUNTS:
        acme.walk(entity)
    states = {entity: await acme.ends(entity) for entity in COUNTS}

    found = {entity: await acme.emitted(entity) for entity in COUNTS}
    assert set(found["organization"]) == all_of(1_300)
    assert set(found["person"]) == all_of(1_100) - {"7"}
    assert set(found["deal"]) == all_of(1_200)
    assert {number for number, one in found["deal"].items() if one.action == "gone"} == {"500"}
    assert {one.lane for one in found["deal"].values()} == {"backfill"}
    told = {e: (s.progress.pages, s.progress.read, s.progress.desired, s.progress.tokens) for e, s in states.items()}
    assert told == {
        "organization": (3, 1_300, 1_300, 30), "person": (3, 1_099, 1_099, 30), "deal": (4, 1_200, 1_200, 50),
    }  # fmt: skip
    assert await acme.requests("/api/v2/deals/archived") == [200]
    assert recompute(resolving.kafka)[ACCOUNT].balanced


async def test_each_page_is_a_trace_that_links_to_the_page_before(resolving: Resolving, exports: Listener) -> None:
    """One trace of a whole walk would have no end."""
    acme = Acme(resolving)
    await acme.founded({"organization": 1_001})
    before = {span.trace_id for span in Spans(exports).all}

    acme.walk("organization")
    await acme.ends("organization")

    async def exported() -> bool:
        return len(pages()) == 3

    def pages() -> list[Span]:
        mine = [span for span in Spans(exports).all if span.trace_id not in before]
        return sorted((span for span in mine if span.name == PAGE), key=lambda span: span.started_ns)

    await until(exported)
    first, second, third = pages()
    sent = {span.span_id: span for span in Spans(exports).all if span.name == "send pipedrive.requests"}
    assert first.parent_id == ""
    for page, earlier in ((second, first), (third, second)):
        asked = sent[page.parent_id]
        assert (asked.parent_id, asked.links) == ("", [(earlier.trace_id, earlier.span_id)])
        assert asked.trace_id == page.trace_id != earlier.trace_id


async def test_a_comparison_asks_the_accounts_owner_about_every_object_and_accepts_nothing(
    resolving: Resolving,
) -> None:
    acme = Acme(resolving)
    await acme.founded({"organization": 1_200})
    await acme.change("DELETE", "organizations/7")

    acme.walk("organization", purpose="compare")
    state = await acme.ends("organization")
    acme.job = "by-id"
    acme.walk("organization", purpose="compare", ids=("3", "7", "5000"))
    await acme.ends("organization")

    sent = [Compare.decode(one.value or b"") for one in await resolving.read(topics.NETSUITE_REQUESTS)]
    mine = [one for one in sent if one.flow == acme.name]
    walked = [one for one in mine if one.job_id != "by-id"]
    assert [(one.page, one.part, one.parts, len(one.records)) for one in walked] == [
        (1, 1, 1, 500),
        (2, 1, 1, 500),
        (3, 1, 1, 199),
    ]
    assert {record.source_id for one in walked for record in one.records} == all_of(1_200) - {"7"}
    assert {record.source_id: record.action for record in mine[-1].records} == {
        "3": "upsert",
        "7": "gone",
        "5000": "gone",
    }
    assert (state.progress.desired, state.progress.rejected) == (1_199, 0)
    causes = {(one.key or b"").partition(b":organization:")[0] for one in await resolving.read(topics.AUDIT)}
    assert not causes & {f"syn:{one.job_id}".encode() for one in mine}
    assert all(account.balanced for account in recompute(resolving.kafka).values())


async def test_hydrates_are_answered_while_a_walk_waits(resolving: Resolving) -> None:
    """Pages have a queue of their own: here one takes ten seconds."""
    acme = Acme(resolving)
    await acme.founded({"organization": 600})
    await resolving.followed(acme.name, company=acme.name)
    slow = {"company": acme.name, "match": "/api/v2/organizations", "delay_s": 10, "count": 1}
    await resolving.sandbox("POST", "faults", slow)

    acme.walk("organization")
    await until(acme.has_asked)
    asked_s = time.monotonic()
    for number in range(1, 11):
        request = Hydrate(
            request_id=f"{acme.job}-{number}", flow=acme.name, entity="organization", source_id=str(number),
            lane="live", reason="a test", at_ms=1,
        )  # fmt: skip
        resolving.ask(request, company=acme.name)
    await resolving.caused({f"hyd:{acme.job}-{number}" for number in range(1, 11)})

    assert time.monotonic() - asked_s < 10
    assert await acme.emitted("organization") == {}
    await acme.ends("organization")
    assert set(await acme.emitted("organization")) == all_of(600)


async def test_pause_holds_it_and_resume_goes_on_where_it_was(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({"organization": 1_200})
    await acme.slowly("organization")

    acme.walk("organization")
    await until(lambda: acme.has_walked("organization", 1))
    acme.steer("paused", "organization")
    paused = await acme.ends("organization", "paused")
    asked = len(await acme.requests("/api/v2/organizations"))
    acme.steer("running", "organization")
    done = await acme.ends("organization")

    assert 1 <= paused.progress.pages < 3
    assert asked == paused.progress.pages
    assert (done.progress.pages, done.progress.read) == (3, 1_200)
    assert set(await acme.emitted("organization")) == all_of(1_200)


async def test_cancelled_walk_asks_no_more_and_is_forgotten(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({"person": 1_200})
    await acme.slowly("person")

    acme.walk("person")
    await until(lambda: acme.has_walked("person", 1))
    acme.steer("cancelled", "person")
    cancelled = await acme.ends("person", "cancelled")
    acme.steer("running", "person")
    acme.steer("forgotten", "person")

    async def is_forgotten() -> bool:
        return await acme.state("person") is None

    await until(is_forgotten)
    assert len(await acme.requests("/api/v2/persons")) == cancelled.progress.pages < 3


async def test_killed_in_the_middle_it_skips_no_page(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({"organization": 2_600})
    await acme.slowly("organization")

    acme.walk("organization")
    await until(lambda: acme.has_walked("organization", 2))
    await resolving.stack.kill(RESOLVER)
    await resolving.stack.start_one(RESOLVER)
    done = await acme.ends("organization")

    assert set(await acme.emitted("organization")) == all_of(2_600)
    assert (done.progress.pages, done.progress.read, done.progress.desired) == (6, 2_600, 2_600)
    assert recompute(resolving.kafka)[ACCOUNT].balanced


async def test_objects_that_do_not_fit_are_dead_letters_and_stop_it_where_somebody_said(resolving: Resolving) -> None:
    acme = Acme(resolving)
    fields = {"companyName": "data.name", "email": "data.owner_id", "comments": "data.label_ids"}
    entities = {"organization": {"record": "customer", "fields": fields, "required": ["companyName"]}}
    await acme.founded({"organization": 700}, entities)

    acme.walk("organization", stop_after=100)
    paused = await acme.ends("organization", "paused")
    acme.steer("running", "organization", stop_after=0)
    done = await acme.ends("organization")

    assert paused.progress.rejected == 500
    assert "comments" in paused.reason
    assert (done.progress.read, done.progress.rejected, done.progress.desired) == (700, 700, 0)
    assert list(done.progress.faults.values()) == [700]
    letters = {cause for cause in await resolving.dead_letters() if cause.startswith(f"syn:{acme.job}")}
    assert letters == {f"syn:{acme.job}:organization:{number}" for number in all_of(700)}
    assert recompute(resolving.kafka)[ACCOUNT].balanced


async def test_refused_cursors_restart_it_three_times_and_then_fail_it(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({"organization": 600})
    await resolving.company(acme.name, cursor_lives_s=0)

    acme.walk("organization")
    failed = await acme.ends("organization", "failed")
    await resolving.company(acme.name, cursor_lives_s=None)
    acme.steer("running", "organization")
    done = await acme.ends("organization")

    assert "refused the cursor" in failed.reason
    assert failed.progress.pages == 4, "each time the first page was read anew"
    assert done.progress.read == 600
    assert set(await acme.emitted("organization")) == all_of(600)


async def test_it_waits_for_tokens_and_leaves_the_others_theirs(resolving: Resolving) -> None:
    """Of 100 tokens a quarter is for syncs: two pages."""
    acme = Acme(resolving)
    await acme.founded({"person": 1_200}, limits={"daily_tokens": 100, "reserve": 0})

    acme.walk("person", token_share=0.25)
    await until(lambda: acme.waits("person", "25 tokens"))
    waits = await acme.state("person")
    acme.walk("deal", token_share=0.05)
    too_small = await acme.ends("deal", "failed")

    assert waits is not None
    assert waits.state == "running"
    assert waits.progress.pages == 2
    assert waits.until_ms > time.time() * 1000 + 22 * 3_600_000
    assert "one page costs 10" in too_small.reason
    raised = resolving.flow(acme.name, {}, limits={"daily_tokens": 200, "reserve": 0})
    resolving.flows([{**raised, "entities": ENTITIES}], version=2)
    acme.steer("running", "person")
    assert (await acme.ends("person")).progress.read == 1_200


async def test_chosen_ids_are_found_wherever_they_are(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({"deal": 250})
    await acme.change("PATCH", "deals/2", {"is_archived": True})
    await acme.change("DELETE", "deals/3")
    ids = (*sorted(all_of(150)), "99999")

    acme.walk("deal", ids=ids)
    done = await acme.ends("deal")

    found = await acme.emitted("deal")
    assert set(found) == {*all_of(150), "99999"}
    assert {number for number, one in found.items() if one.action == "gone"} == {"3", "99999"}
    assert (done.progress.pages, done.progress.read) == (2, 151)
    assert done.progress.tokens == 20 + 2, "the archived one and the one that never was were asked for singly"


async def test_failing_pipedrive_is_waited_for(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({"organization": 600})
    for status in (500, 502, 503):
        fault = {"company": acme.name, "match": "/api/v2/organizations", "status": status, "count": 1}
        await resolving.sandbox("POST", "faults", fault)

    acme.walk("organization")
    done = await acme.ends("organization", within_s=20)

    assert set(await acme.emitted("organization")) == all_of(600)
    assert done.reason == ""


async def test_what_nobody_can_walk_fails_with_a_reason(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await acme.founded({}, {"organization": ENTITIES["organization"]})

    acme.walk("deal")
    acme.walk("organization", updated_since="yesterday")
    unmapped, refused = await acme.ends("deal", "failed"), await acme.ends("organization", "failed")

    assert unmapped.reason == "the flow does not map deals"
    assert "HTTP 400" in refused.reason
