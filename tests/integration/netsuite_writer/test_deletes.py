"""What was deleted in Pipedrive stays in NetSuite, inactive or lost, until it comes back."""

from __future__ import annotations

import pytest

from ml_connector.common.keys import Entity, RecordType
from ml_connector.common.wire import Reference
from support.own_account import OwnAccount
from support.steering import opened, record, records
from support.writing import SUBSIDIARY, Writing, answer_to, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUALIFIED = {"entityStatus": Reference("status", "8")}


@pytest.mark.parametrize(
    ("name", "entity", "kind"), [("3200001", "organization", "customer"), ("3200002", "person", "contact")]
)
async def test_a_deleted_record_is_inactive_and_a_restored_one_active_again(
    writing: Writing, name: str, entity: Entity, kind: RecordType
) -> None:
    own = await OwnAccount.open(writing, name)
    external_id = own.state(entity, 1).external_id
    fields = {"firstName": "Ada"} if entity == "person" else {}
    await own.emit(own.state(entity, 1, fields=fields))
    await own.outcomes()
    before = await record(own, kind, external_id)

    await own.emit(own.state(entity, 1, version=2, action="inactivate"))
    assert await own.settled() == ["written", "written"]
    assert (await record(own, kind, external_id))["isInactive"] is True

    await own.emit(own.state(entity, 1, version=3, fields=fields))
    await own.outcomes()
    after = await record(own, kind, external_id)
    assert (after["id"], after["isInactive"]) == (before["id"], False)
    assert await own.judged() == []


async def test_a_record_restored_while_nothing_changed_is_active_again(writing: Writing) -> None:
    """The content is the same as before; only that it was inactive tells."""
    own = await OwnAccount.open(writing, "3200003")
    same = {"companyName": "Acme v1"}
    await own.emit(own.state("organization", 1, fields=same))
    await own.outcomes()
    await own.emit(own.state("organization", 1, version=2, action="inactivate"))
    await own.outcomes()

    await own.emit(own.state("organization", 1, version=3, fields=same))
    await own.outcomes()

    assert (await record(own, "customer", "pd-org-1"))["isInactive"] is False


async def test_a_flow_may_leave_deleted_records_alone(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3200004")
    await own.emit(own.state("organization", 1))
    await own.outcomes()

    await own.emit(own.state("organization", 1, version=2, action="ignore"))
    assert await own.settled() == ["written", "ignored"]

    assert len(await own.log()) == 1
    assert not (await record(own, "customer", "pd-org-1")).get("isInactive")


@pytest.mark.parametrize(
    ("name", "statuses", "status"), [("3200010", {"lost": "14"}, "14"), ("3200011", {"deleted": "16"}, "16")]
)
async def test_a_deleted_deal_gets_the_status_for_it_and_a_restored_one_its_stage_again(
    writing: Writing, name: str, statuses: dict[str, str], status: str
) -> None:
    own = await opened(writing, name, statuses=statuses)
    deal = own.state("deal", 1, of=1, references=QUALIFIED)
    await own.emit(own.state("organization", 1), deal)
    await own.outcomes()

    await own.emit(own.state("deal", 1, version=2, of=1, action="inactivate"))
    await own.outcomes()
    assert (await record(own, "opportunity", "pd-deal-1"))["entityStatus"] == status

    await own.emit(own.state("deal", 1, version=3, of=1, references=QUALIFIED))
    await own.outcomes()
    assert (await record(own, "opportunity", "pd-deal-1"))["entityStatus"] == "8"
    assert await own.judged() == []


async def test_a_deleted_deal_is_left_alone_where_the_flow_names_no_status(writing: Writing) -> None:
    own = await opened(writing, "3200012", statuses=None)
    await own.emit(own.state("organization", 1), own.state("deal", 1, of=1, references=QUALIFIED))
    await own.outcomes()
    deleted = own.state("deal", 1, version=2, of=1, action="inactivate")

    await own.emit(deleted)
    (outcome,) = await own.outcomes(deleted)

    assert (outcome.outcome, outcome.reason) == (
        "ignored",
        "the flow names no status for deleted deals (statuses.deleted)",
    )
    assert (await record(own, "opportunity", "pd-deal-1"))["entityStatus"] == "8"


async def test_what_was_deleted_before_it_was_written_is_nothing_to_do(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3200013")
    states = [own.state(entity, 1, action="inactivate") for entity in ("organization", "person", "deal")]

    await own.emit(*states)

    assert await own.settled() == ["ignored"] * 3
    assert [await records(own, kind) for kind in ("customer", "contact", "opportunity")] == [[], [], []]


async def test_a_merge_makes_the_loser_inactive_and_asks_for_its_waiting_children_anew(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3200020")
    loser, winner = own.state("organization", 1), own.state("organization", 2)
    await own.emit(loser, winner)
    await own.outcomes()

    await own.emit(own.state("organization", 1, version=2, action="inactivate", merged_to="2"))
    await own.outcomes()
    children = [own.state("deal", 1, of=1), own.state("person", 1, of=1, fields={"firstName": "Ada"})]
    await own.emit(*children)

    async def both_asked() -> bool:
        return len(await own.hydrates()) == 2

    await until(both_asked)
    for hydrate in await own.hydrates():
        state = own.state(hydrate.entity, hydrate.source_id, version=2, of=2, fields=children[1].fields)
        if hydrate.entity == "deal":
            state = own.state("deal", 1, version=2, of=2)
        await own.emit(answer_to(hydrate, state))
    await own.outcomes()

    customers = {one["externalId"]: one for one in await records(own, "customer")}
    assert customers["pd-org-1"]["isInactive"] is True
    assert not customers["pd-org-2"].get("isInactive")
    fields: dict[RecordType, str] = {"opportunity": "entity", "contact": "company"}
    for kind, field in fields.items():
        (child,) = await records(own, kind)
        assert child[field] == customers["pd-org-2"]["id"]
    assert {hydrate.reason for hydrate in await own.hydrates()} == {"merged parent"}


async def test_a_deleted_record_is_made_inactive_only_once(writing: Writing) -> None:
    own = await OwnAccount.open(writing, "3200021")
    await own.emit(own.state("organization", 1))
    await own.outcomes()

    for version in (2, 3):
        await own.emit(own.state("organization", 1, version=version, action="inactivate", references=SUBSIDIARY))
        await own.outcomes()

    assert [line["method"] for line in await own.log()] == ["PUT", "PATCH"]
