"""From what pydantic finds in a flow to lines that a person can act on: `path: what is wrong`. Pure.

Never: a value of the document, but for names of members and accounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from ml_connector.common.suggesting import meant

# pydantic names the branch of a union that it tried; a reader of the YAML has not written it.
_BRANCH: Final = re.compile(r"str|bool|int|float|constrained-\w+|(function-\w+|literal|nullable|union)\[.*\]")
_WORDS: Final = {
    "missing": "is needed",
    "dict_type": "members are needed here, each on a line of its own: <name>: <value>",
    "model_type": "members are needed here, each on a line of its own: <name>: <value>",
    "tuple_type": "a list is needed: [<name>, <name>]",
    "string_type": 'a text is needed: write it in quotes, as in "8"',
}
_MEANINGS: Final = {
    "^[a-z0-9][a-z0-9-]{0,62}$": "small letters, digits and hyphens, 63 at most",
    "^[0-9]{1,10}$": "the internal id of a NetSuite status, digits only",
    "^[A-Za-z0-9]{1,20}$": "letters and digits, 20 at most",
    "^[0-9]{1,19}$": "an id, digits only",
    "^[0-9]+$": "an internal id, digits only",
    "^[a-zA-Z][a-zA-Z0-9_]*$": "the name of a NetSuite field",
}


def lines_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One for each place: of the branches of a union the first that says something counts."""
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        steps = [str(step) for step in problem["loc"] if not _BRANCH.fullmatch(str(step)) and step != "[key]"]
        where = ".".join(steps) or "flow"
        lines.setdefault(where, f"{where}: {_what(problem, steps, model)}")
    return list(lines.values())


def _what(problem: Any, steps: list[str], model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        return _unknown_member(steps, model)
    if problem["type"] == "literal_error":
        allowed = [word.strip("'") for word in str(problem["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
        given = steps[-1] if "[key]" in problem["loc"] else problem["input"]
        likely = meant(given, allowed) if isinstance(given, str) else None
        return str(problem["msg"]) + (f"; did you mean {likely!r}?" if likely is not None else "")
    if problem["type"] == "string_type" and isinstance(problem["input"], dict | list):
        return "one value is needed here, not members or a list"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch":
        meaning = _MEANINGS.get(problem["ctx"]["pattern"])
        return f"{message}: {meaning}" if meaning is not None else message
    return _WORDS.get(problem["type"], message)


def _unknown_member(steps: list[str], model: type[BaseModel]) -> str:
    """There is no such member: one that is called alike, or the place where it belongs."""
    name, known = steps[-1], places(model)
    here = ".".join(steps[:-1])
    beside = [path.rpartition(".")[2] for path in known if _matches(path.rpartition(".")[0], here)]
    likely = meant(name, beside)
    if likely is not None:
        return f"there is no such member; did you mean {likely!r}?"
    elsewhere = [path for path in known if path.rpartition(".")[2] == name]
    if elsewhere:
        return f"there is no such member here; did you mean {elsewhere[0].replace('*', '<entity>')}?"
    return f"there is no such member; there are {', '.join(sorted(beside))}"


def _matches(pattern: str, path: str) -> bool:
    """`entities.*` stands for every entity."""
    asked, given = pattern.split("."), path.split(".")
    return len(asked) == len(given) and all(one in ("*", other) for one, other in zip(asked, given, strict=True))


@cache
def places(model: type[BaseModel]) -> tuple[str, ...]:
    """Paths of all members of a model; `*` stands for any key of a mapping."""
    return tuple(_paths(model, ""))


def _paths(model: type[BaseModel], before: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{before}{name}"
        kind = field.annotation
        inner, step = (kind, name) if not get_args(kind) else (get_args(kind)[-1], f"{name}.*")
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _paths(inner, f"{before}{step}.")
