"""`mlc dlq`: dead letters, from what failed to having it written: list, group, show, edit a copy, discard, replay."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ml_connector.cli import replays
from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.dlq_edit import difference, edit
from ml_connector.cli.looking import Limit, look
from ml_connector.cli.options import Id, Json, Reason, id_of, moment, now, takes
from ml_connector.cli.say import fail, out, plainly
from ml_connector.cli.showing import (
    add,
    age,
    counted,
    facts,
    hint,
    object_of,
    one_line,
    pretty,
    say,
    show,
    table,
    tell,
    tell_behind,
    when,
)
from ml_connector.common.errors import BadInput
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Mapping, Stage

app = typer.Typer(help="Dead letters: what failed, why, and doing it again.", no_args_is_help=True)

WIDE: Final = 150  # columns in which three JSON documents can be read side by side
GROUPS: Final = 500  # of one answer; the service gives no more

Ids = Annotated[list[str] | None, typer.Argument(help="Dead letters by their ids.", metavar="[ID]...")]


class State(StrEnum):
    """Of dead letters."""

    open = "open"
    resolved = "resolved"
    discarded = "discarded"
    all = "all"


@dataclass(frozen=True)
class Which:
    """The options that choose dead letters, named as in the service; all that are given must hold."""

    state: Annotated[State | None, typer.Option(help="Open ones, unless another state is given.")] = None
    flow: Annotated[str | None, typer.Option(help="Of this flow.")] = None
    account: Annotated[str | None, typer.Option(help="Of this NetSuite account, as 1234567_SB1.")] = None
    entity: Annotated[Entity | None, typer.Option(help="Of these Pipedrive objects.")] = None
    stage: Annotated[Stage | None, typer.Option(help="Which step failed.")] = None
    code: Annotated[str | None, typer.Option(help="With this error code.")] = None
    group: Annotated[str | None, typer.Option(help="Of this group of `mlc dlq groups`.")] = None
    failed_from: Annotated[
        str | None,
        typer.Option("--since", help="Failed since: 2h (ago), or an ISO 8601 time."),
    ] = None
    failed_until: Annotated[str | None, typer.Option("--until", help="Failed before: likewise.")] = None

    def conditions(self) -> dict[str, Any]:
        """Only those that are given. Raises BadInput."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return given | {name: moment(given[name], now()) for name in ("failed_from", "failed_until") if name in given}

    def selection(self, ids: list[str] | None) -> dict[str, Any]:
        """The dead letters of an act. Raises BadInput unless they are named one way."""
        wanted = self.conditions()
        if ids:
            if wanted:
                raise BadInput("give ids, or --group and filters; not both")
            return {"ids": list(dict.fromkeys(map(id_of, ids)))}
        if not wanted:
            raise BadInput("say which: ids, --group, or filters (`--state open` are all open ones)")
        if set(wanted) == {"group"}:
            return wanted
        return {"filter": wanted}


