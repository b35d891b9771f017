"""The judge of the writer: it must let a good log pass, and find each planted violation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Desired, Outcome, Superseded
from ml_connector.sandbox.netsuite.journal import Line
from support.desired import ACCOUNT, child, desired
from support.judging import Evidence, Rule, Violation, judge

RECORDS = "/services/rest/record/v1"
SKIP = "NetSuite already holds exactly this"


def org(source_id: str = "1", *, version: int = 1, text: str = "", **more: Any) -> Desired:
    """Organization `source_id`; `text` is its name, when that is not to be told from the version."""
    fields = {"companyName": text or f"Org {source_id} v{version}"}
    return desired("organization", source_id, version=version, **{"fields": fields, **more})


def deal(source_id: str, *, of: str, version: int = 1, **more: Any) -> Desired:
    return child("deal", source_id, of=of, version=version, fields={"title": f"Deal v{version}"}, **more)


def gone(source_id: str = "1", *, version: int) -> Desired:
    return desired("organization", source_id, version=version, action="inactivate", fields={})


@dataclass(slots=True)
class Scene:
    """What happened, told request by request; times in ms."""

    lines: list[Line] = field(default_factory=list)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    states: list[Desired] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    slots: int = 5

    def put(self, state: Desired, start: float, end: float, *, job: str = "", body: Any = None, **more: Any) -> Line:
        """One write of one record, committed as it ends."""
        method = "PUT" if state.action == "upsert" else "PATCH"
        line = self._line(method, f"{state.record_type}/eid:{state.external_id}", state.record_type, start, end)
        line.external_id, line.job = state.external_id, job
        line.body = json.dumps(body or (state.fields if state.action == "upsert" else {"isInactive": True}))
        line.status = 204
        line.commit_seq, line.commit_ms, line.internal_id = line.seq, end, f"of {state.external_id}"
        _change(line, more)
        return line

    def batch(self, states: list[Desired], start: float, end: float, *, job: str, key: str = "", **more: Any) -> Line:
        """The submit alone."""
        kind = states[0].record_type
        line = self._line("PUT", kind, kind, start, end)
        line.status, line.submitted, line.key = 202, job, key
        line.body = json.dumps({"items": [{"externalId": state.external_id, **state.fields} for state in states]})
        _change(line, more)
        return line

    def holds(self, state: Desired, *, internal_id: str = "", **more: Any) -> None:
        dump = {"id": internal_id or f"of {state.external_id}", "externalId": state.external_id, **state.fields, **more}
        self.records.setdefault(state.record_type, []).append(dump)

    def settle(self, state: Desired, at: int, outcome: str = "written", **more: Any) -> None:
        self.states.append(state)
        made = Outcome(
            cause=state.cause, flow=state.flow, company=state.company, account=state.account,
            record_key=state.record_key, outcome="written", received_at_ms=0, at_ms=at,
        )  # fmt: skip
        self.outcomes.append(msgspec.structs.replace(made, outcome=outcome, **more))

    def written(self, state: Desired, start: float, end: float) -> Line:
        """The whole life of the only state of a record."""
        line = self.put(state, start, end)
        self.holds(state)
        self.settle(state, int(end) + 1)
        return line

    def read(self, start: float, end: float, **more: Any) -> None:
        _change(self._line("GET", "customer", "customer", start, end), more)

    def evidence(self) -> Evidence:
        log = [line.as_dict() for line in self.lines]
        return Evidence(log, {ACCOUNT: self.records}, self.states, self.outcomes, self.slots)

    def judged(self) -> list[Violation]:
        return judge(self.evidence())

    def _line(self, method: str, path: str, kind: str, start: float, end: float) -> Line:
        path = f"{RECORDS}/{path}"
        line = Line(len(self.lines) + 1, ACCOUNT, method, path, kind, "", start, 0, end_ms=end)
        self.lines.append(line)
        return line


def _change(line: Line, more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        setattr(line, name, value)


NOT_DONE: dict[str, Any] = {"status": 429, "commit_seq": None, "commit_ms": None, "internal_id": ""}


def rules(scene: Scene) -> list[Rule]:
    return [violation.rule for violation in scene.judged()]


@pytest.fixture
def scene() -> Scene:
    """A good writer's log: single calls, a batch with a lost 202, a child, a deletion, a skipped call, a superseded state."""
    scene = Scene()
    first, second, third = org(version=1), org(version=2), org(version=3)
    same = desired("organization", "1", version=4, fields=third.fields)
    scene.put(first, 100, 150, status=500, **{n: NOT_DONE[n] for n in ("commit_seq", "commit_ms", "internal_id")})
    scene.put(first, 150, 200)
    scene.settle(first, 200)
    scene.settle(second, 210, "superseded", superseded_by=Superseded(Generation(3), third.cause))
    scene.put(third, 220, 250)
    scene.settle(third, 250)
    scene.settle(same, 260, reason=SKIP)
    scene.holds(same)

    members = [org(str(number)) for number in range(10, 14)]
    scene.batch(members, 100, 120, job="7", key="k", status=0, code="lost_answer")
    scene.batch(members, 130, 140, job="", key="k", status=400, code="IDEMPOTENCY_ERROR")
    for number, member in enumerate(members):
        scene.put(member, 120 + 10 * number, 130 + 10 * number, job="7")
        scene.holds(member)
        scene.settle(member, 170)

    scene.written(deal("1", of="1"), 200, 240)
    deleted, back = gone("30", version=2), org("30", version=3)
    scene.put(org("30"), 300, 310)
    scene.put(deleted, 320, 330)
    scene.put(back, 330, 340)
    for state, at in ((org("30"), 311), (deleted, 331), (back, 341)):
        scene.settle(state, at)
    scene.holds(back, isInactive=False)
    scene.settle(org("31", text="Bad v1"), 500, "dead_lettered")
    return scene


