"""What becomes of a difference by the flow's policy, and when it is given up."""

from __future__ import annotations

import pytest

from ml_connector.common.comparing import Cause, Difference, Found
from ml_connector.common.drift import Policy
from ml_connector.common.generation import Generation
from ml_connector.common.wire import Observed
from ml_connector.netsuite_writer.drift import DAY_MS, MOST_ASSERTS, did, moment_ms, remembered

NOW_MS = 1_795_000_000_000
ASSERTION = "syn:drift-push-1.1.1:organization:5"


def observed(*asserted: int) -> Observed:
    return Observed(
        record_key="r", flow="f", generation=Generation(1), cause="c", outcome="written", action="upsert", at_ms=1,
        asserted=asserted,
    )  # fmt: skip


@pytest.mark.parametrize("found", ["missing", "different", "inactive", "active"])
@pytest.mark.parametrize(("policy", "result"), [("report", "reported"), ("assert", "asserted")])
def test_the_policy_decides(found: Found, policy: Policy, result: str) -> None:
    assert did(Difference("5", "pd-org-5", found, causes=("edited",)), policy, observed(), NOW_MS) == result


@pytest.mark.parametrize("found", ["waiting", "unknown"])
def test_what_is_not_clear_is_never_asserted(found: Found) -> None:
    assert did(Difference("5", "pd-org-5", found), "assert", None, NOW_MS) == "reported"


@pytest.mark.parametrize(("causes", "result"), [(("filled",), "reported"), (("edited", "not_sent"), "asserted")])
def test_what_netsuite_fills_by_itself_is_not_emptied(causes: tuple[Cause, ...], result: str) -> None:
    assert did(Difference("5", "pd-org-5", "different", causes=causes), "assert", None, NOW_MS) == result


def test_a_record_that_is_changed_back_each_time_is_given_up_until_a_day_is_over() -> None:
    difference, known, results = Difference("5", "pd-org-5", "different", causes=("edited",)), observed(), []
    for hour in range(MOST_ASSERTS + 2):
        now_ms = NOW_MS + hour * 3_600_000
        results.append(did(difference, "assert", known, now_ms))
        if results[-1] == "asserted":
            known = observed(*remembered(known, ASSERTION, now_ms=now_ms))
    known = observed(*remembered(known, "1:live-event", now_ms=now_ms))

    assert results == ["asserted"] * MOST_ASSERTS + ["given_up"] * 2
    assert did(difference, "assert", known, NOW_MS + DAY_MS - 1) == "given_up"
    assert did(difference, "assert", known, NOW_MS + DAY_MS) == "asserted"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-07-28T03:00:12Z", 1785207612000),
        ("2026-07-28T05:00:12.500+02:00", 1785207612500),
        ("2026-07-28T03:00:12", 0),  # in which zone?
        ("7/28/2026 3:00 am", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_only_a_time_with_its_zone_counts(text: str | None, ms: int) -> None:
    assert moment_ms(text) == ms
