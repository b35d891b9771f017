"""The `q` parameter of record lists: `email START_WITH "a" AND id > 5` (Oracle section_1545222128).

Texts with spaces stand in double quotes; single quotes are refused, as a live account did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

_TOKEN: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\(|\)|<=|>=|==|!=|<|>|[^\s()\[\]"<>=!]+)')
_DATE_FORMATS: Final = ("%m/%d/%Y", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Condition:
    """`fits` takes the record's values by lower-case name."""

    fits: Callable[[Mapping[str, Any]], bool]
    names: frozenset[str]


def parse(q: str) -> Condition:
    """Raises ValueError that says what is wrong."""
    if "'" in q:
        raise ValueError("texts stand in double quotes.")
    tokens = _tokens(q)
    condition = _any(tokens)
    if tokens:
        raise ValueError(f"unexpected {tokens[0]}.")
    return condition


def _tokens(q: str) -> list[str]:
    found, at = [], 0
    while at < len(q.rstrip()):
        match = _TOKEN.match(q, at)
        if match is None:
            raise ValueError(f"unexpected character at {at}.")
        found.append(match[1])
        at = match.end()
    if not found:
        raise ValueError("it is empty.")
    return found


def _any(tokens: list[str]) -> Condition:
    parts = [_all(tokens)]
    while tokens and tokens[0].upper() == "OR":
        tokens.pop(0)
        parts.append(_all(tokens))
    return Condition(lambda values: any(part.fits(values) for part in parts), _names(parts))


def _all(tokens: list[str]) -> Condition:
    parts = [_one(tokens)]
    while tokens and tokens[0].upper() == "AND":
        tokens.pop(0)
        parts.append(_one(tokens))
    return Condition(lambda values: all(part.fits(values) for part in parts), _names(parts))


def _names(parts: list[Condition]) -> frozenset[str]:
    return frozenset().union(*(part.names for part in parts))


def _one(tokens: list[str]) -> Condition:
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        inner = _any(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("a closing parenthesis is missing.")
        return inner
    if len(tokens) < 2:
        raise ValueError("a condition is a field, an operator and a value.")
    name, operator = tokens.pop(0).lower(), tokens.pop(0).upper()
    if operator in {"EMPTY", "EMPTY_NOT"}:
        wanted = operator == "EMPTY"
        return Condition(lambda values: (values.get(name) in (None, "")) is wanted, frozenset({name}))
    compare = _OPERATORS.get(operator)
    if compare is None:
        raise ValueError(f"unknown operator {operator}.")
    if not tokens:
        raise ValueError(f"{operator} needs a value.")
    given = _given(tokens.pop(0))
    return Condition(lambda values: values.get(name) is not None and compare(values[name], given), frozenset({name}))


def _given(token: str) -> list[str]:
    inner = token[1:-1].split(",") if token.startswith("[") else [token]
    return [part.strip().strip('"').replace('\\"', '"') for part in inner]


def _text(value: Any) -> str:
    return str(value).lower()


def _order(value: Any) -> Any:
    """A number, a moment, or a text."""
    text = str(value)
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text, form).timestamp()  # noqa: DTZ007  both sides alike
        except ValueError:
            continue
    try:
        return float(text)
    except ValueError:
        return text.lower()


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Any, list[str]], bool]:
    def compare(value: Any, given: list[str]) -> bool:
        left, right = _order(value), _order(given[0])
        return type(left) is type(right) and test(left, right)

    return compare


def _same_day(value: Any, given: list[str]) -> bool:
    left, right = _order(value), _order(given[0])
    if not isinstance(left, float) or not isinstance(right, float):
        return False
    return date.fromtimestamp(left) == date.fromtimestamp(right)  # noqa: DTZ012  both sides alike


def _is(value: Any, given: list[str]) -> bool:
    return _text(value) == given[0].lower()


_OPERATORS: Final[dict[str, Callable[[Any, list[str]], bool]]] = {
    "IS": _is,
    "IS_NOT": lambda value, given: not _is(value, given),
    "CONTAIN": lambda value, given: given[0].lower() in _text(value),
    "CONTAIN_NOT": lambda value, given: given[0].lower() not in _text(value),
    "START_WITH": lambda value, given: _text(value).startswith(given[0].lower()),
    "START_WITH_NOT": lambda value, given: not _text(value).startswith(given[0].lower()),
    "END_WITH": lambda value, given: _text(value).endswith(given[0].lower()),
    "END_WITH_NOT": lambda value, given: not _text(value).endswith(given[0].lower()),
    "ANY_OF": lambda value, given: _text(value) in {one.lower() for one in given},
    "ANY_OF_NOT": lambda value, given: _text(value) not in {one.lower() for one in given},
    "EQUAL": _compared(lambda left, right: left == right),
    "==": _compared(lambda left, right: left == right),
    "!=": _compared(lambda left, right: left != right),
    "GREATER": _compared(lambda left, right: left > right),
    ">": _compared(lambda left, right: left > right),
    "GREATER_OR_EQUAL": _compared(lambda left, right: left >= right),
    ">=": _compared(lambda left, right: left >= right),
    "LESS": _compared(lambda left, right: left < right),
    "<": _compared(lambda left, right: left < right),
    "LESS_OR_EQUAL": _compared(lambda left, right: left <= right),
    "<=": _compared(lambda left, right: left <= right),
    "BETWEEN": lambda value, given: len(given) == 2 and _order(given[0]) <= _order(value) <= _order(given[1]),
    "AFTER": _compared(lambda left, right: left > right),
    "ON_OR_AFTER": _compared(lambda left, right: left >= right),
    "BEFORE": _compared(lambda left, right: left < right),
    "ON_OR_BEFORE": _compared(lambda left, right: left <= right),
    "ON": _same_day,
}
