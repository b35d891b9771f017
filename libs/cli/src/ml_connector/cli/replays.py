"""`mlc replay`: watch the replays of dead letters, stop them, let them go on."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.following import change, follow, provenance
from ml_connector.cli.looking import Limit, look, show_page
from ml_connector.cli.options import Id, Json, Reason, id_of
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import add, age, counted, facts, hint, one_line, say, show, table, tell
from ml_connector.common.wire import JobState

app = typer.Typer(help="Replays of dead letters.", no_args_is_help=True)

LISTED: Final = 20  # records that failed are named; the rest is counted

UNDER_WAY: Final = frozenset({"waiting", "issued"})
FINE: Final = frozenset(
    {"written", "superseded", "ignored", "would_be_written", "would_be_superseded", "would_be_ignored"}
)
FAILED: Final = ("dead_lettered", "skipped", "would_fail", "unresolved")

State = Annotated[JobState | None, typer.Option(help="Only these.")]


@app.command("list")
@plainly
def list_(state: State = None, limit: Limit = 20, as_json: Json = False) -> None:
    """List the replays, newest first."""
    look(lambda api: api.pages("replays", "replays", most=limit, query={"state": state}), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    made = table("replay", "age", "state", "done", "failed", "by", rest="reason")
    for one in answer["replays"]:
        state_text = f"{one['state']} (dry run)" if one.get("dry_run") else one["state"]
        add(made, one["id"], age(one["created_at"]), state_text, _done(one), _failed(one), one["actor"], one["reason"])
    show_page(made, answer, "replay")


@app.command("show")
@plainly
def show_(replay: Id, as_json: Json = False) -> None:
    """Show how a replay was asked for and how far it is."""
    look(lambda api: api.get(f"replays/{id_of(replay)}"), lambda answer: show(_head(answer)), as_json=as_json)


@app.command()
@plainly
def items(
    replay: Id,
    state: Annotated[str | None, typer.Option(help="Only these, as dead_lettered or would_be_written.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List what became of each record, in the order of the replay."""
    path = f"replays/{id_of(replay)}/items"
    query = {"state": state}
    look(lambda api: api.pages(path, "items", most=limit, query=query, step="after"), _list_items, as_json=as_json)


def _list_items(answer: Answer) -> None:
    made = table("number", "dead letter", "record", "state", rest="why")
    for one in answer["items"]:
        add(made, one["number"], one["letter"], one["record_key"], one["state"], one["why"] or would_be(one))
    show_page(made, answer, "record")


@app.command()
@plainly
def watch(replay: Id, as_json: Json = False) -> None:
    """Follow a replay until it stands still. Exit code 1 when not everything was written or superseded."""
    with AdminApi.here() as api:
        see_through(api, api.get(f"replays/{id_of(replay)}"), as_json=as_json)


@app.command()
@plainly
def start(replay: Id, reason: Reason, as_json: Json = False) -> None:
    """Start a draft, or let a paused replay go on."""
    _change(replay, "start", reason, as_json=as_json)


@app.command()
@plainly
def pause(replay: Id, reason: Reason, as_json: Json = False) -> None:
    """Issue no more of its records until it is started again. What was issued is still written."""
    _change(replay, "pause", reason, as_json=as_json)


@app.command()
@plainly
def cancel(replay: Id, reason: Reason, as_json: Json = False) -> None:
    """Issue no more of its records, ever. What was issued is still written."""
    _change(replay, "cancel", reason, as_json=as_json)


def _change(replay: str, what: Literal["start", "pause", "cancel"], reason: str, *, as_json: bool) -> None:
    answer = change("replays", replay, what, reason, sentence=sentence, as_json=as_json)
    if answer["state"] == "running" and not as_json:
        hint(f"to follow it: mlc replay watch {answer['id']}")


# -- watching ----------------------------------------------------------------------------------------------------------


def see_through(api: AdminApi, replay: Answer, *, as_json: bool) -> None:
    """Follow it, say how it ended, end with its exit code."""
    if replay["state"] == "running":
        hint(f"replay {replay['id']} of {counted(replay['total'], 'record')} is running")
    ended = follow(
        api,
        f"replays/{replay['id']}",
        replay,
        moves=lambda one: bool(one["state"] == "running"),
        at=_at,
        bar=(BarColumn(), MofNCompleteColumn()),
        left=f"the replay goes on; to watch it: mlc replay watch {replay['id']}",
    )
    tell(ended) if as_json else _report(api, ended)
    raise typer.Exit(exit_code(ended))


