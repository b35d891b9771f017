"""Why a record differs, and whether that is certain."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.admin.reconcile.why import TEXTS, Facts, WhyKind, why
from ml_connector.common.comparing import Cause, Difference, Found

WRITTEN = {"seen": True, "known_ms": 1_000}


def found(what: str, *causes: Cause, updated_ms: int = 0, **facts: Any) -> list[tuple[str, bool]]:
    difference = Difference("7", "pd-org-7", "different", causes=causes, updated_ms=updated_ms)
    return [(one.kind, one.certain) for one in why(what, difference, Facts(**facts))]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(found("different", "edited", **WRITTEN), [("edited_in_netsuite", True)], id="edit"),
        pytest.param(found("missing", "deleted", **WRITTEN), [("deleted_in_netsuite", True)], id="deleted there"),
        pytest.param(found("missing", "never_written"), [("missed_event", True)], id="never heard of"),
        pytest.param(found("missing", "never_written", seen=True), [("never_written", False)], id="heard of"),
        pytest.param(
            found("different", "not_sent", updated_ms=2_000, remapped=False, **WRITTEN),
            [("missed_event", True)],
            id="changed in Pipedrive since the newest state that is known",
        ),
        pytest.param(
            found("different", "not_sent", updated_ms=1_000, remapped=True, **WRITTEN),
            [("mapping_changed", True)],
            id="not changed, but the mapping",
        ),
        pytest.param(
            found("different", "not_sent", remapped=True, **WRITTEN),
            [("mapping_changed", False), ("missed_event", False)],
            id="the mapping, and nobody knows when the object changed",
        ),
        pytest.param(
            found("different", "not_sent", updated_ms=1_000, remapped=False, **WRITTEN),
            [("reference_changed", True)],
            id="neither",
        ),
        pytest.param(
            found("different", "not_sent", updated_ms=1_000, **WRITTEN),
            [("reference_changed", False)],
            id="neither, as far as the audit goes back",
        ),
        pytest.param(
            found("different", "not_sent", remapped=False, **WRITTEN), [("missed_event", False)], id="nobody knows when"
        ),
        pytest.param(
            found("different", "edited", "not_sent", updated_ms=2_000, remapped=False, **WRITTEN),
            [("edited_in_netsuite", False), ("missed_event", True)],
            id="both",
        ),
        pytest.param(found("different", "filled", **WRITTEN), [("filled_by_netsuite", False)], id="filled"),
        pytest.param(found("waiting"), [("waiting", True)], id="the writer says that it waits"),
        pytest.param(found("different", "not_sent", waits=True, **WRITTEN), [("waiting", True)], id="admin knows it"),
        pytest.param(
            found("different", "not_sent", letter_id="aa", **WRITTEN), [("dead_letter", True)], id="dead letter"
        ),
        pytest.param(
            found("different", "edited", letter_id="aa", **WRITTEN),
            [("dead_letter", True), ("edited_in_netsuite", True)],
            id="dead letter, and edited",
        ),
        pytest.param(found("extra", "not_deleted", **WRITTEN), [("missed_event", False)], id="its deletion was missed"),
        pytest.param(found("extra", "never_written"), [("not_ours", False)], id="not ours"),
        pytest.param(found("unmapped"), [("unmapped", True)], id="unmapped"),
        pytest.param(found("unmapped", letter_id="aa"), [("unmapped", True), ("dead_letter", True)], id="and a letter"),
        pytest.param(found("unknown"), [], id="the reason says it"),
    ],
)
def test_cause_follows_from_what_is_known(said: list[tuple[str, bool]], expected: list[tuple[str, bool]]) -> None:
    assert said == expected


@given(
    st.sampled_from([*get_args(Found), "unmapped"]),
    st.lists(st.sampled_from(get_args(Cause)), unique=True),
    st.builds(
        Facts,
        st.booleans(),
        st.sampled_from(["", "aa"]),
        st.booleans(),
        st.integers(0, 3),
        st.sampled_from([None, True, False]),
    ),
    st.integers(0, 3),
)
def test_whatever_is_known_causes_are_told_once_and_have_words(
    what: str, causes: list[Cause], facts: Facts, updated_ms: int
) -> None:
    told = why(what, Difference("7", "x", "different", causes=tuple(causes), updated_ms=updated_ms), facts)

    kinds = [one.kind for one in told]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) <= TEXTS.keys() == set(get_args(WhyKind))
    assert "missed_event" not in kinds or what == "extra" or not facts.waits
