"""`mlc webhooks`: which webhooks of the company lead to a flow; make those that it needs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import Json, flow_name
from ml_connector.cli.say import err, plainly
from ml_connector.cli.showing import add, counted, one_line, say, show, table, tell

app = typer.Typer(help="Pipedrive's webhooks: show, install.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The flow's name.")]
Relay = Annotated[bool, typer.Option("--relay", help="The URL is a relay's, which signs; it is subscribed as it is.")]


@app.command()
@plainly
def status(
    flow: Name,
    url: Annotated[str, typer.Option(help="Ours are those that lead here; without it: to the flow's path.")] = "",
    relay: Relay = False,
    as_json: Json = False,
) -> None:
    """Show the company's webhooks, and which are ours. Only reads."""
    with AdminApi.here() as api, err.status("asking Pipedrive ..."):
        answer = api.get(f"flows/{flow_name(flow)}/webhooks", {"url": url, "relay": relay})
    _print(answer, as_json=as_json)


@app.command()
@plainly
def install(
    flow: Name,
    url: Annotated[str, typer.Option(help="Where ingest is reached from outside, https://...; or the relay.")],
    relay: Relay = False,
    as_json: Json = False,
) -> None:
    """Make the webhooks that the flow needs, remove ours that it does not. Again: nothing changes."""
    with AdminApi.here() as api, err.status("asking Pipedrive ..."):
        answer = api.post(f"flows/{flow_name(flow)}/webhooks", {"url": url, "relay": relay})
    _print(answer, as_json=as_json)
    if not as_json:
        say(summary(answer))


def summary(answer: Answer) -> str:
    """`made 2, removed 1`."""
    made, removed = len(answer["created"]), len(answer["removed"])
    ours = counted(sum(1 for one in answer["subscriptions"] if one["ours"]), "webhook")
    done = f"made {made}, removed {removed}" if made or removed else "nothing to do"
    return f"{done}: {ours} to {one_line(answer['address'])}"


def _print(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        tell(answer)
        return
    rows: list[dict[str, Any]] = answer["subscriptions"]
    if not rows:
        say("the company has no webhooks")
        return
    made = table("id", "ours", "entity", "action", "active", "last delivery", rest="url")
    for one in rows:
        last = f"{one['last_delivery']} {one['last_status'] or ''}".strip() or "-"
        add(made, one["id"], _yes(one["ours"]), one["entity"], one["action"], _yes(one["active"]), last, one["url"])
    show(made)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
