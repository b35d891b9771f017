"""Up to when everything was read, and what the next sync reads: no gap, whatever people sync by hand in between."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.schedule.cover import Covered, covered_of, next_sync
from ml_connector.admin.sync.ask import scope_of
from ml_connector.admin.sync.decide import OVERLAP_MS, window_of
from ml_connector.common.flows import Flow, mapping_digest, parse_flow
from ml_connector.common.keys import Entity
from ml_connector.common.sync_job import SyncJob

NOW_MS = 1_785_207_600_000
HOUR_MS = 3_600_000
ORGANIZATION: tuple[Entity, ...] = ("organization",)
BOTH: tuple[Entity, ...] = ("organization", "person")


def job(at_ms: int, mode: str = "full", **more: Any) -> SyncJob:
    """`since_ms`, `until_ms`: as they were asked for."""
    since, until = window_of(more.pop("since_ms", None), more.pop("until_ms", None))
    made = SyncJob(
        job_id="41c7d09ab2f5",
        version=1,
        flow="acme",
        company="acme",
        account="1234567_SB1",
        state="done",
        created_at_ms=at_ms,
        changed_at_ms=at_ms + 1,
        actor="schedule",
        reason="",
        mode=mode,  # type: ignore[arg-type]  # a test's own
        entities=ORGANIZATION,
        since=since,
        until=until,
    )
    return msgspec.structs.replace(made, **more)


def flow(**schedule: Any) -> Flow:
    fields = {"record": "customer", "fields": {"companyName": "data.name"}}
    return parse_flow(
        {
            "flow": "acme",
            "environment": "sandbox",
            "pipedrive": {"company": "acme"},
            "netsuite": {"account": "1234567_SB1"},
            "external_ids": "pd",
            "entities": {"organization": fields},
            "schedule": {"sync": "*/15 * * * *", **schedule},
        }
    )


def until(*newest_first: SyncJob) -> int:
    found = covered_of(newest_first, ORGANIZATION)
    return found["organization"].until_ms if found else 0


def test_full_sync_covers_up_to_when_it_began() -> None:
    assert until(job(NOW_MS)) == NOW_MS


def test_sync_of_two_hours_by_hand_does_not_hide_the_gap_before_it() -> None:
    late = job(NOW_MS, "since", since_ms=NOW_MS - 2 * HOUR_MS)

    assert until(late, job(NOW_MS - 3 * HOUR_MS)) == NOW_MS - 3 * HOUR_MS
    assert until(late, job(NOW_MS - HOUR_MS)) == NOW_MS


def test_window_that_ends_covers_no_more_than_it_read() -> None:
    first = job(NOW_MS - 3 * HOUR_MS)
    window = job(NOW_MS, "since", since_ms=NOW_MS - 4 * HOUR_MS, until_ms=NOW_MS - HOUR_MS)

    assert NOW_MS - HOUR_MS - 1_000 <= until(window, first) <= NOW_MS - HOUR_MS


def test_ids_cover_nothing_and_other_entities_only_themselves() -> None:
    ids = job(NOW_MS, "ids", ids=("5",))
    persons = job(NOW_MS - 1, entities=("person",))

    assert until(ids) == until(persons) == 0
    assert covered_of([ids, persons], BOTH) == {"person": Covered(NOW_MS - 1)}


def test_no_more_jobs_are_read_than_are_needed() -> None:
    def jobs() -> Any:
        yield job(NOW_MS, "since", since_ms=NOW_MS - HOUR_MS)
        yield job(NOW_MS - HOUR_MS, "since", since_ms=0, covers=True)
        raise AssertionError("a job too many")

    assert covered_of(jobs(), ORGANIZATION)["organization"].until_ms == NOW_MS


times = st.integers(0, 40)
steps = st.lists(
    st.tuples(st.sampled_from(["full", "since", "scheduled"]), times, times, st.booleans()), min_size=1, max_size=12
)


@given(steps)
def test_whatever_is_covered_was_read(walks: list[tuple[str, int, int, bool]]) -> None:
    """Against a list of minutes, of which each sync reads its own."""
    at_min, read, jobs = 100, set[int](), list[SyncJob]()
    for mode, gap, back, well in walks:
        at_min += gap + 1
        if mode == "scheduled":
            asked = next_sync(flow(), covered_of(reversed(jobs), ORGANIZATION), ORGANIZATION, 0)
            scope = scope_of(asked, flow(), at_min * 60_000)
            since_ms = scope.since_ms
            done = job(at_min * 60_000, asked.mode, since_ms=since_ms, covers=asked.covers)
        else:
            since_ms = None if mode == "full" else (at_min - back) * 60_000
            done = job(at_min * 60_000, mode, since_ms=since_ms)
        if well:
            jobs.append(done)
            read |= set(range(0 if since_ms is None else since_ms // 60_000, at_min))

    covered_min = until(*reversed(jobs)) // 60_000

    assert set(range(covered_min)) <= read


def test_first_sync_reads_everything_unless_the_flow_wants_changes_only() -> None:
    assert next_sync(flow(), {}, ORGANIZATION, NOW_MS).mode == "full"
    changes = next_sync(flow(first="changes"), {}, ORGANIZATION, NOW_MS)
    assert (changes.mode, changes.since) == ("since", "2026-07-28T03:00:00Z")


def test_entity_that_is_new_in_the_mapping_is_read_whole_by_itself() -> None:
    found = next_sync(flow(), {"organization": Covered(NOW_MS)}, BOTH, 0)

    assert (found.mode, found.entities) == ("full", ("person",))


def test_next_sync_begins_where_the_last_one_that_left_no_gap_began() -> None:
    found = next_sync(flow(), {"organization": Covered(NOW_MS), "person": Covered(NOW_MS - HOUR_MS)}, BOTH, 0)

    assert (found.mode, found.since, found.covers) == ("since", "2026-07-28T02:00:00Z", True)
    assert OVERLAP_MS >= 10_000  # DESIGN section 3: more than the 5 s that a generation is put back


def test_changed_mapping_is_read_anew_only_if_the_flow_says_so() -> None:
    covered: dict[Entity, Covered] = {"organization": Covered(NOW_MS, mapping="another")}
    same: dict[Entity, Covered] = {"organization": Covered(NOW_MS, mapping=mapping_digest(flow()))}

    assert next_sync(flow(), covered, ORGANIZATION, 0).mode == "since"
    assert next_sync(flow(after_mapping_change="full"), covered, ORGANIZATION, 0).mode == "full"
    assert next_sync(flow(after_mapping_change="full"), same, ORGANIZATION, 0).mode == "since"


def test_mapping_stays_known_from_sync_to_sync_until_everything_is_read_anew() -> None:
    """Else the second sync after a change would take the first one for one of everything."""
    full = job(NOW_MS, mapping="old")
    asked = next_sync(flow(), covered_of([full], ORGANIZATION), ORGANIZATION, 0)
    since = job(NOW_MS + HOUR_MS, "since", since_ms=NOW_MS, covers=True, mapping=asked.mapping)

    assert covered_of([since, full], ORGANIZATION) == {"organization": Covered(NOW_MS + HOUR_MS, "old")}