def test_a_good_log_passes(scene: Scene) -> None:
    assert scene.judged() == []


# -- generation order ----------------------------------------------------------------------------------------------------


def test_an_older_state_after_a_newer_one(scene: Scene) -> None:
    """Even one that NetSuite refused: it was sent."""
    scene.put(org(version=1), 400, 420, **NOT_DONE)

    (found,) = scene.judged()

    assert found == Violation("generation order", f"{org().record_key}: 1.0 sent after 3.0")


def test_an_older_state_in_a_batch_after_a_newer_one(scene: Scene) -> None:
    scene.batch([org(version=1), org("50")], 400, 420, job="", **NOT_DONE)
    scene.written(org("50"), 430, 440)

    assert rules(scene) == ["generation order"]


def test_an_inactivation_after_a_newer_state(scene: Scene) -> None:
    scene.put(gone("30", version=2), 400, 410, **NOT_DONE)

    assert rules(scene) == ["generation order"]


def test_equal_states_under_two_generations_are_the_one_that_fits(scene: Scene) -> None:
    """A hydrate answers with what NetSuite holds already: asserting it again is in order."""
    scene.put(org(version=3), 400, 410)

    assert rules(scene) == []


# -- final state ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [org(version=1), org(version=3, fields={"companyName": "Org 1 v4", "email": "a@b.c"})])
def test_netsuite_ends_at_another_state(scene: Scene, held: Desired) -> None:
    """A call that landed late, or half of it."""
    kept = [dump for dump in scene.records["customer"] if dump["externalId"] != "pd-org-1"]
    scene.records["customer"] = kept
    scene.holds(held)

    assert rules(scene) == ["final state"]


def test_a_field_of_the_newest_state_is_missing(scene: Scene) -> None:
    state = org("50", fields={"companyName": "Org v1", "email": "a@b.c"})
    scene.written(state, 400, 410)
    scene.records["customer"][-1]["email"] = "old@b.c"

    (found,) = scene.judged()

    assert found.rule == "final state" and found.detail.endswith("but email is another")


def test_a_record_is_missing_in_the_end(scene: Scene) -> None:
    scene.records["opportunity"].clear()

    assert rules(scene) == ["final state"]


@pytest.mark.parametrize(("inactive", "expected"), [(True, []), (False, ["final state"])])
def test_a_deleted_record_ends_inactive(scene: Scene, inactive: bool, expected: list[Rule]) -> None:
    scene.put(gone("10", version=2), 400, 410)
    scene.settle(gone("10", version=2), 411)
    next(dump for dump in scene.records["customer"] if dump["externalId"] == "pd-org-10")["isInactive"] = inactive

    assert rules(scene) == expected


