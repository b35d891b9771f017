"""mlc flows: one Pipedrive company, one NetSuite account, one mapping; asked of the admin service."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from ruamel.yaml import YAML

from ml_connector.cli import flow_writing
from ml_connector.cli.admin_api import AdminApi, Answer, Refused
from ml_connector.cli.dlq_edit import preview, read_event
from ml_connector.cli.flow_files import read_flow_file
from ml_connector.cli.looking import look
from ml_connector.cli.options import Json, flow_name
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import add, hint, one_line, say, show, table, tell, when
from ml_connector.common.errors import BadInput, InvalidFlow

app = typer.Typer(help="Flows: one Pipedrive company, one NetSuite account, one mapping.", no_args_is_help=True)
app.command("init")(flow_writing.init)
app.command("validate")(flow_writing.validate)

_FILE: Final = re.compile(r"[./]")  # what no flow's name has

Name = Annotated[str, typer.Argument(help="Its name.", metavar="FLOW")]
Why = Annotated[str, typer.Option("--reason", help="Why. It is recorded with your name.")]
Expect = Annotated[
    int | None, typer.Option(help="Only if this version is active now (0: only if there is no such flow).")
]


@app.command("apply")
@plainly
def apply(
    file: Annotated[Path, typer.Argument(help="A flow in YAML.")],
    reason: Why = "",
    expect: Expect = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Against the company's own custom fields and stages.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check a flow (every problem with its line), give it the next version and activate it."""
    answer = _post_document("flows", file, {"reason": reason, "expect": expect, "check": check})
    _tell(answer, "is active" if answer["changed"] else "says exactly this already: nothing is changed", as_json)
    if check and answer["unchecked"]:
        hint(f"not checked against Pipedrive: {one_line(answer['unchecked'])}")


@app.command("list")
@plainly
def list_(as_json: Json = False) -> None:
    """List the flows with their active versions."""
    look(lambda api: api.get("flows"), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    made = table("flow", "version", "company", "account", "environment", "state", rest="applied by")
    for one in answer["flows"]:
        names = (one["flow"], one["version"], one["company"], one["account"], one["environment"])
        add(made, *names, _state(one), f"{one['applied_by']}, {when(one['applied_at'])}")
    show(made)
    for one in answer["flows"]:
        _tell_stops(one)


@app.command("show")
@plainly
def show_(
    flow: Name,
    version: Annotated[int | None, typer.Option(min=1, help="Which (default: the active one).")] = None,
    as_json: Json = False,
) -> None:
    """Print a flow as it was applied, in YAML; comments are not kept."""
    path = f"flows/{flow_name(flow)}" + (f"/versions/{version}" if version is not None else "")
    look(lambda api: api.get(path), _print, as_json=as_json)


def _print(answer: Answer) -> None:
    _yaml().dump(answer["document"], sys.stdout)
    _tell_stops(answer)


@app.command("history")
@plainly
def history(flow: Name, as_json: Json = False) -> None:
    """List the versions of a flow, newest first."""

    def ask(api: AdminApi) -> Answer:
        answer = api.get(f"flows/{flow_name(flow)}")
        return {"flow": answer["flow"], "versions": answer["versions"]}

    look(ask, _list_versions, as_json=as_json)


def _list_versions(answer: Answer) -> None:
    made = table("version", "", "applied", rest="by")
    for one in answer["versions"]:
        add(made, one["version"], "active" if one["active"] else "", when(one["applied_at"]), one["applied_by"])
    show(made)


@app.command("rollback")
@plainly
def rollback(
    flow: Name,
    version: Annotated[int, typer.Argument(min=1, help="The version to go back to.")],
    reason: Why = "",
    expect: Expect = None,
    as_json: Json = False,
) -> None:
    """Activate another version that was applied before. Records are written anew when they change, or by a replay."""
    answer = _change(flow, "activate", reason, expect=expect, version=version)
    _tell(answer, "is active" if answer["changed"] else "was active already", as_json)


@app.command("pause")
@plainly
def pause(flow: Name, reason: Why = "", as_json: Json = False) -> None:
    """Write nothing of this flow to NetSuite; its events go on being accepted and wait."""
    answer = _change(flow, "pause", reason)
    _tell(answer, "is paused" if answer["changed"] else "was paused already", as_json)


@app.command("resume")
@plainly
def resume(flow: Name, reason: Why = "", as_json: Json = False) -> None:
    """Let a flow go on that was paused, or halted because its records were rejected one after the other."""
    _tell(_change(flow, "resume", reason), "goes on", as_json)


@app.command("preview")
@plainly
def preview_(
    flow: Annotated[str, typer.Argument(help="Its name; or a flow in YAML, which need not be applied.")],
    event: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A webhook body, as JSON.")],
    version: Annotated[int | None, typer.Option(min=1, help="Map with this one (default: the active one).")] = None,
    as_json: Json = False,
) -> None:
    """Say what the mapping makes of an event, field by field, and what gives each value. Nothing is written.

    Exit code 1 when it would be a dead letter, or could not be said.
    """
    body = {"event": read_event(event.read_bytes(), str(event))}
    if not _FILE.search(flow):
        with AdminApi.here() as api:
            answer = api.post(f"flows/{flow_name(flow)}/preview", {**body, "version": version})
    elif version is not None:
        raise BadInput("--version: a file has none")
    else:
        answer = _post_document("flows/preview", Path(flow), body)
    if as_json:
        tell(answer)
    else:
        show(preview(answer))
    if answer["result"] in {"dead_lettered", "unresolved"}:
        raise typer.Exit(1)


def _post_document(path: str, file: Path, more: dict[str, Any]) -> Answer:
    """Raises InvalidFlow with the lines of what the service finds wrong."""
    document, lines = read_flow_file(file)
    try:
        with AdminApi.here() as api:
            return api.post(path, {"document": msgspec.to_builtins(document), **more})
    except Refused as error:
        problems = [(where, what) for where, what in error.details if not where.startswith("body")]
        if not problems:
            raise
        raise InvalidFlow([lines.place(f"{where}: {what}" if where else what) for where, what in problems]) from error


def _state(one: Answer) -> str:
    """What a person has said comes first."""
    if one["paused"]:
        return "paused"
    return "stopped" if one.get("stopped") else "active"


def _tell_stops(one: Answer) -> None:
    for stop in one.get("stopped", ()):
        subject = one_line(stop["subject"]).replace("/", " ", 1)
        what = f"{subject} is {one_line(stop['state'])} since {when(stop['since'])}: {one_line(stop['reason'])}"
        hint(f"flow {one_line(one['flow'])}: {what}; see `mlc doctor {one_line(one['flow'])}`")


def _change(flow: str, what: str, reason: str, **more: Any) -> Answer:
    with AdminApi.here() as api:
        return api.post(f"flows/{flow_name(flow)}/{what}", {"reason": reason, **more})


def _tell(answer: Answer, what: str, as_json: bool) -> None:
    if as_json:
        tell(answer)
    else:
        say(f"flow {one_line(answer['flow'])}: version {answer['version']} {what}")


def _yaml() -> YAML:
    made = YAML()
    made.indent(mapping=2, sequence=4, offset=2)
    return made
