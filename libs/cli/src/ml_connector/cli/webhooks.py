"""`mlc webhooks`: which webhooks of the company lead to a flow; make those that it needs; give them a new key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import Json, Reason, flow_name, takes
from ml_connector.cli.say import err, plainly
from ml_connector.cli.secrets import secret_text
from ml_connector.cli.showing import add, counted, one_line, say, show, table, tell
from ml_connector.common.errors import BadInput

app = typer.Typer(help="Pipedrive's webhooks: show, install, rotate their key.", no_args_is_help=True)

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


@dataclass(frozen=True, slots=True)
class Key:
    """Which key, and the new one where it is a person's to choose."""

    proof: Annotated[str | None, typer.Option(help="basic or hmac-sha256, for a flow whose deliveries carry both.")] = (
        None
    )
    key: Annotated[str | None, typer.Option(help="A file with the new signing key; - is stdin. Signed flows only.")] = (
        None
    )
    ask: Annotated[bool, typer.Option("--ask", help="Ask for the new signing key instead.")] = False

    def read(self) -> str | None:
        if self.key is None and not self.ask:
            return None
        if self.key is not None and self.ask:
            raise BadInput("--key and --ask are two ways to give the key: take one")
        return secret_text(self.key, "the new signing key: ").strip()


@app.command()
@plainly
@takes(key=Key)
def rotate(
    flow: Name,
    key: Key,
    url: Annotated[str, typer.Option(help="As at install, where the webhooks lead to a relay.")] = "",
    relay: Relay = False,
    finish: Annotated[bool, typer.Option("--finish", help="Remove the old key, some minutes later.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Replace the key that deliveries carry, while they go on. Stopped anywhere, run it again."""
    body = {"proof": key.proof, "secret": key.read(), "url": url, "relay": relay, "finish": finish, "reason": reason}
    with AdminApi.here() as api, err.status("waiting for every ingest ..."):
        answer = api.post(f"flows/{flow_name(flow)}/webhooks/rotate", body)
    if as_json:
        tell(answer)
    else:
        for line in rotated(answer):
            say(line)


def rotated(answer: Answer) -> list[str]:
    """What is done, then what is to be done."""
    new, old, flow = (one_line(answer[name]) for name in ("key", "old_key", "flow"))
    if answer["step"] == "finished":
        return [f"key {new} is the only one" if answer["old_key"] is None else f"key {old} is removed, {new} stays"]
    believed = f"{counted(len(answer['ingests']), 'ingest')} took key {new}; {old} is still good"
    made, removed = len(answer["created"]), len(answer["removed"])
    if answer["proof"] == "basic":
        done = f"webhooks: made {made}, removed {removed}" if made or removed else "every webhook has the new key"
    else:
        done = f"now give the relay key {new}, and see by `mlc doctor {flow}` that its deliveries are taken"
    return [believed, done, f"then, from {one_line(answer['finish_at'])} on: mlc webhooks rotate {flow} --finish"]


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
