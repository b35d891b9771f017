"""What is typed: times and ids."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ml_connector.cli.options import id_of, moment
from ml_connector.common.errors import BadInput

NOW = datetime(2026, 7, 28, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", "2026-07-28T01:00:00Z"),
        ("7d", "2026-07-21T03:00:00Z"),
        ("2026-07-01", "2026-07-01T00:00:00Z"),
        ("2026-07-01T05:00:00+02:00", "2026-07-01T03:00:00Z"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "999999w"])
def test_what_is_no_moment_shows_how_one_is_written(text: str) -> None:
    with pytest.raises(BadInput, match="write 30m, 2h, 7d"):
        moment(text, NOW)


@pytest.mark.parametrize("text", ["../status", "5f0c1e9a77d", "5f0c1e9a77d2x", ""])
def test_what_is_no_id_never_gets_into_a_path(text: str) -> None:
    with pytest.raises(BadInput, match="is no id"):
        id_of(text)
