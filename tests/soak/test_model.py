"""The writer in a simulated world (tests/unit/netsuite_writer/test_model.py), many more cases and other ones each time."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from support.simulated.case import CASES, Case
from support.simulated.play import play
from support.simulated.verdict import MUST_OCCUR

EXAMPLES = int(os.environ.get("MODEL_CASES", "10000"))


@pytest.mark.timeout(60 + EXAMPLES)
def test_whatever_happens_netsuite_ends_as_pipedrive_is_and_no_rule_was_broken() -> None:
    tally: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(CASES)
    def no_case_fails(case: Case) -> None:
        tally["case"] += 1
        assert play(case, tally) == []

    started_s = time.monotonic()
    no_case_fails()
    took_s = time.monotonic() - started_s
    print(f"\n{tally['case']} cases in {took_s:.0f} s: {', '.join(f'{n} {name}' for name, n in tally.most_common())}")
    assert tally["case"] >= EXAMPLES
    assert {name for name in MUST_OCCUR if not tally[name]} == set()
