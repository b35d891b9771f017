"""docs/mapping.md: each expression gives what its line says."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ml_connector.common.expressions import FUNCTION_NAMES, Scope, compile_expression
from ml_connector.common.wire import Reference

TEXT = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text()
OBJECT = json.loads(TEXT.split("```json\n")[1].split("```")[0], parse_float=Decimal)
LINES = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("expression", "result"), LINES, ids=[line[0] for line in LINES])
def test_example(expression: str, result: str) -> None:
    expected: Any = json.loads(result, parse_float=Decimal)
    if isinstance(expected, dict):
        expected = Reference(expected["lookup"], expected["value"])

    assert compile_expression(expression).evaluate(Scope(**OBJECT)) == expected


def test_every_function_has_an_example() -> None:
    shown = " ".join(expression for expression, _ in LINES)

    assert [name for name in FUNCTION_NAMES if f"{name}(" not in shown] == []
