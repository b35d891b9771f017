"""The writer as a whole in a simulated world: whatever goes wrong, NetSuite ends as Pipedrive is, and every rule held.

`make soak` plays ten thousand other cases. One case again: `play(Case(...))` with what hypothesis prints.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from support.simulated.case import CASES, Case
from support.simulated.play import play
from support.simulated.verdict import MUST_OCCUR

EXAMPLES = 300


@pytest.mark.timeout(240)
def test_whatever_happens_netsuite_ends_as_pipedrive_is_and_no_rule_was_broken() -> None:
    tally: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(CASES)
    def no_case_fails(case: Case) -> None:
        assert play(case, tally) == []

    no_case_fails()
    assert {name for name in MUST_OCCUR if not tally[name]} == set()
