"""`mlc doctor`: does a flow work from end to end, and if not, what is to be done?

Exit codes: 0 nothing failed, 1 something failed (with --strict also a warning, or something that was not looked at),
2 the command was wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import Json, flow_name
from ml_connector.cli.say import err, plainly
from ml_connector.cli.showing import GAP, one_line, say, show, tell

_MARKS: Final = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED", "red")}
_SKIPPED: Final = ("skipped", "dim")


@plainly
def doctor(
    flow: Annotated[str, typer.Argument(help="Its name.")],
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    as_json: Json = False,
) -> None:
    """Look at what a flow needs, from DNS to permissions, custom fields and currencies: a line each, and the fix.

    Only reads."""
    with AdminApi.here() as api, err.status(f"looking at {one_line(flow)}, up to half a minute ..."):
        answer = api.post(f"flows/{flow_name(flow)}/check", {})
    if as_json:
        tell(answer)
    else:
        say(f"flow {answer['flow']}, version {answer['version']}, {answer['environment']}")
        show(_lines(answer["findings"]))
        say(summary(answer))
    if exit_code(answer, strict=strict):
        raise typer.Exit(1)


def exit_code(answer: Answer, *, strict: bool) -> int:
    """As above."""
    results = {one["result"] for one in answer["findings"]}
    return int(bool(results - {"ok"}) if strict else "failed" in results)


def summary(answer: Answer) -> str:
    """`12 ok, 1 warning, 2 failed`."""
    results = [one["result"] for one in answer["findings"]]
    counts = {name: results.count(name) for name in ("ok", "warning", "failed", "skipped")}
    plural = {"warning": "warnings"}
    told = [f"{count} {plural.get(name, name) if count > 1 else name}" for name, count in counts.items() if count]
    return ", ".join(told) or "nothing was looked at"


def _lines(findings: list[dict[str, Any]]) -> Table:
    made = Table.grid(padding=(0, GAP, 0, 0), expand=True)
    for _ in range(2):
        made.add_column(no_wrap=True)
    made.add_column(no_wrap=True, justify="right")
    made.add_column(ratio=1, overflow="fold")
    for one in findings:
        mark, style = _MARKS.get(one["result"], _SKIPPED)
        said = Text(one_line(one["says"]))
        if one["fix"]:
            said.append(f"\nfix: {one_line(one['fix'])}", style="bold")
        made.add_row(Text(mark, style=style), Text(one_line(one["check"])), Text(f"{one['took_ms']} ms"), said)
    return made
