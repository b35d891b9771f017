"""The writer as a whole in a simulated world: whatever goes wrong, NetSuite ends as Pipedrive is, and every rule held.

`make soak` plays ten thousand other cases. One case again: `play(Case(...))` with what hypothesis prints.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from support.simulated import case as cases
from support.simulated.case import CASES, Case
from support.simulated.faults import PLACES
from support.simulated.play import play
from support.simulated.verdict import MUST_OCCUR

EXAMPLES = 300
ALWAYS = sorted(PLACES.keys() - {"lose", "match", "read back", "result", "doubt", "hydrate"})  # whatever comes


@pytest.mark.timeout(240)
def test_whatever_happens_netsuite_ends_as_pipedrive_is_and_no_rule_was_broken() -> None:
    tally: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(CASES)
    def no_case_fails(case: Case) -> None:
        assert play(case, tally) == []

    no_case_fails()
    assert {name for name in MUST_OCCUR if not tally[name]} == set()


@pytest.mark.parametrize("place", ALWAYS)
def test_after_faults_of_ours_in_one_place_every_record_goes_on_by_itself(place: str) -> None:
    """Singly, in batches, under parents, and after a restart."""
    ids, tally, faults = cases.IDS, Counter[str](), cases.OurFault(place, 2)
    events: list[cases.Event] = [
        faults,
        cases.Change("organization", ids, "edit", "now"),
        cases.Wait(7.0),
        faults,
        cases.Change("person", ids, "edit", "now"),
        cases.Change("organization", ids, "edit", "twice"),
        cases.Wait(7.0),
        cases.Change("deal", ids, "edit", "now"),
        faults,
        cases.Again("organization", "1", "replay"),
        cases.Restart(0.02, "killed", compacted=False),
    ]
    batches = {"jobs_at_once": 2, "batch_from": 2, "batch_size": 4}

    assert play(Case(3, 3, 0.05, True, False, batches, {}, events), tally) == []
    assert tally[f"fault of ours: {place}"] == 6
