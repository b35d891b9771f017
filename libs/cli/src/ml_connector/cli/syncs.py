"""`mlc syncs`: watch the syncs of flows, stop them, let them go on."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.following import change, follow, provenance
from ml_connector.cli.looking import Limit, OfFlow, look, show_page
from ml_connector.cli.options import Id, Json, Reason, id_of
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import add, age, counted, facts, hint, lasting, one_line, say, show, table, tell, when
from ml_connector.common.sync_job import SyncJobState

app = typer.Typer(help="Syncs of flows: what Pipedrive holds, brought to NetSuite.", no_args_is_help=True)

FAULTS: Final = 5  # reasons that are named

State = Annotated[SyncJobState | None, typer.Option(help="Only these.")]


@app.command("list")
@plainly
def list_(state: State = None, flow: OfFlow = None, limit: Limit = 20, as_json: Json = False) -> None:
    """List the syncs, newest first."""
    query = {"state": state, "flow": flow}
    look(lambda api: api.pages("syncs", "syncs", most=limit, query=query), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    made = table("sync", "age", "flow", "what", "state", "read", "rejected", "by", rest="reason")
    for one in answer["syncs"]:
        asked = one["id"], age(one["created_at"]), one["flow"], _what(one)
        add(made, *asked, one["state"], _sum(one, "read"), _sum(one, "rejected"), one["actor"], one["reason"])
    show_page(made, answer, "sync")


@app.command("show")
@plainly
def show_(sync: Id, as_json: Json = False) -> None:
    """Show how a sync was asked for, how far it is, and what became of its objects."""
    look(lambda api: api.get(f"syncs/{id_of(sync)}"), report, as_json=as_json)


@app.command()
@plainly
def watch(sync: Id, as_json: Json = False) -> None:
    """Follow a sync until nothing of what it read moves any more. Exit code 1 when something failed or is left."""
    with AdminApi.here() as api:
        see_through(api, api.get(f"syncs/{id_of(sync)}"), as_json=as_json)


@app.command()
@plainly
def pause(sync: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Read no more pages until it is resumed. What was read is still written."""
    change("syncs", sync, "pause", reason, sentence=sentence, as_json=as_json)


@app.command()
@plainly
def resume(sync: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Let one that is paused or has failed go on where it stands."""
    change("syncs", sync, "resume", reason, sentence=sentence, as_json=as_json)


@app.command()
@plainly
def cancel(sync: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Read no more pages, ever. What was read is still written."""
    change("syncs", sync, "cancel", reason, sentence=sentence, as_json=as_json)


# -- watching ----------------------------------------------------------------------------------------------------------


def see_through(api: AdminApi, sync: Answer, *, as_json: bool) -> None:
    """Follow it, say how it ended, end with its exit code."""
    ended = follow(
        api,
        f"syncs/{sync['id']}",
        sync,
        moves=lambda one: one["state"] == "running" or (one["state"] == "done" and not one["settled"]),
        at=lambda one: {"description": f"sync {one['id']}", "now": now(one)},
        left=f"the sync goes on; to watch it: mlc syncs watch {sync['id']}",
    )
    tell(ended) if as_json else report(ended)
    raise typer.Exit(exit_code(ended))


def exit_code(sync: Answer) -> int:
    """0 when it ended and nothing is left to do."""
    outcomes = sync["outcomes"]
    failed = _sum(sync, "rejected") or outcomes.get("dead_lettered") or outcomes.get("behind_letters")
    return 0 if sync["state"] == "done" and sync["settled"] and not failed else 1


# -- words -------------------------------------------------------------------------------------------------------------


def sentence(sync: Answer) -> str:
    """`sync 41c7d09ab2f5 is done: 1200 read, 1190 written, 10 dead-lettered`, and why it is not."""
    why = f" ({sync['why']})" if sync["why"] else ""
    return one_line(f"sync {sync['id']} is {sync['state']}{why}: {_counts(sync)}")


def now(sync: Answer) -> str:
    """What it is at: `person: 500 read, about 3m left`."""
    walk = next((one for one in sync["walks"] if one["state"] in ("running", "paused", "failed")), None)
    if walk is None:
        return one_line(_counts(sync))
    left = "" if sync["seconds_left"] is None else f", about {lasting(sync['seconds_left'])} left"
    return one_line(f"{walk['entity']}: {walk['read']} read{left}{_waits(walk)}")


def report(sync: Answer) -> None:
    """In full."""
    say(sentence(sync))
    show(_head(sync))
    made = table("entity", "state", "pages", "read", "rejected", "tokens", "per second", rest="waits")
    for one in sync["walks"]:
        rate = "" if one["rate_per_s"] is None else f"{one['rate_per_s']:.0f}"
        state = one["state"].replace("_", " ")
        waits = _waits(one).removeprefix(", ")
        add(made, one["entity"], state, one["pages"], one["read"], one["rejected"], one["tokens"], rate, waits)
    show(made)
    faults = [(count, one["entity"], text) for one in sync["walks"] for text, count in one["faults"].items()]
    for count, entity, text in sorted(faults, reverse=True)[:FAULTS]:
        say(f"{counted(count, entity)} rejected: {text}")
    if faults or sync["outcomes"].get("dead_lettered") or sync["outcomes"].get("behind_letters"):
        hint(f"what failed, and why: mlc dlq groups --flow {sync['flow']}")
    if sync["state"] in ("paused", "failed"):
        hint(f"to let it go on: mlc syncs resume {sync['id']}")


def _head(sync: Answer) -> Any:
    options = {
        f"within {sync['token_share'] * 100:g} % of the daily tokens": True,
        f"pauses after {sync['stop_after']} rejected objects": bool(sync["stop_after"]),
        "by force": sync["force"],
    }
    left = "" if sync["seconds_left"] is None else f"about {lasting(sync['seconds_left'])}: "
    return facts(
        [
            ("flow", sync["flow"]),
            ("what", _what(sync)),
            ("how", ", ".join(text for text, holds in options.items() if holds)),
            ("left", f"{left}{sync['rests_on']}" if sync["state"] == "running" else ""),
            *provenance(sync),
        ]
    )


def _what(sync: Answer) -> str:
    if sync["mode"] == "full":
        return "full"
    if sync["mode"] == "ids":
        return counted(len(sync["ids"]) + sum((sync.get("each") or {}).values()), "id")
    until = f" until {sync['until']}" if sync["until"] else ""
    return f"since {sync['since']}{until}"


def _waits(walk: Answer) -> str:
    if not walk["waits"]:
        return ""
    until = f" until {when(walk['waits_until'])}" if walk["waits_until"] else ""
    return f", waits{until}: {walk['waits']}"


def _counts(sync: Answer) -> str:
    counts = sorted(sync["outcomes"].items(), key=lambda one: -one[1])
    parts = [f"{count} {outcome.replace('_', '-')}" for outcome, count in counts if count]
    return ", ".join([f"{_sum(sync, 'read')} read", *parts])


def _sum(sync: Answer, member: str) -> int:
    return sum(one[member] for one in sync["walks"])
