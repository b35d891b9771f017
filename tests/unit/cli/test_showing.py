"""What is shown: nothing that acts on a terminal, and whether it is all."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.cli.showing import clean, tell_behind


@pytest.mark.parametrize("harmful", ["\x1b[2J", "\x9b2J", "\u202e", "\r", "\x07"])
def test_nothing_acts_on_the_terminal(harmful: str) -> None:
    assert not set(clean(f"a{harmful}\nb")) & set("\x1b\x9b\u202e\r\x07")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, ""),
        ({"behind": {"messages": 0, "age_s": 0.4}}, ""),
        ({"behind": {"messages": 1, "age_s": 0.4}}, "1 message behind the topics\n"),
        (
            {"behind": {"messages": 7, "age_s": None}},
            "the admin service reads the topics for the first time: this is not all\n",
        ),
    ],
)
def test_answer_that_is_not_all_says_so(
    capsys: pytest.CaptureFixture[str], answer: dict[str, Any], expected: str
) -> None:
    tell_behind(answer)

    assert capsys.readouterr() == ("", expected)
