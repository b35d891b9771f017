"""Read a Dockerfile: its stages and their steps, as far as ours uses the language.

In: the text. Out: stages in their order. Raises ValueError for an instruction that this does not know.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import NamedTuple

KNOWN = frozenset(
    ["ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "RUN", "USER", "WORKDIR"]
)  # FROM begins a stage
_HEREDOC = re.compile(r"<<-?['\"]?\w")


class Step(NamedTuple):
    """`options`: `--from=build`, `--mount=...`; `rest`: what follows them, variables not replaced."""

    instruction: str
    options: tuple[str, ...]
    rest: str

    def option(self, name: str) -> str | None:
        found = [one.partition("=")[2] for one in self.options if one.startswith(f"--{name}=")]
        return found[0] if found else None


@dataclass
class Stage:
    """`base`: an image, or a stage before."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def all(self, instruction: str) -> list[Step]:
        return [step for step in self.steps if step.instruction == instruction]


def stages(text: str) -> dict[str, Stage]:
    """By name. What stands before the first FROM must be ARG; its default replaces `${NAME}` there."""
    found: dict[str, Stage] = {}
    outer: dict[str, str] = {}
    current: Stage | None = None
    for line in _joined(text):
        instruction, _, rest = line.partition(" ")
        words = rest.split()
        if instruction == "FROM":
            base = filled(words[0], outer)
            current = Stage(words[2] if len(words) == 3 and words[1] == "AS" else str(len(found)), base)
            found[current.name] = current
        elif current is None:
            if instruction != "ARG":
                raise ValueError(f"{instruction} stands before the first FROM")
            outer |= variables(rest)
        else:
            current.steps.append(_step(instruction, rest))
    return found


def variables(text: str) -> dict[str, str]:
    """`A=1 B="two words"`."""
    return {name: value for name, _, value in (word.partition("=") for word in shlex.split(text))}


def filled(text: str, values: dict[str, str]) -> str:
    """`${NAME}` replaced. Raises KeyError."""
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


def command(text: str) -> list[str]:
    """The exec form, or the shell form through /bin/sh."""
    text = text.strip()
    return list(json.loads(text)) if text.startswith("[") else ["/bin/sh", "-c", text]


def _step(instruction: str, rest: str) -> Step:
    if instruction not in KNOWN or _HEREDOC.search(rest):
        raise ValueError(f"{instruction} {rest[:40]}: not known here")
    words = rest.split(" ")
    count = next((number for number, word in enumerate(words) if not word.startswith("--")), len(words))
    return Step(instruction, tuple(words[:count]), " ".join(words[count:]).strip())


def _joined(text: str) -> list[str]:
    """Logical lines: continued ones joined, comments and empty ones left out."""
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [re.sub(r"\s+", " ", line.strip()) for line in re.sub(r"\\\n", " ", "\n".join(kept)).split("\n")]