@pytest.mark.parametrize(("status", "expected"), [("14", []), ("7", ["final state"])])
def test_a_deleted_deal_ends_lost(scene: Scene, status: str, expected: list[Rule]) -> None:
    deleted = deal("1", of="1", version=2, action="inactivate")
    deleted = msgspec.structs.replace(deleted, fields={})
    scene.put(deleted, 400, 410, body={"entityStatus": {"id": "14"}})
    scene.settle(deleted, 411)
    scene.records["opportunity"][0]["entityStatus"] = status

    assert rules(scene) == expected


def test_a_restored_record_stays_inactive(scene: Scene) -> None:
    next(dump for dump in scene.records["customer"] if dump["externalId"] == "pd-org-30")["isInactive"] = True

    assert rules(scene) == ["final state"]


# -- one in flight -------------------------------------------------------------------------------------------------------


def test_two_requests_of_one_record_overlap(scene: Scene) -> None:
    scene.put(org("11"), 400, 420)
    scene.put(org("11"), 419, 430)

    assert rules(scene) == ["one in flight"]


def test_a_request_that_never_ended_is_in_flight(scene: Scene) -> None:
    scene.put(org("11"), 400, 0, **NOT_DONE)
    scene.put(org("11"), 500, 510)

    assert rules(scene) == ["one in flight"]


def test_equal_stamps_do_not_overlap(scene: Scene) -> None:
    scene.put(org("11"), 400, 420)
    scene.put(org("11"), 420, 430)

    assert rules(scene) == []


@pytest.mark.parametrize(("start", "expected"), [(125, ["one in flight"]), (155, ["one in flight"]), (160, [])])
def test_a_member_of_a_batch_is_in_flight_until_its_task_ends(scene: Scene, start: int, expected: list[Rule]) -> None:
    """The last of four waits from 100 on and is done from 150 to 160."""
    scene.put(org("13"), start, start + 1, **NOT_DONE)

    assert sorted(set(rules(scene))) == expected


@pytest.mark.parametrize(("status", "expected"), [(400, []), (204, ["one in flight"])])
def test_a_member_without_a_task_waits_unless_its_job_stopped(scene: Scene, status: int, expected: list[Rule]) -> None:
    first, second = org("50"), org("51")
    scene.batch([first, second], 400, 410, job="8")
    scene.put(first, 410, 420, job="8", **({**NOT_DONE, "status": 400} if status == 400 else {}))
    scene.put(first, 500, 510)
    scene.put(second, 500, 510)
    for state in (first, second):
        scene.holds(state)
        scene.settle(state, 511)

    assert rules(scene) == expected


def test_a_single_asynchronous_request_is_in_flight_until_its_task_ends(scene: Scene) -> None:
    state = org("50")
    scene.put(state, 400, 410, submitted="9", **NOT_DONE)
    scene.put(state, 410, 450, job="9")
    scene.put(state, 440, 445)
    scene.holds(state)
    scene.settle(state, 451)

    assert set(rules(scene)) == {"one in flight"}


def test_a_client_that_has_hung_up_may_ask_again(scene: Scene) -> None:
    scene.put(org("11"), 400, 9_000)
    scene.put(org("11"), 1_500, 1_510)

    strict, lenient = judge(scene.evidence()), judge(replace(scene.evidence(), client_timeout_s=1))

    assert ([violation.rule for violation in strict], lenient) == (["one in flight"], [])


# -- slots ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "expected"), [(5, []), (6, ["slots"])])
def test_one_request_too_many(scene: Scene, count: int, expected: list[Rule]) -> None:
    for number in range(count):
        scene.read(400 + number, 450)

    assert rules(scene) == expected


def test_a_slot_is_free_at_the_instant_at_which_a_request_ends(scene: Scene) -> None:
    for start in (400, 450, 500):
        for _ in range(5):
            scene.read(start, start + 50)

    assert rules(scene) == []


def test_what_netsuite_counted_is_believed(scene: Scene) -> None:
    scene.read(400, 410, in_flight_at_start=5)

    (found,) = scene.judged()

    assert found == Violation("slots", f"{ACCOUNT}: 6 in flight, 5 allowed")


def test_tasks_tokens_and_other_accounts_take_no_slot(scene: Scene) -> None:
    for number in range(6):
        scene.read(400 + number, 450, account="" if number % 2 else "2")
        scene.read(400 + number, 450, job="99")

    assert rules(scene) == []


