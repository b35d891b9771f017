"""Doctor at the admin service: its own looks first, then both owners; who does not answer is a finding."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest
from ruamel.yaml import YAML
from sqlalchemy import insert

from ml_connector.admin.checks import Checks
from ml_connector.admin.database import Database
from ml_connector.admin.flows.fits import Fit, fit_of
from ml_connector.admin.flows.stops import Stops
from ml_connector.admin.owners import NoAnswer, Owners
from ml_connector.admin.replay.control import NotFound
from ml_connector.admin.tables import standing
from ml_connector.common import keys, topics
from ml_connector.common.asking import Check, Checked, CheckResult, Finding
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import parse_flow
from support.letters import new_database

FLOW = parse_flow(YAML(typ="safe").load(resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()))
ACCOUNT = FLOW.netsuite.account


class Answering:
    """Owners of canned answers."""

    def __init__(self, *silent: str) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        self._silent = silent

    async def ask(self, topic: topics.Topic, whose: str, kind: str, *, body: bytes, **_: Any) -> Checked:
        self.asked.append((topic.name, whose, kind, Check.decode(body).flow))
        if topic.name in self._silent:
            raise NoAnswer("the service did not answer within 30 s")
        return Checked((Finding(f"{topic.name.partition('.')[0]}.address", "ok", "resolves"),))


class Known:
    def active(self, name: str) -> LiveFlow:
        if name != FLOW.flow:
            raise NotFound(f"there is no flow {name}")
        return LiveFlow(FLOW, 3, paused=False)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = new_database(tmp_path)
    yield one
    one.close()


def checks(owners: Answering, database: Database) -> Checks:
    return Checks(Known(), cast(Owners, owners), looks=(Stops(database).look,))


async def test_own_looks_come_first_then_both_sides(database: Database) -> None:
    owners = Answering()

    live, findings = await checks(owners, database).run(FLOW.flow)

    assert live.version == 3
    assert [(one.check, one.result) for one in findings] == [
        ("flow.active", "ok"),
        ("flow.running", "ok"),
        ("pipedrive.address", "ok"),
        ("netsuite.address", "ok"),
    ]
    assert sorted(owners.asked) == [
        ("netsuite.requests", ACCOUNT, "check", FLOW.flow),
        ("pipedrive.requests", FLOW.pipedrive.company, "check", FLOW.flow),
    ]


async def test_owner_who_does_not_answer_is_a_finding_and_the_other_is_still_told(database: Database) -> None:
    _, findings = await checks(Answering("netsuite.requests"), database).run(FLOW.flow)

    silent = findings[-1]
    assert (silent.check, silent.result) == ("netsuite.owner", "failed")
    assert "netsuite-writer is ready" in silent.fix
    assert findings[-2] == Finding("pipedrive.address", "ok", "resolves")


async def test_unknown_flow_is_not_found_and_nobody_is_asked(database: Database) -> None:
    owners = Answering()

    with pytest.raises(NotFound):
        await checks(owners, database).run("nope")
    assert owners.asked == []


def test_paused_flow_is_a_warning_with_the_command_that_ends_it(database: Database) -> None:
    found = Stops(database).look(LiveFlow(FLOW, 3, paused=True))[0]

    assert (found.result, found.fix) == ("warning", f"`mlc flows resume {FLOW.flow}`")


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        (keys.flow_key(FLOW.flow), "mend it, then `mlc flows resume acme-eu`"),
        (keys.account_key(ACCOUNT.lower()), "mend it: the writer tries again by itself"),
        (keys.account_key(ACCOUNT.lower(), "contact"), "mend it: the writer tries again by itself"),
    ],
)
def test_what_stops_it_is_told_with_its_reason(database: Database, key: str, fix: str) -> None:
    with database.write() as connection:
        connection.execute(insert(standing), [{"key": key, "state": "stopped", "reason": "401 twice", "at_ms": 1}])

    found = Stops(database).look(LiveFlow(FLOW, 3, paused=False))[1]

    assert (found.result, found.fix) == ("failed", fix)
    assert "401 twice" in found.says


@pytest.mark.parametrize(
    ("auth", "fix"),
    [
        ("oauth2", "`mlc pipedrive connect acme`, then it goes on by itself"),
        ("api-token", "`mlc secrets set pipedrive/acme api-token`, then it goes on by itself"),
    ],
)
def test_stopped_company_is_told_with_what_a_person_does(database: Database, auth: Any, fix: str) -> None:
    side = FLOW.pipedrive.model_copy(update={"company": "acme", "auth": auth})
    with database.write() as connection:
        row = {"key": keys.company_key("acme"), "state": "suspended", "reason": "revoked", "at_ms": 1}
        connection.execute(insert(standing), [row])

    found = Stops(database).look(LiveFlow(FLOW.model_copy(update={"pipedrive": side}), 3, paused=False))[1]

    assert (found.result, found.says, found.fix) == ("failed", "acme is suspended: revoked", fix)


def test_several_stops_are_told_each_with_its_fix(database: Database) -> None:
    stopped = (keys.company_key(FLOW.pipedrive.company), keys.flow_key(FLOW.flow))
    with database.write() as connection:
        for key in stopped:
            connection.execute(insert(standing), [{"key": key, "state": "stopped", "reason": "x", "at_ms": 1}])

    found = Stops(database).look(LiveFlow(FLOW, 3, paused=False))[1]

    assert found.fix.count("; ") == 1
    assert "mlc secrets set" in found.fix
    assert "mlc flows resume" in found.fix


def test_what_stops_others_is_not_told(database: Database) -> None:
    with database.write() as connection:
        for key in (keys.flow_key("other"), keys.account_key("7654321"), keys.company_key("other")):
            connection.execute(insert(standing), [{"key": key, "state": "halted", "reason": "x", "at_ms": 1}])

    assert Stops(database).look(LiveFlow(FLOW, 3, paused=False))[1].result == "ok"


@pytest.mark.parametrize(
    ("findings", "fit"),
    [
        ([("pipedrive.fields", "ok", ""), ("pipedrive.stages", "warning", "unmapped")], Fit()),
        ([("pipedrive.stages", "failed", "no such stage")], Fit(problems=("stages: no such stage: mend",))),
        ([("pipedrive.fields", "failed", "no such field")], Fit(problems=("entities: no such field: mend",))),
        (
            [("pipedrive.authentication", "failed", "wrong token"), ("pipedrive.fields", "skipped", "needs it")],
            Fit(unchecked="wrong token"),
        ),
    ],
)
def test_only_what_was_looked_at_can_be_a_problem(findings: list[tuple[str, CheckResult, str]], fit: Fit) -> None:
    assert fit_of(Checked(tuple(Finding(what, result, says, "mend") for what, result, says in findings))) == fit
