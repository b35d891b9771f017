"""The writer in a simulated world (tests/unit/netsuite_writer/test_model.py), many more cases and other ones each time."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from support.simulated.case import CASES, Case
from support.simulated.play import play

EXAMPLES = int(os.environ.get("MODEL_CASES", "10000"))


@pytest.mark.timeout(60 + EXAMPLES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(CASES)
def test_whatever_happens_netsuite_ends_as_pipedrive_is_and_no_rule_was_broken(case: Case) -> None:
    assert play(case) == []
