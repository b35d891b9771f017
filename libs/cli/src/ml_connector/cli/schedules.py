"""`mlc schedule`: what begins by itself, and what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_connector.cli.admin_api import Answer
from ml_connector.cli.looking import OfFlow, look
from ml_connector.cli.options import Json, flow_name
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import add, age, counted, facts, hint, one_line, say, show, table, when
from ml_connector.common.schedule_job import ScheduleKind

app = typer.Typer(
    help="Schedules of flows: what begins by itself, and what came of it. They are set in a flow's file.",
    no_args_is_help=True,
)

HOW = """one is set in a flow's file, as schedule: {sync: "*/15 * * * *"}, by mlc flows apply"""


@app.command("list")
@plainly
def list_(
    kind: Annotated[ScheduleKind | None, typer.Option(help="Only of these jobs.")] = None, as_json: Json = False
) -> None:
    """List what begins next in each flow, and how the last one ended."""
    look(lambda api: api.get("schedules", {"kind": kind}), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    made = table("flow", "what", "next", "last", "state", "job", rest="since then")
    for one in answer["schedules"]:
        last = one["last"] or {"due_at": None, "state": "", "job": ""}
        ended = when(last["due_at"]) if last["due_at"] else "never"
        add(made, one["flow"], one["kind"], _next(one), ended, last["state"], last["job"], _left_out(one["not_begun"]))
    show(made)
    hint(counted(len(answer["schedules"]), "schedule") + ("" if answer["schedules"] else f"; {HOW}"))


@app.command("show")
@plainly
def show_(flow: Annotated[str, typer.Argument(help="The flow.", metavar="FLOW")], as_json: Json = False) -> None:
    """Show when each job of a flow is due, and what became of its last due times."""

    def report(answer: Answer) -> None:
        for one in answer["schedules"]:
            _report(one)
        if not answer["schedules"]:
            say(f"flow {flow} has no schedule: nothing begins by itself")
            hint(HOW)

    look(lambda api: api.get(f"schedules/{flow_name(flow)}"), report, as_json=as_json)


@app.command()
@plainly
def gaps(flow: OfFlow = None, as_json: Json = False) -> None:
    """Show when events may have got lost, and how that was caught up with."""
    look(lambda api: api.get("catch-ups", {"flow": flow_name(flow) if flow else None}), _gaps, as_json=as_json)


def _gaps(answer: Answer) -> None:
    made = table("flow", "from", "to", "state", "missing", "sync", rest="why")
    for one in answer["catch_ups"]:
        if one["gap"] is not None:
            gap = one["gap"]
            state = "open" if gap["open"] else "to come"
            add(made, one["flow"], when(gap["since"]), when(gap["until"]), state, "", "", gap["why"])
        for run in one["runs"]:
            sync = run["gone"] or run["changes"]
            missing = f"{run['missing']} of {run['known']}" if run["known"] else ""
            why = one_line("; ".join(filter(None, (run["problem"], run["why"]))))
            add(made, one["flow"], when(run["since"]), when(run["until"]), run["phase"], missing, sync, why)
    show(made)
    hint(counted(made.row_count, "gap"))


def _report(one: Answer) -> None:
    say(f"{one['kind']}: {one['cron']} ({one['time_zone']})")
    show(facts([("next", _next(one)), ("jitter", f"up to {one['jitter_s']} s" if one["jitter_s"] else "")]))
    made = table("due", "age", "what", "job", "state", rest="why")
    for turn in one["turns"]:
        what = turn["fate"] if turn["times"] == 1 else f"{turn['fate']} {turn['times']} times"
        add(made, when(turn["due_at"]), age(turn["due_at"]), what, turn["job"], turn["state"], _why(turn))
    if one["turns"]:
        show(made)


def _next(one: Answer) -> str:
    if one["paused"]:
        return "flow is paused"
    return when(one["next_at"]) if one["next_at"] else "never"


def _left_out(turn: Answer | None) -> str:
    if turn is None:
        return ""
    times = "" if turn["times"] == 1 else f"{turn['times']} times "
    return one_line(f"{times}{turn['fate']}: {turn['why']}")


def _why(turn: Answer) -> str:
    missed = f"for all since {when(turn['missed_since'])}" if turn["missed_since"] else ""
    return one_line("; ".join(part for part in (turn["why"], missed) if part))
