"""A field's expression: a plain path where it is one, CEL for everything else. Pure.

In: the expression's text once, then a scope for each object. Out: a JSON value or a Reference.
A missing member and null are both None. Errors name the types involved, never a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Protocol, get_args

import cel

from ml_connector.common.errors import MappingFailed
from ml_connector.common.wire import Reference, ReferenceKind

ROOTS: Final = ("data", "custom", "meta", "stage_status")

# data.name · data.address.country · custom["Billing email"] · custom["Contract"].until
_PLAIN = re.compile(
    r"""(?P<root>data|meta|custom|stage_status)(?P<rest>(?:\.[A-Za-z_]\w*|\[(?:"[^"\\]*"|'[^'\\]*')\])*)\Z"""
)
_STEP = re.compile(r"""\.([A-Za-z_]\w*)|\["([^"\\]*)"\]|\['([^'\\]*)'\]""")
_NAMED = re.compile(r"""\b(data|meta|custom)(?:\.([A-Za-z_]\w*)|\["([^"\\]*)"\]|\['([^'\\]*)'\])""")
_REFERENCE_KINDS: Final = get_args(ReferenceKind)


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name. `custom` has readable names; `stage_status` is the NetSuite status or None."""

    data: Mapping[str, Any]
    custom: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    stage_status: str | None = None

    def root(self, name: str) -> Any:
        return getattr(self, name)


class Unfit(Exception):
    """The expression does not fit the object. The text names types, never values."""


class Expression(Protocol):
    """A compiled expression. Make one with `compile_expression`."""

    @property
    def source(self) -> str: ...

    def members(self, root: str) -> frozenset[str]:
        """Which members of `data`, `custom` or `meta` the expression names."""
        ...

    def evaluate(self, scope: Scope) -> Any:
        """Raises Unfit."""
        ...


@dataclass(frozen=True, slots=True)
class PlainPath:
    """`data.address.country`: the CEL engine never sees it, and amounts stay exact."""

    source: str
    steps: tuple[str, ...]

    def members(self, root: str) -> frozenset[str]:
        return frozenset(self.steps[1:2]) if self.steps[0] == root else frozenset()

    def evaluate(self, scope: Scope) -> Any:
        value = scope.root(self.steps[0])
        for step in self.steps[1:]:
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise Unfit(f"{step!r} of a {_type_name(value)}")
            value = value.get(step)
        return value


@dataclass(frozen=True, slots=True)
class CelExpression:
    """Everything that is not a plain path."""

    source: str
    program: cel.Program
    names: tuple[tuple[str, str], ...]  # (root, member) that the expression names

    def members(self, root: str) -> frozenset[str]:
        return frozenset(member for named, member in self.names if named == root)

    def evaluate(self, scope: Scope) -> Any:
        context = cel.Context(_context(scope, self.names), _FUNCTIONS)
        try:
            return _from_cel(self.program.execute(context))
        except (TypeError, KeyError, RuntimeError, ValueError, OverflowError) as error:
            raise Unfit(_problem(error)) from error


@lru_cache(maxsize=65_536)
def compile_expression(source: str) -> Expression:
    """Raises ValueError when `source` is no CEL, or names what is not there."""
    plain = _PLAIN.match(source.strip())
    if plain is not None:
        steps = tuple(a or b or c for a, b, c in _STEP.findall(plain["rest"]))
        return PlainPath(source, (plain["root"], *steps))
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    _refuse_unknown_names(program, source)
    names = tuple((root, a or b or c) for root, a, b, c in _NAMED.findall(source))
    return CelExpression(source, program, names)


def field_failed(name: str, expression: Expression, problem: object) -> MappingFailed:
    return MappingFailed(field=name, expression=expression.source, problem=str(problem))


def _refuse_unknown_names(program: cel.Program, source: str) -> None:
    macro_names = set(re.findall(r"\.(?:map|filter|all|exists|exists_one)\(\s*([A-Za-z_]\w*)\s*,", source))
    unknown = [name for name in program.variables() if name not in ROOTS and name not in macro_names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not in scope; use {', '.join(ROOTS)}")


def _context(scope: Scope, names: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Only the members that are named, so that a large object costs nothing; absent ones are null."""
    context: dict[str, Any] = {"data": {}, "custom": {}, "meta": {}, "stage_status": scope.stage_status}
    for root, member in names:
        context[root][member] = _for_cel(scope.root(root).get(member))
    return context


def _for_cel(value: Any) -> Any:
    """CEL knows doubles only; amounts that must stay exact go through plain paths."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _for_cel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_cel(item) for item in value]
    return value


def _from_cel(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"$reference", "value"}:
        return Reference(value["$reference"], value["value"]) if value["value"] is not None else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else Decimal(repr(value))
    return value


def _lookup(kind: str, value: Any) -> dict[str, Any]:
    """`lookup("currency", data.currency)`: the NetSuite record of that name, found by the writer."""
    if kind not in _REFERENCE_KINDS:
        raise ValueError(f"lookup kind must be one of {', '.join(_REFERENCE_KINDS)}")
    return {"$reference": kind, "value": None if value is None else str(value)}


def _join(values: list[Any] | None, separator: str) -> str | None:
    """`join(custom["Regions"], ", ")`: a list as one text, empty members left out."""
    return None if values is None else separator.join(str(value) for value in values if value not in (None, ""))


def _first(values: list[Any] | None) -> Any:
    """`first(data.emails)`: the first member of a list, or null."""
    return values[0] if values else None


def _primary(values: list[Any] | None) -> Any:
    """`primary(data.emails)`: the value of the primary entry of Pipedrive's emails or phones, else of the first."""
    entries = [entry for entry in values or [] if isinstance(entry, Mapping) and entry.get("value")]
    chosen = next((entry for entry in entries if entry.get("primary")), entries[0] if entries else None)
    return None if chosen is None else chosen["value"]


def _cut(value: str | None, length: int) -> str | None:
    """`cut(data.title, 50)`: at most so many characters."""
    return None if value is None else value[:length]


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "lookup": _lookup,
    "join": _join,
    "first": _first,
    "primary": _primary,
    "cut": _cut,
}

FUNCTION_NAMES: Final = tuple(_FUNCTIONS)


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "a member that is not there"
    return str(error).splitlines()[0].split(". ")[0] if error.args else type(error).__name__


def _type_name(value: Any) -> str:
    return {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", Decimal: "number"}.get(
        type(value), type(value).__name__
    )
