"""Read a flow from YAML and remember on which line everything stands."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ml_connector.common.errors import InvalidFlow


@dataclass(frozen=True, slots=True)
class Lines:
    """Finds the line of a path in the document."""

    file: Path
    root: Any

    def place(self, problem: str) -> str:
        """`FILE:LINE: path: what`."""
        path, _, _ = problem.partition(":")
        return f"{self.file}:{self._line(path)}: {problem}"

    def _line(self, path: str) -> int:
        """Of the deepest member on the path that the document has."""
        node, line = self.root, 1
        for step in path.split("."):
            if not hasattr(node, "lc") or step not in node:
                break
            line = node.lc.key(step)[0] + 1
            node = node[step]
        return line


def read_flow_file(file: Path) -> tuple[dict[str, Any], Lines]:
    """The document, and its lines. Raises InvalidFlow on what is not YAML, FileNotFoundError."""
    text = file.read_text(encoding="utf-8")
    try:
        root = YAML(typ="rt").load(io.StringIO(text))
        document = YAML(typ="safe").load(io.StringIO(text))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise InvalidFlow([f"{file}:{line}: {getattr(error, 'problem', None) or 'not YAML'}"]) from error
    if not isinstance(document, dict):
        raise InvalidFlow([f"{file}:1: a flow starts with 'flow: <name>'"])
    return document, Lines(file, root)
