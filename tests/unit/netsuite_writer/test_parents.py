"""The child table of DESIGN section 4, row by row."""

from __future__ import annotations

import pytest

from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer.parents import (
    Decision,
    Go,
    HydrateChild,
    HydrateParent,
    Orphan,
    WaitForParent,
    decide,
)
from support.desired import child, desired, observed

PARENT = desired("organization", "7")
GONE = "its organization is gone, and the flow names no default customer (defaults.customer)"


@pytest.mark.parametrize(
    ("parent", "waits", "decision"),
    [
        pytest.param(observed(PARENT), False, Go("101"), id="written"),
        pytest.param(observed(PARENT), True, Go("101"), id="written, an update waits"),
        pytest.param(None, True, WaitForParent(), id="waiting"),
        pytest.param(None, False, HydrateParent(), id="never seen"),
        pytest.param(
            observed(PARENT, outcome="ignored", action="gone", internal_id=None), False, Orphan(GONE), id="gone"
        ),
        pytest.param(
            observed(PARENT, outcome="ignored", action="gone", internal_id=None),
            True,
            WaitForParent(),
            id="gone, returns",
        ),
        pytest.param(observed(PARENT, action="merged", merged_to="8"), False, HydrateChild(), id="merged"),
        pytest.param(
            observed(PARENT, outcome="dead_lettered", internal_id=None), False, WaitForParent(), id="dead letter"
        ),
        pytest.param(observed(PARENT, outcome="dead_lettered"), False, Go("101"), id="dead letter, was written before"),
    ],
)
def test_the_parents_state_decides_a_deal(parent: Observed | None, waits: bool, decision: Decision) -> None:
    deal = child("deal", "1", of="7")

    assert decide(deal, parent, parent_waits=waits) == decision


def test_the_default_customer_takes_the_deals_of_an_organization_that_is_gone() -> None:
    deal = child("deal", "1", of="7", default_parent="99")
    gone = observed(PARENT, outcome="ignored", action="ignore", internal_id=None)

    assert decide(deal, gone, parent_waits=False) == Go("99")


def test_a_person_may_be_without_an_organization() -> None:
    gone = observed(PARENT, outcome="ignored", action="unmapped", internal_id=None)

    assert decide(desired("person", "1"), None, parent_waits=False) == Go(None)
    assert decide(child("person", "1", of="7"), gone, parent_waits=False) == Go(None)


def test_a_deal_without_an_organization_is_an_orphan() -> None:
    decision = decide(desired("deal", "1"), None, parent_waits=False)

    assert isinstance(decision, Orphan)