def _at(replay: Answer) -> dict[str, Any]:
    described = {"description": f"replay {replay['id']}", "now": _counts(replay)}
    return {**described, "total": replay["total"], "completed": _ended(replay)}


def exit_code(replay: Answer) -> int:
    """0 when it ended and nothing is left to do."""
    states = {state for state, count in replay["items"].items() if count}
    return 0 if replay["state"] == "done" and states <= FINE else 1


def sentence(replay: Answer) -> str:
    """`replay 9d2f77a01c3e is done: 40 written, 2 skipped`, and why it is not."""
    why = f" ({replay['why']})" if replay.get("why") else ""
    dry = "dry run" if replay.get("dry_run") else "replay"
    return one_line(f"{dry} {replay['id']} is {_state(replay)}{why}: {_counts(replay) or 'no records'}")


def would_be(item: Answer) -> str:
    """What a dry run found."""
    found = item.get("found") or {}
    if found.get("result") != "desired":
        return str(found.get("reason") or "")
    fields = ", ".join(found.get("fields") or {})
    return f"{found.get('action')} {fields}".strip()


def _state(replay: Answer) -> str:
    return "a draft" if replay["state"] == "draft" else str(replay["state"])


def _report(api: AdminApi, replay: Answer) -> None:
    say(sentence(replay))
    failed = {state: replay["items"].get(state, 0) for state in FAILED}
    found: list[Answer] = []
    for state in (state for state, count in failed.items() if count):
        left = LISTED - len(found)
        if left > 0:
            found += api.get(f"replays/{replay['id']}/items", {"state": state, "limit": left})["items"]
    if found:
        made = table("dead letter", "record", "state", rest="why")
        made.columns[-1].no_wrap = False  # the reason is what is looked for
        for item in found:
            add(made, item["letter"], item["record_key"], item["state"], _why(item))
        show(made)
    if sum(failed.values()) > len(found):
        hint(f"{sum(failed.values()) - len(found)} more: mlc replay items {replay['id']} --state <state>")
    if replay["state"] in ("paused", "draft"):
        hint(f"to let it go on: mlc replay start {replay['id']} --reason TEXT")


def _why(item: Answer) -> str:
    now = f"now {item['failed_as']}: " if item.get("failed_as") else ""
    return f"{now}{item['why'] or would_be(item)}"


# -- words -------------------------------------------------------------------------------------------------------------


def _head(replay: Answer) -> Any:
    options = {
        "dry run": replay["dry_run"],
        "with the original mapping": replay["mapping"] == "original",
        f"{replay['rate_per_s']} per second": replay["rate_per_s"] is not None,
        f"stops after {replay['stop_after']} dead letters": replay["stop_after"] is not None,
        "by force": replay["force"],
    }
    return facts(
        [
            ("replay", replay["id"]),
            ("state", f"{replay['state']}: {replay['why']}" if replay["why"] else replay["state"]),
            ("done", f"{_done(replay)} ({replay['issued']} had their turn)"),
            ("records", _counts(replay)),
            *provenance(replay),
            ("how", ", ".join(text for text, holds in options.items() if holds)),
            ("selection", _selection(replay["selection"])),
        ]
    )


def _selection(selection: Answer) -> str:
    if "ids" in selection:
        ids = selection["ids"]
        return f"{', '.join(ids[:5])}{f' and {len(ids) - 5} more' if len(ids) > 5 else ''}"
    wanted = selection.get("filter") or selection
    return ", ".join(f"{name} {value}" for name, value in wanted.items()) or "all"


def _counts(replay: Answer) -> str:
    """The most first."""
    counts = sorted(replay["items"].items(), key=lambda one: -one[1])
    return ", ".join(f"{count} {state.replace('_', '-')}" for state, count in counts if count)


def _ended(replay: Answer) -> int:
    return sum(count for state, count in replay["items"].items() if state not in UNDER_WAY)


def _done(replay: Answer) -> str:
    return f"{_ended(replay)}/{replay['total']}"


def _failed(replay: Answer) -> int:
    return sum(replay["items"].get(state, 0) for state in FAILED)
