"""Flows in SQL: which changes are made, what is told of them, and that a version's number is given once."""

from __future__ import annotations

import asyncio
import copy
from importlib import resources
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import Connection, select

from ml_connector.admin.changing import Said
from ml_connector.admin.database import Database
from ml_connector.admin.flows.change import Changed, Flows
from ml_connector.admin.flows.fits import Fit
from ml_connector.admin.flows.look import FlowLooks
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.tables import act, outbox
from ml_connector.common.clock import Deadline, ManualClock
from ml_connector.common.errors import InvalidFlow, TryLater
from ml_connector.common.flows import ActiveFlow, Flow, FlowVersion
from ml_connector.common.topics import FLOWS, Topic
from ml_connector.common.wire import Act

ANNA = Actor("anna", Role.admin)
NAME = "acme-eu"
DOCUMENT: dict[str, Any] = YAML(typ="safe").load(
    resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()
)


class Level:
    """Whether the tables hold what the topic holds."""

    def __init__(self) -> None:
        self.problem: TryLater | None = None

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        assert of is FLOWS
        if self.problem is not None:
            raise self.problem


async def fitting(_: Flow) -> Fit:
    return Fit()


@pytest.fixture
def flows(empty: Database) -> Flows:
    return Flows(empty, Level(), fitting, ManualClock())


def changed(**changes: Any) -> dict[str, Any]:
    """The demo's flow; `fields`: of its organization."""
    made = copy.deepcopy(DOCUMENT)
    made["entities"]["organization"]["fields"] |= changes.pop("fields", {})
    for path, value in changes.items():
        part, _, member = path.partition("__")
        if member:
            made[part][member] = value
        else:
            made[part] = value
    return made


ANOTHER = {"fields": {"comments": "data.name"}}


async def apply(flows: Flows, document: dict[str, Any] = DOCUMENT, expect: int | None = None) -> Changed:
    return await flows.apply(document, Said(ANNA, "because", expect))


def told(connection: Connection) -> list[tuple[str, Any]]:
    rows = connection.execute(select(outbox).where(outbox.c.topic == FLOWS.name).order_by(outbox.c.id))
    return [(r.key, (FlowVersion if "/v" in r.key else ActiveFlow).decode(r.value)) for r in rows]


async def test_flow_gets_version_after_version_and_all_of_it_is_told(flows: Flows, empty: Database) -> None:
    await apply(flows)
    second = await apply(flows, changed(**ANOTHER))

    assert (second.changed, second.known.active.version, second.known.active.revision) == (True, 2, 2)
    with empty.read() as connection:
        messages = told(connection)
        acts = [Act.decode(value) for value in connection.scalars(select(act.c.value))]
    assert [key for key, _ in messages] == [f"{NAME}/v1", NAME, f"{NAME}/v2", NAME]
    assert [value.version for _, value in messages] == [1, 1, 2, 2]
    assert {(one.act, one.actor, one.reason, one.detail["version"]) for one in acts} == {
        ("flow.apply", "anna", "because", 1),
        ("flow.apply", "anna", "because", 2),
    }
    assert FlowLooks(empty).active(NAME).version == 2


async def test_what_is_active_already_changes_nothing(flows: Flows, empty: Database) -> None:
    await apply(flows)

    again = await apply(flows)

    assert (again.changed, again.known.active.version) == (False, 1)
    with empty.read() as connection:
        assert len(told(connection)) == 2


async def test_earlier_version_can_be_activated_and_numbers_go_on_from_the_highest(flows: Flows) -> None:
    await apply(flows)
    await apply(flows, changed(**ANOTHER))

    back = await flows.activate(NAME, 1, Said(ANNA))
    third = await apply(flows, changed(fields={"comments": "data.id"}))

    assert (back.known.active.version, third.known.active.version) == (1, 3)


async def test_pause_and_resume_keep_the_version(flows: Flows) -> None:
    await apply(flows)

    paused, again = await flows.pause(NAME, Said(ANNA)), await flows.pause(NAME, Said(ANNA))
    resumed = await flows.resume(NAME, Said(ANNA))

    assert (paused.known.active.paused, again.changed) == (True, False)
    assert (resumed.known.active.paused, resumed.known.active.version) == (False, 1)
    assert resumed.known.active.revision == 3


async def test_new_version_of_a_paused_flow_stays_paused(flows: Flows) -> None:
    await apply(flows)
    await flows.pause(NAME, Said(ANNA))

    assert (await apply(flows, changed(**ANOTHER))).known.active.paused