# -- parent first --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "expected"), [(429, ["parent first"]), (430, [])])
def test_a_child_before_its_parents_commit(scene: Scene, start: int, expected: list[Rule]) -> None:
    scene.written(org("50"), 400, 430)
    scene.written(deal("50", of="50"), start, 450)

    assert rules(scene) == expected


def test_a_child_in_a_batch_counts_from_the_submit(scene: Scene) -> None:
    scene.written(org("50"), 400, 430)
    state = deal("50", of="50")
    scene.batch([state], 420, 425, job="8")
    scene.put(state, 440, 450, job="8")
    scene.holds(state)
    scene.settle(state, 451)

    assert rules(scene) == ["parent first"]


def test_a_child_of_a_customer_that_never_came(scene: Scene) -> None:
    scene.written(deal("50", of="50"), 400, 410)

    assert rules(scene) == ["parent first"]


def test_a_child_whose_customer_is_known_to_be_gone_goes_to_the_default(scene: Scene) -> None:
    parent = desired("organization", "50", action="gone", fields={})
    scene.settle(parent, 399, "ignored")
    scene.written(deal("50", of="50", default_parent="4"), 400, 410)

    assert rules(scene) == []


def test_an_adopted_customer_is_a_parent(scene: Scene) -> None:
    """Its first commit gave an existing record, named by its internal id, our external id."""
    parent = org("50")
    line = scene.put(parent, 400, 410, body={"externalId": "pd-org-50", **parent.fields})
    line.method, line.path, line.internal_id = "PATCH", f"{RECORDS}/customer/1001", "1001"
    scene.holds(parent, internal_id="1001")
    scene.settle(parent, 411, internal_id="1001")
    scene.written(deal("50", of="50"), 410, 420)

    assert rules(scene) == []


def test_parents_may_be_told_from_outside(scene: Scene) -> None:
    state = desired("person", "50", fields={"lastName": "L v1"})
    scene.written(state, 400, 410)

    found = judge(replace(scene.evidence(), parents={state.record_key: org("99").record_key}))

    assert [violation.rule for violation in found] == ["parent first"]


# -- duplicate record ----------------------------------------------------------------------------------------------------


def test_two_creates_for_one_record(scene: Scene) -> None:
    scene.put(org("11"), 400, 410, internal_id="77")

    (found,) = scene.judged()

    assert found.rule == "duplicate record" and "77" in found.detail


def test_netsuite_holds_one_external_id_twice(scene: Scene) -> None:
    scene.holds(org("11", external_id="PD-ORG-11"), internal_id="77")

    assert rules(scene) == ["duplicate record"]


def test_one_record_was_given_to_two(scene: Scene) -> None:
    """The second adoption stole it from the first."""
    scene.written(org("50"), 400, 410).internal_id = "77"
    scene.written(org("51"), 420, 430).internal_id = "77"

    assert rules(scene) == ["duplicate record"]


def test_a_create_that_nobody_can_find_again(scene: Scene) -> None:
    line = scene.put(org("50"), 400, 410, external_id="")
    line.method, line.path = "POST", f"{RECORDS}/customer"

    assert rules(scene) == ["duplicate record", "accounting"]


# -- accounting ----------------------------------------------------------------------------------------------------------


def test_a_cause_without_outcome(scene: Scene) -> None:
    del scene.outcomes[1]

    assert rules(scene) == ["accounting"]


def test_a_cause_with_two_outcomes(scene: Scene) -> None:
    scene.outcomes.append(scene.outcomes[1])

    (found,) = scene.judged()

    told = "['superseded at 210', 'superseded at 210']"
    assert found == Violation("accounting", f"wh:organization-1-2 for {org().record_key} has 2 outcomes: {told}")


def test_an_outcome_of_nothing_emitted(scene: Scene) -> None:
    scene.outcomes.append(msgspec.structs.replace(scene.outcomes[0], cause="another"))

    assert rules(scene) == ["accounting"]


def test_a_state_that_was_emitted_twice_has_one_outcome(scene: Scene) -> None:
    scene.states.append(scene.states[0])

    assert rules(scene) == []


def test_written_without_a_commit_as_new(scene: Scene) -> None:
    """NetSuite holds it, but the log has no commit of it: somebody else made it so."""
    state = org("11", version=2)
    scene.settle(state, 400)
    next(dump for dump in scene.records["customer"] if dump["externalId"] == "pd-org-11").update(state.fields)

    assert rules(scene) == ["accounting"]


