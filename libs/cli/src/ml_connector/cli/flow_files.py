"""Read a flow from YAML and remember on which line everything stands."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.reader import ReaderError

from ml_connector.common.errors import InvalidFlow

MAX_BYTES: Final = 256 * 1024  # a flow of a thousand fields has 50 KiB; reading takes a second for each MB
MAX_VALUES: Final = 20_000  # with all aliases written out

# What the reader says, and what a person does about it.
_MEANINGS: Final = (
    ("'\\t'", "a tab: YAML is indented with spaces"),
    ("another document", "a second document begins here: a file holds one flow"),
    ("expected <block end>", "this is not indented as what it belongs to, or a text before it needs quotes"),
    ("mapping values are not allowed", "not indented as what it belongs to, or a text with `: ` in it needs quotes"),
    ("unexpected end of stream", "a quote or a bracket was not closed"),
    ("constructor for the tag", "tags (`!...`) are not read"),
    ("for merging", "`<<` takes an alias of a mapping"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One problem and where it stands."""

    line: int
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Finds the line of a path in the document."""

    file: Path
    root: Any

    def place(self, problem: str) -> str:
        """`FILE:LINE: path: what`."""
        return f"{self.file}:{self.find(problem).line}: {problem}"

    def find(self, problem: str) -> Place:
        """Of `path: what`: the deepest member on the path that the document has. Names may hold dots and colons."""
        node: Any = self.root
        line, end = 1, 0
        while (name := _next_step(node, problem[end:])) is not None:
            marks = node.lc
            place = marks.item if isinstance(node, list) else marks.key
            line = place(name)[0] + 1
            node = node[name]
            end += len(str(name))
            if problem.startswith(": ", end):
                return Place(line, problem[:end], problem[end + 2 :])
            end += 1
        path, colon, what = problem[end:].partition(": ")
        return Place(line, problem[:end] + path, what) if colon else Place(line, "", problem)


def _next_step(node: Any, path: str) -> Any:
    """The longest member of the node that the path begins with; None when there is none."""
    if not hasattr(node, "lc"):
        return None
    names = range(len(node)) if isinstance(node, list) else [key for key in node if key in node.lc.data]
    fitting = [name for name in names if path.startswith((f"{name}.", f"{name}: "))]
    return max(fitting, key=lambda name: len(str(name)), default=None)


def read_flow_file(file: Path) -> tuple[dict[str, Any], Lines]:
    """The document, and its lines. Raises InvalidFlow on what is not YAML, or too much; FileNotFoundError."""
    text = _text(file)
    root = _parsed(file, lambda: YAML(typ="rt", pure=True).load(io.StringIO(text)))
    document = _parsed(file, lambda: YAML(typ="safe", pure=True).load(io.StringIO(text)))
    if not isinstance(document, dict):
        raise InvalidFlow([f"{file}:1: a flow starts with 'flow: <name>'"])
    if _values(document, {}) > MAX_VALUES:
        raise InvalidFlow([f"{file}:1: with its aliases written out it has more than {MAX_VALUES} values"])
    return document, Lines(file, root)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InvalidFlow([f"{file}:1: a flow has at most {MAX_BYTES // 1024} KiB"])
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFlow([f"{file}:1: not a text in UTF-8"]) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidFlow([f"{file}:1: it cannot be read ({error.strerror})"]) from error


def _parsed(file: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ReaderError as error:
        raise InvalidFlow([f"{file}:1: a control character at position {error.position}"]) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise InvalidFlow([f"{file}:{line}: {_meaning(str(getattr(error, 'problem', None) or 'not YAML'))}"]) from error
    except RecursionError as error:
        raise InvalidFlow([f"{file}:1: nested too deeply"]) from error
    except (ValueError, TypeError, AttributeError) as error:  # of a date or a number that is none
        raise InvalidFlow([f"{file}:1: not YAML ({error})"]) from error


def _meaning(problem: str) -> str:
    found = next((meaning for sign, meaning in _MEANINGS if sign in problem), None)
    return found if found is not None else problem.partition(" with value ")[0]


def _values(node: Any, counted: dict[int, int]) -> int:
    """How many there are with all aliases written out; one that holds itself counts as too many."""
    if not isinstance(node, dict | list):
        return 1
    found = counted.get(id(node))
    if found is None:
        counted[id(node)] = MAX_VALUES + 1  # until it is known: whoever meets it meanwhile is inside of it
        inner = node.values() if isinstance(node, dict) else node
        found = counted[id(node)] = 1 + sum(_values(one, counted) for one in inner)
    return found
