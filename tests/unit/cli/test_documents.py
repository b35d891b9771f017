"""What the documents name is there: pages and their headings, commands and their options, targets of `make`, modules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from ml_connector.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
MODULES = {str(path) for member in ("services", "libs") for path in ROOT.glob(f"{member}/*/src/**/*.py")}
COMMAND: Any = typer.main.get_command(app)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def headings(page: Path) -> set[str]:
    """As GitHub names them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


def commands(text: str) -> list[list[str]]:
    """Of code, inline or in blocks: what stands behind `mlc`."""
    code = re.findall(r"```\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    lines = [line for block, inline in code for line in (block or inline).splitlines()]
    named = [re.split(r"[#|>…]", line)[0].split() for line in lines if line.startswith("mlc ")]
    return [words[1:] for words in named]


def unknown(words: list[str]) -> str:
    """The first word that names no command, or no option of it; empty when all are known."""
    at = COMMAND
    for word in words:
        if word.startswith("--"):
            if word != "--help" and not any(word in (*one.opts, *one.secondary_opts) for one in at.params):
                return word
        elif hasattr(at, "commands"):  # a group
            if word not in at.commands:
                return word
            at = at.commands[word]
    return ""


@pages
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", text):
        name, _, heading = link.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), link
        assert not heading or heading in headings(there), link


@pages
def test_commands_and_their_options_are_those_of_the_command_line(page: Path) -> None:
    assert {" ".join(words): word for words in commands(page.read_text()) if (word := unknown(words))} == {}


@pages
def test_targets_are_those_of_make(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


def test_modules_that_the_architecture_names_exist() -> None:
    named = re.findall(r"`((?:\w+/)*\w+\.py)`", (ROOT / "docs" / "architecture.md").read_text())

    assert len(named) > 100
    assert [name for name in named if not any(module.endswith(f"/{name}") for module in MODULES)] == []