def test_written_before_its_commit(scene: Scene) -> None:
    scene.written(org("50"), 400, 410)
    scene.outcomes[-1] = msgspec.structs.replace(scene.outcomes[-1], at_ms=405)

    assert rules(scene) == ["accounting"]


def test_written_as_a_record_that_netsuite_did_not_name(scene: Scene) -> None:
    scene.written(org("50"), 400, 410)
    scene.outcomes[-1] = msgspec.structs.replace(scene.outcomes[-1], internal_id="1")

    assert rules(scene) == ["accounting"]


def test_a_call_was_skipped_although_netsuite_held_another_state(scene: Scene) -> None:
    """Version 1 again, after version 2: the digest of version 1 is no longer the newest."""
    first, second = org("50"), org("50", version=2)
    third = org("50", version=3, fields=first.fields)
    scene.put(first, 400, 410)
    scene.put(second, 410, 420)
    for state, reason in ((first, ""), (second, ""), (third, SKIP)):
        scene.settle(state, 421, reason=reason)
    scene.holds(third)

    assert rules(scene) == ["accounting"]


@pytest.mark.parametrize("by", [None, Superseded(Generation(1), "x")])
def test_superseded_by_nothing_newer(scene: Scene, by: Superseded | None) -> None:
    scene.outcomes[1] = msgspec.structs.replace(scene.outcomes[1], superseded_by=by)

    assert rules(scene) == ["accounting"]


def test_a_state_was_sent_that_nobody_emitted(scene: Scene) -> None:
    scene.put(org("11", version=9), 400, 410, **NOT_DONE)

    assert rules(scene) == ["accounting"]


# -- batch ---------------------------------------------------------------------------------------------------------------


def in_a_batch(scene: Scene, states: list[Desired]) -> None:
    """Refused as a whole, then written one by one where nothing was written yet."""
    scene.batch(states, 1000, 1010, job="", **NOT_DONE)
    known = {state.record_key for state in scene.states}
    for number, state in enumerate(states):
        if state.record_key not in known:
            scene.written(state, 1100 + number, 1101 + number)


@pytest.mark.parametrize(("count", "expected"), [(100, []), (101, ["batch"])])
def test_a_batch_has_at_most_100_records(scene: Scene, count: int, expected: list[Rule]) -> None:
    in_a_batch(scene, [org(str(number)) for number in range(100, 100 + count)])

    assert rules(scene) == expected


def test_a_batch_has_two_states_of_one_record(scene: Scene) -> None:
    in_a_batch(scene, [org("11"), org("11")])

    assert rules(scene) == ["batch"]


def test_a_batch_has_a_parent_and_its_child(scene: Scene) -> None:
    """A customer below a customer; of other kinds a batch cannot have both."""
    in_a_batch(scene, [org("11"), org("12")])

    found = judge(replace(scene.evidence(), parents={org("12").record_key: org("11").record_key}))

    assert {violation.rule for violation in found} == {"batch", "parent first"}


def test_a_batch_mixes_types(scene: Scene) -> None:
    """The deal's external id under /customer: its state there is one that nobody emitted."""
    in_a_batch(scene, [org("11"), deal("1", of="1")])

    assert set(rules(scene)) == {"accounting", "batch"}


def test_a_jobs_records_are_a_batch_even_without_its_submit(scene: Scene) -> None:
    scene.put(org("11"), 400, 410, job="20")
    scene.put(org("11"), 410, 420, job="20")

    assert rules(scene) == ["batch"]


# -- evidence ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "no JSON", '{"companyName": "no version"}'])
def test_a_log_that_does_not_say_what_was_sent_proves_nothing(scene: Scene, body: str) -> None:
    scene.put(org("11"), 400, 410).body = body

    assert rules(scene) == ["evidence"]


def test_a_state_without_a_version_cannot_be_judged(scene: Scene) -> None:
    scene.settle(org("50", text="no version"), 400, "dead_lettered")

    assert rules(scene) == ["evidence"]


def test_versions_may_be_found_elsewhere(scene: Scene) -> None:
    def in_comments(body: Mapping[str, Any]) -> int | None:
        return int(body["comments"]) if "comments" in body else None

    one = Scene()
    one.written(org("50", fields={"comments": "3"}), 400, 410)

    assert judge(one.evidence(), version_of=in_comments) == []
