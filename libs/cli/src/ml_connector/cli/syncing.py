"""`mlc sync`: bring NetSuite up to what Pipedrive holds, after saying what that costs; the same for one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import Json, Reason, each_of, flow_name, takes
from ml_connector.cli.say import err, fail, plainly
from ml_connector.cli.showing import add, counted, hint, lasting, one_line, say, show, table, tell
from ml_connector.cli.syncs import see_through
from ml_connector.common.errors import BadInput

_BOUNDS: Final = {"at_least": "at least", "at_most": "at most"}


class EntityName(StrEnum):
    """What can be synced."""

    organization = "organization"
    person = "person"
    deal = "deal"


@dataclass(frozen=True, slots=True)
class What:
    """Which objects: one of three ways to say it."""

    full: Annotated[bool, typer.Option("--full", help="Everything that Pipedrive holds.")] = False
    since: Annotated[str | None, typer.Option(help="What changed since: 30m, 2h, 7d ago, or 2026-07-28T03:00:00Z.")] = (
        None
    )
    until: Annotated[str | None, typer.Option(help="With --since: before this.")] = None
    ids: Annotated[
        list[str] | None, typer.Option(help="These of one --entity, comma separated. Repeatable.", metavar="IDS")
    ] = None
    entity: Annotated[list[EntityName] | None, typer.Option(help="Only this one. Repeatable.")] = None

    def body(self) -> dict[str, Any]:
        """As the service takes it. Raises BadInput."""
        ways = {"full": self.full, "since": self.since is not None, "ids": self.ids is not None}
        modes = [name for name, given in ways.items() if given]
        if len(modes) != 1:
            raise BadInput("say what to sync: one of --full, --since TIME and --ids IDS")
        if self.until is not None and self.since is None:
            raise BadInput("--until ends a window: say where it begins by --since")
        entities = [one.value for one in self.entity or []]
        return {
            "mode": modes[0],
            "since": self.since or "",
            "until": self.until or "",
            "ids": each_of(self.ids),
            "entities": entities,
        }


@dataclass(frozen=True, slots=True)
class How:
    """How it shall go."""

    share: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="Of the flow's daily tokens: read only within it (0.5).")
    ] = None
    stop_after: Annotated[int | None, typer.Option(min=1, help="Pause after so many rejected objects.")] = None
    force: Annotated[bool, typer.Option("--force", help="Write also what NetSuite is known to hold already.")] = False

    def body(self) -> dict[str, Any]:
        given = {"token_share": self.share, "stop_after": self.stop_after, "force": self.force or None}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Start:
    """Whether, and what then."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="Start without being asked.")] = False
    follow: Annotated[bool, typer.Option("--follow", help="Stay until nothing of what was read moves any more.")] = (
        False
    )


@plainly
@takes(what=What, how=How, start=Start)
def sync(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    what: What,
    how: How,
    start: Start,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Read what Pipedrive holds and bring NetSuite up to it. Says what it costs, and asks, before it starts.

    One of --full, --since and --ids says what is read. Afterwards: mlc syncs watch|pause|resume|cancel.
    """
    begin({"flow": flow_name(flow), "reason": reason, **what.body(), **how.body()}, start, as_json=as_json)


def begin(body: Mapping[str, Any], start: Start, *, as_json: bool) -> None:
    """Tell the cost, ask, start it, perhaps follow it."""
    with AdminApi.here() as api:
        if start.dry_run or not (start.yes and as_json):
            planned = api.post("syncs", {**body, "dry_run": True})
            if start.dry_run and as_json:
                tell(planned)
                return
            if not as_json:
                show_plan(planned["plan"])
        if start.dry_run:
            return
        if not start.yes:
            agreed()
        made = api.post("syncs", body)["sync"]
        if start.follow:
            see_through(api, made, as_json=as_json)
        elif as_json:
            tell(made)
        else:
            say(f"sync {made['id']} is running")
            hint(f"to follow it: mlc syncs watch {made['id']}")


def show_plan(plan: Answer, unknown: str = "one an object", *, aside: bool = False) -> None:
    """What each entity costs, all together, what that rests on, and what is in the way.

    `unknown`: NetSuite's requests where nobody knows how many objects there are. `aside`: not on stdout.
    """
    if aside:
        hint(f"{plan['tokens']} tokens, about {lasting(plan['seconds'])}")
        return
    made = table("entity", "objects", "calls", "tokens", "NetSuite requests", rest="of them")
    for one in plan["entities"]:
        objects, requests = f"{_BOUNDS[one['bound']]} {one['objects']}", f"at most {one['netsuite_requests']}"
        if not one["objects"]:
            objects, requests = "not known yet", unknown
        unchanged = f"{one['unchanged']} written before: none where nothing changed" if one["unchanged"] else ""
        add(made, one["entity"], objects, one["calls"], one["tokens"], requests, unchanged)
    show(made)
    least, most = lasting(plan["seconds"]), lasting(plan["seconds_at_most"])
    least = least if any(one["objects"] for one in plan["entities"]) else f"{least} or more"
    more = f", {most} if all has changed" if most != least else ""
    say(f"together: {plan['tokens']} tokens (up to {plan['tokens_a_day']} may be spent in a day), about {least}{more}")
    for text in plan["rests_on"]:
        hint(f"rests on: {text}")
    for text in plan["warnings"]:
        err.print(f"careful: {one_line(text)}", style="yellow", markup=False)


def agreed() -> None:
    """Ask. Raises typer.Exit unless the answer is yes."""
    try:
        answer = typer.confirm("start it?", err=True)
    except typer.Abort:
        raise fail("nothing was started: nobody answered (--yes does not ask)") from None
    if not answer:
        raise fail("nothing was started")


def refresh(subject: Answer, flow: str | None, start: Start, *, reason: str, as_json: bool) -> None:
    """Read one object anew, for one of the flows that keep it. Raises BadInput."""
    flows = subject.get("flows") or []
    if flow is None and len(flows) != 1:
        raise BadInput(f"{counted(len(flows), 'flow')} keep it ({', '.join(flows)}): say which by --flow")
    body = {
        "flow": flow_name(flow or flows[0]),
        "mode": "ids",
        "ids": [subject["source_id"]],
        "entities": [subject["entity"]],
        "reason": reason,
    }
    begin(body, start, as_json=as_json)
