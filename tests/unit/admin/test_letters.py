"""Which letters a filter lets through, page by page, and what groups say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from ml_connector.admin.look.letters import LetterFilter, Selection, groups, one, page
from ml_connector.admin.look.pages import make_cursor, read_cursor
from ml_connector.admin.tables import waiting
from ml_connector.common.errors import BadInput
from support.letters import RECORD, T0_MS, letter_row, new_database, put, put_letters

CHILD = {
    "key": "k", "cause": "w:9", "account": "a", "flow": "acme-eu", "lane": "live",
    "record_key": "1234567_sb1/contact/pd-person-7", "parent_key": RECORD,
}  # fmt: skip


def test_pages_hold_every_letter_once_newest_first(tmp_path: Path) -> None:
    """Several failed in the same millisecond."""
    database = new_database(tmp_path)
    ids = put_letters(database, *(letter_row(n, failed_at_ms=T0_MS + n // 3, record_key=f"r{n}") for n in range(10)))

    seen, cursor = [], None
    with database.read() as connection:
        for _ in range(4):
            rows, cursor = page(connection, LetterFilter(), cursor=cursor, limit=3)
            seen += [(row["failed_at_ms"], row["letter_id"]) for row in rows]

    assert cursor is None
    assert sorted(letter for _, letter in seen) == sorted(ids)
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (LetterFilter(), [0, 1]),
        (LetterFilter(state="all"), [0, 1, 2]),
        (LetterFilter(state="discarded"), [2]),
        (LetterFilter(flow="other"), [1]),
        (LetterFilter(record_key=RECORD.upper(), state="all"), [0, 2]),
        (LetterFilter(failed_from=datetime.fromtimestamp((T0_MS + 1) / 1000, UTC), state="all"), [1, 2]),
        (LetterFilter(failed_until=datetime.fromtimestamp((T0_MS + 1) / 1000, UTC), state="all"), [0]),
        (LetterFilter(stage="map"), []),
    ],
)
def test_all_that_is_asked_for_must_hold(tmp_path: Path, wanted: LetterFilter, numbers: list[int]) -> None:
    database = new_database(tmp_path)
    put_letters(database, letter_row(0), letter_row(1, flow="other", record_key="x"), letter_row(2, state="discarded"))

    with database.read() as connection:
        rows, _ = page(connection, wanted, cursor=None, limit=10)

    assert sorted(row["topic_offset"] for row in rows) == numbers


def test_letter_and_group_say_how_many_wait_behind_them(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    first, _ = put_letters(database, letter_row(0), letter_row(1, record_key="other"))
    put(database, waiting, CHILD, {**CHILD, "key": "l"})

    with database.read() as connection:
        letter = one(connection, first)
        (group,) = groups(connection, LetterFilter(), limit=10)

    assert letter is not None and letter["waiting_behind"] == 2
    assert (group["letters"], group["records"], group["open"], group["waiting_behind"]) == (2, 2, 2, 2)
    assert group["suggested_fix"].startswith("Map Subsidiary")


@pytest.mark.parametrize("cursor", ["", "!!!", "bm9uZQ", "ä"])
def test_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadInput, match="cursor: not one of ours"):
        read_cursor(cursor)


def test_cursor_comes_back_as_it_was() -> None:
    assert read_cursor(make_cursor(T0_MS, "a/b")) == (T0_MS, "a/b")


@pytest.mark.parametrize("given", [{}, {"ids": []}, {"group": "7be1b0a4c3", "filter": {}}, {"ids": ["xyz"]}])
def test_selection_is_exactly_one_of_three(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Selection.model_validate(given)
