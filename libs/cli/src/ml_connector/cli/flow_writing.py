"""`mlc flows init` and `validate`: a flow to start from, and what is wrong with one. Neither asks any service.

Exit codes: 0 nothing is wrong, 1 something is, 2 the command was wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ml_connector.cli.flow_files import Place, read_flow_file
from ml_connector.cli.flow_starter import starter
from ml_connector.cli.options import Json
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import counted, hint, say, tell
from ml_connector.common.errors import BadInput, InvalidFlow
from ml_connector.common.flows import parse_flow

FlowFile = Annotated[Path, typer.Argument(help="A flow in YAML.")]


@plainly
def init(
    flow: Annotated[str, typer.Argument(help="What it shall be called.")] = "my-flow",
    company: Annotated[str, typer.Option(help="The Pipedrive company, as its address has it.")] = "my-company",
    account: Annotated[str, typer.Option(help="The NetSuite account, as 1234567 or 1234567_SB1.")] = "1234567_SB1",
    prefix: Annotated[str, typer.Option(help="What every external id begins with.")] = "pd",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A new file (default: print it).")] = None,
) -> None:
    """Write a commented flow with a mapping for organizations, persons and deals, to be adapted."""
    text = starter(flow=flow, company=company, account=account, prefix=prefix)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"{output} cannot be written ({error.strerror}): name a new file") from error
    hint(f"adapt the stages in {output}, then `mlc flows validate {output}`")


@plainly
def validate(file: FlowFile, as_json: Json = False) -> None:
    """Name every problem of a flow at once, each with its line and what to do. Asks nobody."""
    found = problems_of(file)
    if as_json:
        told = [{"line": one.line, "path": one.path, "problem": one.problem} for one in found]
        tell({"file": str(file), "ok": not found, "problems": told})
    else:
        for one in found:
            say(f"{file}:{one.line}: {f'{one.path}: ' if one.path else ''}{one.problem}")
        say(counted(len(found), "problem") if found else f"{file}: nothing is wrong with it")
    if found:
        raise typer.Exit(1)


def problems_of(file: Path) -> list[Place]:
    """In the order of their lines. Raises FileNotFoundError."""
    try:
        document, lines = read_flow_file(file)
    except InvalidFlow as error:
        return [_of_the_file(file, problem) for problem in error.problems]
    try:
        parse_flow(document)
    except InvalidFlow as error:
        return sorted(map(lines.find, error.problems), key=lambda one: one.line)
    return []


def _of_the_file(file: Path, problem: str) -> Place:
    """`FILE:LINE: what`."""
    line, _, what = problem.removeprefix(f"{file}:").partition(": ")
    return Place(int(line), "", what)
