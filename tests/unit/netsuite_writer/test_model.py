"""The writer as a whole in a simulated world: whatever goes wrong, NetSuite ends as Pipedrive is, and every rule held.

`make soak` plays ten thousand other cases.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from support.simulated.case import CASES, Case
from support.simulated.play import play


@pytest.mark.timeout(240)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(CASES)
def test_whatever_happens_netsuite_ends_as_pipedrive_is_and_no_rule_was_broken(case: Case) -> None:
    assert play(case) == []