@dataclass(frozen=True)
class How:
    """The options of a replay, named as in the service."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")] = False
    mapping: Annotated[Mapping, typer.Option(help="Today's, or the version that it was mapped with.")] = "today"
    rate_per_s: Annotated[
        float | None, typer.Option("--rate", min=0.001, help="Records per second (default: as it goes).")
    ] = None
    stop_after: Annotated[int | None, typer.Option(min=1, help="Pause after so many dead letters.")] = None
    force: Annotated[bool, typer.Option("--force", help="Also what failed the same way again and again.")] = False
    draft: Annotated[bool, typer.Option("--draft", help="Do not start it yet.")] = False


# -- looking -----------------------------------------------------------------------------------------------------------


@app.command("list")
@plainly
@takes(which=Which)
def list_(which: Which, limit: Limit = 50, as_json: Json = False) -> None:
    """List dead letters, the newest failure first."""
    look(
        lambda api: api.pages("dead-letters", "letters", most=limit, query=which.conditions()),
        lambda answer: _list(answer, which.state, limit),
        as_json=as_json,
    )


def _list(answer: Answer, of: State | None, limit: int) -> None:
    letters = answer["letters"]
    made = table("dead letter", "age", "record", "waiting", "stage/code", rest="message")
    for one in letters:
        why = f"{one['stage']}/{one['code']}" + (f" ({one['state']})" if one["state"] != "open" else "")
        add(made, one["id"], age(one["failed_at"]), object_of(one), one["waiting_behind"] or "", why, one["message"])
    if letters:
        show(made)
    more = f"; there are more: --limit {2 * limit}, or filters" if answer["next"] is not None else ""
    state = "" if of is State.all else f"{of or 'open'} "
    hint(counted(len(letters), f"{state}dead letter") + more)
    tell_behind(answer)


@app.command()
@plainly
@takes(which=Which)
def groups(
    which: Which,
    limit: Annotated[int, typer.Option(min=1, max=GROUPS, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Group dead letters by what failed and how: what one and the same act would mend."""
    query = {**which.conditions(), "limit": GROUPS}
    if which.state is None:  # all are counted, shown are those where something is left to do
        query["state"] = State.all.value

    def report(answer: Answer) -> None:
        found = [one for one in answer["groups"] if which.state is not None or one["open"]]
        found.sort(key=lambda one: -one["open"])
        _show_groups(found[:limit])
        more = f" of {len(found)}: --limit {len(found)}" if len(found) > limit else ""
        hint(counted(min(limit, len(found)), "group") + more)
        tell_behind(answer)

    look(lambda api: api.get("dead-letters/groups", query), report, as_json=as_json)


@app.command("show")
@plainly
def show_(letter: Id, as_json: Json = False) -> None:
    """Show a dead letter: why it failed, the event, the record as it was sent, NetSuite's answer."""
    look(lambda api: api.get(f"dead-letters/{id_of(letter)}"), _report, as_json=as_json)


def _report(answer: Answer) -> None:
    show(_head(answer))
    _show_documents(answer)
    if answer["edited"] is not None:
        say("")
        say("edited copy, which a replay takes instead of the event:")
        for line in difference(answer["event"], answer["edited"]):
            out.print(line)
    if answer["replays"]:
        say("")
        made = table("replay", "state", rest="why")
        for one in answer["replays"]:
            add(made, one["replay"], one["state"], one["why"])
        show(made)
    tell_behind(answer)


app.command("edit")(edit)