@pytest.mark.parametrize("expect", [0, 2])
async def test_expectation_that_does_not_hold_is_a_conflict(flows: Flows, empty: Database, expect: int) -> None:
    await apply(flows, expect=0)

    with pytest.raises(Conflict, match="version 1 is active"):
        await apply(flows, changed(**ANOTHER), expect=expect)
    with pytest.raises(Conflict):
        await flows.pause(NAME, Said(ANNA, expect=expect))
    assert FlowLooks(empty).active(NAME).version == 1


async def test_of_two_who_expect_the_same_one_wins(flows: Flows, empty: Database) -> None:
    await apply(flows)

    tries = [apply(flows, changed(fields={"comments": f"data.{name}"}), expect=1) for name in ("id", "name")]
    ended = await asyncio.gather(*tries, return_exceptions=True)

    assert [type(one) for one in ended].count(Conflict) == 1
    assert [one.version for one in FlowLooks(empty).versions(NAME)] == [2, 1]


async def test_many_at_once_get_a_number_each(flows: Flows, empty: Database) -> None:
    await asyncio.gather(*(apply(flows, changed(fields={"comments": f"data.f{n}"})) for n in range(8)))

    with empty.read() as connection:
        messages = told(connection)
    assert [one.version for one in FlowLooks(empty).versions(NAME)] == [*range(8, 0, -1)]
    assert [value.revision for key, value in messages if key == NAME] == [*range(1, 9)]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"netsuite__account": "7654321_SB1"}, "netsuite.account"),
        ({"pipedrive__company": "other"}, "pipedrive.company"),
        ({"external_ids": "xy"}, "external_ids"),
    ],
)
async def test_identity_never_changes(flows: Flows, changes: dict[str, Any], path: str) -> None:
    await apply(flows)

    with pytest.raises(InvalidFlow) as error:
        await apply(flows, changed(**changes))
    assert [one.partition(":")[0] for one in error.value.problems] == [path]


@pytest.mark.parametrize("prefix", ["pd", "PD", "pD"])
async def test_prefix_of_another_flow_of_the_account_is_refused_in_any_case(flows: Flows, prefix: str) -> None:
    await apply(flows)

    with pytest.raises(InvalidFlow, match="uses 'pd' already"):
        await apply(flows, changed(flow="other", external_ids=prefix))
    assert (await apply(flows, changed(flow="other", external_ids="us"))).changed


async def test_every_problem_is_told(flows: Flows) -> None:
    with pytest.raises(InvalidFlow) as error:
        await apply(flows, changed(external_ids="?", environment="production"))
    assert len(error.value.problems) >= 2


async def test_unknown_flow_or_version_is_not_found(flows: Flows) -> None:
    await apply(flows)

    with pytest.raises(NotFound, match="no flow nope"):
        await flows.pause("nope", Said(ANNA))
    with pytest.raises(NotFound, match="no version 9"):
        await flows.activate(NAME, 9, Said(ANNA))


async def test_nothing_changes_while_the_topic_is_not_read(empty: Database) -> None:
    """A database that was just made anew does not know which numbers are given."""
    level = Level()
    level.problem = TryLater("the topics are not read to their ends")

    with pytest.raises(TryLater):
        await apply(Flows(empty, level, fitting, ManualClock()))
    with empty.read() as connection:
        assert told(connection) == []


async def test_what_does_not_fit_the_company_is_refused_unless_nobody_asks(empty: Database) -> None:
    asked: list[str] = []

    async def unfit(flow: Flow) -> Fit:
        asked.append(flow.flow)
        return Fit(problems=("stages: the company has no such stage: 'Sales/Won'",))

    flows = Flows(empty, Level(), unfit, ManualClock())

    with pytest.raises(InvalidFlow, match="no such stage"):
        await apply(flows)
    unasked = await flows.apply(DOCUMENT, Said(ANNA), check=False)
    again = await apply(flows)

    assert (unasked.changed, unasked.unchecked, again.changed) == (True, "it was not asked for", False)
    assert asked == [NAME]


async def test_company_that_cannot_be_looked_at_keeps_nobody_from_applying(empty: Database) -> None:
    async def silent(_: Flow) -> Fit:
        return Fit(unchecked="the resolver did not answer")

    applied = await apply(Flows(empty, Level(), silent, ManualClock()))

    assert (applied.changed, applied.unchecked) == (True, "the resolver did not answer")
