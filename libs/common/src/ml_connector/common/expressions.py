"""A field's expression: a plain path where it is one, CEL for everything else. Pure.

In: the expression's text once, then a scope for each object. Out: a JSON value or a Reference.
A missing member and null are both None. Errors name the types involved, never a value.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar, cast, get_args

import msgspec

from ml_connector.common.cel_engine import cel
from ml_connector.common.countries import country_code
from ml_connector.common.errors import MappingFailed
from ml_connector.common.suggesting import did_you_mean
from ml_connector.common.wire import Reference, ReferenceKind

T = TypeVar("T")

# Root -> members of it that an expression names, each with those of its own members that it names; None: with all.
Named = dict[str, tuple[tuple[str, tuple[str, ...] | None], ...]]

ROOTS: Final = ("data", "custom", "meta", "stage_status")

# data.name · data.address.country · custom["Billing email"] · custom["Contract"].until
_PLAIN = re.compile(
    r"""(?P<root>data|meta|custom|stage_status)(?P<rest>(?:\.[A-Za-z_]\w*|\[(?:"[^"\\]*"|'[^'\\]*')\])*)\Z"""
)
_STEP = re.compile(r"""\.([A-Za-z_]\w*)|\["([^"\\]*)"\]|\['([^'\\]*)'\]""")
_NAMED = re.compile(r"""\b(data|meta|custom)(?:\.([A-Za-z_]\w*)|\["([^"\\]*)"\]|\['([^'\\]*)'\])""")
_SYNTAX = re.compile(r"<input>:\d+:(?P<column>\d+): (Syntax error: )?(?P<what>.+?)( expecting .*)?$")
_BARE = re.compile(r"[A-Za-z_][\w -]*")
_NAME = re.compile(r"[A-Za-z]\w*")  # operators are `_+_`, `@in`
_LOOKUP = re.compile(r"""\blookup\(\s*["']([^"']*)["']""")
# What the engine has of CEL's own; of any other name it would complain only when the expression is used.
CEL_FUNCTIONS: Final = (
    "size", "contains", "startsWith", "endsWith", "matches", "string", "int", "uint", "double", "bytes", "timestamp",
    "duration", "type", "dyn", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfYear", "getDayOfWeek",
    "getHours", "getMinutes", "getSeconds", "getMilliseconds",
)  # fmt: skip
EXACT_DIGITS: Final = 15
SLIPS: Final = 4  # roundings of the largest amount that a result may carry
INT_MOST: Final = 2**63 - 1
_REFERENCE_KINDS: Final = get_args(ReferenceKind)


class Scope(msgspec.Struct, frozen=True):
    """What an expression may name. `custom` has readable names; `stage_status` is the NetSuite status or None."""

    data: dict[str, Any]
    custom: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    stage_status: str | None = None


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
    root: str
    steps: tuple[str, ...]

    def members(self, root: str) -> frozenset[str]:
        return frozenset(self.steps[:1]) if self.root == root else frozenset()

    def evaluate(self, scope: Scope) -> Any:
        value = getattr(scope, self.root)
        for step in self.steps:
            if isinstance(value, dict):
                value = value.get(step)
            elif value is None:
                return None
            else:
                raise Unfit(f"{step!r} of a {_type_name(value)}")
        return value


@dataclass(frozen=True, slots=True)
class CelExpression:
    """Everything that is not a plain path."""

    source: str
    program: cel.Program
    named: Named
    functions: dict[str, Callable[..., Any]]  # those that it calls

    def members(self, root: str) -> frozenset[str]:
        return frozenset(member for member, _ in self.named.get(root, ()))

    def evaluate(self, scope: Scope) -> Any:
        try:
            variables = {root: _variable(getattr(scope, root), members) for root, members in self.named.items()}
            context = cel.Context(variables, self.functions) if self.functions else variables
            return _from_cel(self.program.execute(context), variables)
        except Unfit:
            raise
        except Exception as error:  # whatever CEL raises: the expression does not fit this event
            raise Unfit(_problem(error)) from error


@lru_cache(maxsize=65_536)
def compile_expression(source: str) -> Expression:
    """Raises ValueError when `source` is no CEL, or names what is not there."""
    plain = _PLAIN.match(source.strip())
    if plain is not None:
        steps = tuple(a or b or c for a, b, c in _STEP.findall(plain["rest"]))
        return PlainPath(source, plain["root"], steps)
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise ValueError(_why_no_cel(error)) from error
    _refuse_unknown_names(program, source)
    return CelExpression(source, program, _named(program, source), _called(source))


def field_failed(name: str, expression: Expression, problem: object) -> MappingFailed:
    return MappingFailed(field=name, expression=expression.source, problem=str(problem))


def _why_no_cel(error: ValueError) -> str:
    """Where it stops being CEL, without all that might stand there."""
    text = str(error).splitlines()[0]
    found = _SYNTAX.search(text)
    return f"Failed to parse at character {found['column']}: {found['what']}" if found else text


def _refuse_unknown_names(program: cel.Program, source: str) -> None:
    """Else the engine would complain only when the expression is used."""
    macro_names = set(re.findall(r"\.(?:map|filter|all|exists|exists_one)\(\s*([A-Za-z_]\w*)\s*,", source))
    unknown = [name for name in program.variables() if name not in ROOTS and name not in macro_names]
    if unknown:
        text = f"; a fixed text is written '\"{source}\"'" if _BARE.fullmatch(source) else ""
        hint = did_you_mean(unknown[0], ROOTS) or text
        raise ValueError(f"{unknown[0]!r} is not in scope; use {', '.join(ROOTS)}{hint}")
    known = (*_FUNCTIONS, *CEL_FUNCTIONS)
    called = [name for name in program.functions() if _NAME.fullmatch(name)]
    for name in called:
        if name not in known:
            raise ValueError(f"there is no function {name}(){did_you_mean(name, known)}")
    for kind in _LOOKUP.findall(source) if "lookup" in called else ():
        if kind not in _REFERENCE_KINDS:
            hint = did_you_mean(kind, _REFERENCE_KINDS)
            raise ValueError(f"lookup kind must be one of {', '.join(_REFERENCE_KINDS)}{hint}")


def _named(program: cel.Program, source: str) -> Named:
    """A root by itself has no members."""
    found: dict[str, dict[str, dict[str, None] | None]] = {root: {} for root in ROOTS if root in program.variables()}
    for match in _NAMED.finditer(source):
        root, *names = match.groups()
        if root in found:
            member, inner = next(name for name in names if name), _inner(source, match.end())
            before = found[root].setdefault(member, {})
            if inner is None or before is None:
                found[root][member] = None
            else:
                before[inner] = None
    return {
        root: tuple((member, None if inner is None else tuple(inner)) for member, inner in members.items())
        for root, members in found.items()
    }


def _inner(source: str, at: int) -> str | None:
    """The member of a member that is named there; None where it is used as a whole."""
    step = _STEP.match(source, at)
    if step is None or source[step.end() :].lstrip().startswith("("):
        return None
    return next(name for name in step.groups() if name)


def _called(source: str) -> dict[str, Callable[..., Any]]:
    """Too many (a name in a text, say) is harmless: it only costs time."""
    return {name: function for name, function in _FUNCTIONS.items() if re.search(rf"\b{name}\s*\(", source)}


def _variable(value: Any, members: tuple[tuple[str, tuple[str, ...] | None], ...]) -> Any:
    """Of a root only what is named, since the engine copies all it is given; absent members are null."""
    if not isinstance(value, dict):
        return value
    return {member: _part(value.get(member), inner) for member, inner in members}


def _part(value: Any, inner: tuple[str, ...] | None) -> Any:
    if inner is None or not isinstance(value, dict):
        return _for_cel(value)
    return {name: _for_cel(value[name]) for name in inner if name in value}


def _for_cel(value: Any) -> Any:
    """CEL has doubles, which hold 15 digits of any amount exactly; raises Unfit for one with more."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: item if isinstance(item, str) else _for_cel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_cel(item) for item in value]
    if isinstance(value, Decimal):
        if len(value.as_tuple().digits) > EXACT_DIGITS:
            raise Unfit(f"a number of more than {EXACT_DIGITS} digits in an expression; a plain path keeps it exact")
        return float(value)
    if isinstance(value, int) and not -INT_MOST <= value <= INT_MOST:
        raise Unfit("a whole number of more than 64 bits in an expression")
    return value


def _from_cel(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict) and value.keys() == {"$reference", "value"}:
        return Reference(value["$reference"], value["value"]) if value["value"] is not None else None
    if isinstance(value, float):
        return _exact(value, _largest(variables))
    return value


def _largest(value: Any) -> float:
    """Of all numbers in a value, without their signs."""
    if isinstance(value, dict | list):
        return max(map(_largest, value.values() if isinstance(value, dict) else value), default=0.0)
    return abs(float(value)) if isinstance(value, float | int) else 0.0


def _exact(value: float, largest: float) -> int | Decimal:
    """The decimal that the double stands for: 0.1 + 0.2 is 0.3. Raises Unfit when it is no number.

    Of a difference of large amounts the last digits are the error of those: what lies within it counts as even.
    """
    found = Decimal(f"{value:.{EXACT_DIGITS}g}")
    if not found.is_finite():
        raise Unfit("the result is no number: a division by zero?")
    places = max(0, EXACT_DIGITS - 1 - Decimal(largest).adjusted())
    if places < -cast(int, found.as_tuple().exponent):
        even = round(found, places)
        found = even if abs(even - found) <= SLIPS * Decimal(math.ulp(largest)) else found
    return int(found) if found == found.to_integral_value() else found.normalize()


def _lookup(kind: str, value: Any) -> dict[str, Any]:
    """The NetSuite record of that name, found by the writer."""
    if kind not in _REFERENCE_KINDS:
        raise ValueError(f"lookup kind must be one of {', '.join(_REFERENCE_KINDS)}")
    return {"$reference": kind, "value": None if value is None else str(value)}


def _join(values: Any, separator: str) -> str | None:
    """A list as one text, empty members left out."""
    found = _given(values, list, "join")
    return None if found is None else separator.join(_text(value) for value in found if value not in (None, ""))


def _first(values: Any) -> Any:
    """The first member of a list, or null."""
    return (_given(values, list, "first") or [None])[0]


def _primary(values: Any) -> Any:
    """The value of the primary entry of Pipedrive's emails or phones, else of the first that has one."""
    found = _given(values, list, "primary") or []
    entries = [entry for entry in found if isinstance(entry, Mapping) and entry.get("value")]
    chosen = next((entry for entry in entries if entry.get("primary")), entries[0] if entries else None)
    return None if chosen is None else chosen["value"]


def _cut(value: Any, length: int) -> str | None:
    """At most so many characters of a text."""
    found = _given(value, str, "cut")
    return None if found is None else found[: max(0, length)]


def _country(name: Any) -> str | None:
    """The ISO code of two letters of a country, from its name in any usual language."""
    found = _given(name, str, "country")
    if found is None or not found.strip():
        return None
    code = country_code(found)
    if code is None:
        raise ValueError("country(): no country is called so; give its name or its ISO code")
    return code


def _given(value: Any, kind: type[T], function: str) -> T | None:
    if value is None or isinstance(value, kind):
        return value
    raise ValueError(f"{function}() of a {_type_name(value)}")


def _text(value: Any) -> str:
    return f"{_exact(value, abs(value)):f}" if isinstance(value, float) else str(value)


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "lookup": _lookup,
    "join": _join,
    "first": _first,
    "primary": _primary,
    "cut": _cut,
    "country": _country,
}

FUNCTION_NAMES: Final = tuple(_FUNCTIONS)


def _problem(error: Exception) -> str:
    """Without the engine's wrapping and hints; never a value."""
    if isinstance(error, KeyError):
        return "a member that is not there"
    if isinstance(error, ZeroDivisionError):
        return "a division by zero"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rpartition("ValueError: ")[2].split(". ")[0]


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "boolean"}
    return names.get(type(value), "number" if isinstance(value, int | float | Decimal) else type(value).__name__)


# The engine logs what a function of ours raised, arguments and all; the error itself says what is needed.
logging.getLogger("cel").setLevel(logging.CRITICAL + 1)