def _show_groups(found: list[Answer]) -> None:
    if not found:
        return
    rows = [("group", "open/total", "records", "waiting", "stage/code", "field")]
    for one in found:
        counts = f"{one['open']}/{one['letters']}", str(one["records"]), str(one["waiting_behind"] or "")
        rows.append((one["group"], *counts, f"{one['stage']}/{one['code']}", one["field"]))
    sizes = [max(len(one_line(row[column])) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [f"{one_line(cell):<{size}}" for cell, size in zip(row, sizes, strict=True)]
        out.print(Text("  ".join(cells).rstrip(), style="" if number else "bold"))
        if number:
            one = found[number - 1]
            message = Text(one_line(one["message"]), no_wrap=True, overflow="ellipsis")
            show(Padding(message, (0, 0, 0, 2), expand=False))
            if one["suggested_fix"]:
                show(Padding(Text(f"fix: {one_line(one['suggested_fix'])}", style="green"), (0, 0, 0, 2), expand=False))


def _head(one: Answer) -> Any:
    state = one["state"]
    if state == "resolved":
        state += f" {when(one['resolved_at'])}: a newer state was {one['resolution']} ({one['resolved_by']})"
    if one["discarded_because"]:
        state += f": {one['discarded_because']}"
    times = f"{one['attempts']} times since {when(one['first_failed_at'])}" if one["attempts"] > 1 else "once"
    return facts(
        [
            ("dead letter", one["id"]),
            ("state", state),
            ("object", f"{object_of(one)} of flow {one['flow']}, account {one['account']}"),
            ("record", one["record_key"]),
            ("failed at", f"{one['stage']}/{one['code']}{', field ' + one['field'] if one['field'] else ''}"),
            ("message", one["message"]),
            ("suggested fix", one["suggested_fix"]),
            ("failed", f"{when(one['failed_at'])} ({age(one['failed_at'])} ago), {times}"),
            ("kept until", when(one["expires_at"])),
            ("group", one["group"]),
            ("waiting behind", counted(one["waiting_behind"], "record") if one["waiting_behind"] else "nothing"),
            ("cause", one["cause"]),
            ("replay of", one["replay_of"]),
            ("trace", one["trace"]),
            ("event at", one["event_at"]),
            ("mapping", f"version {one['mapping_version']}" if one["mapping_version"] else ""),
        ]
    )


def _show_documents(one: Answer) -> None:
    """Event, record and answer, side by side where there is room."""
    parts = [
        ("event", one["event"], "(gone: it has left its topic)"),
        ("record sent", one["request"], "(nothing was sent)"),
        ("NetSuite's answer", one["response"], "(no answer)"),
    ]
    texts = [(title, _document(value) if value is not None else Text(instead)) for title, value, instead in parts]
    if out.is_terminal and out.width >= WIDE:
        side_by_side = Table.grid(expand=True)
        for _ in texts:
            side_by_side.add_column(ratio=1, overflow="fold")
        side_by_side.add_row(*(Panel(text, title=title, title_align="left") for title, text in texts))
        show(side_by_side)
        return
    for title, text in texts:
        say("")
        out.print(Text(f"{title}:", style="bold"))
        out.print(text)


def _document(value: object) -> Text:
    text = Text(pretty(value), overflow="fold")
    if not isinstance(value, str):
        JSONHighlighter().highlight(text)
    return text


# -- acting ------------------------------------------------------------------------------------------------------------


@app.command()
@plainly
@takes(which=Which)
def discard(
    which: Which,
    reason: Reason,
    ids: Ids = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Say of open dead letters that nothing shall be done about them."""
    if which.state not in (None, State.open):
        raise BadInput("only open dead letters can be discarded")
    selection = which.selection(ids)
    with AdminApi.here() as api:
        if not yes:
            _ask(_how_many(api, selection))
        answer = api.post("dead-letters/discard", {"selection": selection, "reason": reason})
    if as_json:
        tell(answer)
    else:
        say(f"{counted(answer['discarded'], 'dead letter')} discarded")


@app.command()
@plainly
@takes(which=Which, how=How)
def replay(
    which: Which,
    how: How,
    reason: Reason,
    ids: Ids = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not watch it to its end.")] = False,
    as_json: Json = False,
) -> None:
    """Issue dead letters again, oldest first per record, and watch what becomes of them.

    Exit code 0 when everything was written or superseded, 1 when something failed again or was skipped.
    """
    with AdminApi.here() as api:
        made = api.post("replays", {"selection": which.selection(ids), "reason": reason, **asdict(how)})
        if not (no_wait or how.draft):
            replays.see_through(api, made, as_json=as_json)
    if as_json:
        tell(made)
        return
    say(f"replay {made['id']} of {counted(made['total'], 'record')} is {'a draft' if how.draft else 'running'}")
    todo = f"start {made['id']} --reason TEXT" if how.draft else f"watch {made['id']}"
    hint(f"go on with: mlc replay {todo}")


def _how_many(api: AdminApi, selection: dict[str, Any]) -> str:
    if "ids" in selection:
        return str(len(selection["ids"]))
    wanted = selection.get("filter", selection)
    found = api.get("dead-letters/groups", {**wanted, "state": State.open.value, "limit": GROUPS})["groups"]
    count = sum(one["open"] for one in found)
    if not count:
        raise BadInput("no open dead letter is like this")
    return f"{'more than ' if len(found) == GROUPS else ''}{count}"


def _ask(count: str) -> None:
    try:
        agreed = typer.confirm(f"discard {count} dead letters?", err=True)
    except typer.Abort:
        raise fail("nothing was discarded: nobody answered (--yes does not ask)") from None
    if not agreed:
        raise fail("nothing was discarded")
