"""The sum must notice what breaks it: each row plants one fault."""

from __future__ import annotations

from collections import Counter

import pytest

from ml_connector.cli.accounting import Books, take_in
from ml_connector.common.kafka.record import Record

ACCOUNT = "1_SB1"


def books() -> Books:
    """Three events: one written, one superseded, one waiting; one of them delivered twice."""
    found = Books()
    found.accepted[ACCOUNT] = Counter({"1:a": 1, "1:b": 2, "1:c": 1})
    found.outcomes[ACCOUNT] = {"1:a": {"r1": "written"}, "1:b": {"r1": "superseded"}}
    found.waiting[ACCOUNT] = {"1:c"}
    return found


def test_sum_is_right() -> None:
    account = books().close()[ACCOUNT]

    assert account.balanced
    assert (account.accepted, account.waiting, account.duplicates) == (3, 1, 1)
    assert account.outcomes == {"written": 1, "superseded": 1}


def test_event_without_a_fate_is_lost() -> None:
    found = books()
    found.waiting[ACCOUNT].clear()

    assert found.close()[ACCOUNT].lost == ["1:c"]


def test_outcome_of_an_event_that_nobody_accepted_is_unexplained() -> None:
    found = books()
    found.outcomes[ACCOUNT]["1:z"] = {"r9": "written"}

    assert found.close()[ACCOUNT].unexplained == ["1:z"]


def test_two_records_of_one_event_contradict() -> None:
    found = books()
    found.outcomes[ACCOUNT]["1:a"]["r2"] = "ignored"

    assert found.close()[ACCOUNT].contradicting == ["1:a"]


def test_event_that_is_settled_but_not_yet_committed_counts_once() -> None:
    found = books()
    found.waiting[ACCOUNT].add("1:a")

    account = found.close()[ACCOUNT]
    assert account.balanced
    assert (account.outcomes["written"], account.waiting) == (1, 1)


@pytest.mark.parametrize(("asked", "accepted"), [({"request-id": b"r"}, {}), ({}, {"rpl:j:1": 1})])
def test_preview_asks_for_no_record(asked: dict[str, bytes], accepted: dict[str, int]) -> None:
    headers = {"cause": b"rpl:j:1", "account": ACCOUNT.encode(), **asked}
    found = Books()

    take_in(Record("pipedrive.requests", 0, 5, b"acme", b"{}", headers, 0), found, again=False, waits=True)

    assert found.accepted[ACCOUNT] == accepted
    assert found.waiting[ACCOUNT] == set(accepted)
