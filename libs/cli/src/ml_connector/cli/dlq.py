"""`mlc dlq`: dead letters, from what failed to having it written: list, group, show, edit a copy, discard, replay."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ml_connector.cli import replays
from ml_connector.cli.admin_api import (
    AdminApi,
    Answer,
    Id,
    Json,
    Reason,
    Refused,
    add,
    age,
    clean,
    counted,
    facts,
    hint,
    id_of,
    moment,
    object_of,
    one_line,
    pretty,
    say,
    show,
    table,
    takes,
    tell,
    tell_behind,
    when,
)
from ml_connector.cli.say import fail, out, plainly
from ml_connector.common.clock import SystemClock
from ml_connector.common.errors import BadInput
from ml_connector.common.keys import Entity
from ml_connector.common.wire import Mapping, Stage

app = typer.Typer(help="Dead letters: what failed, why, and doing it again.", no_args_is_help=True)

WIDE: Final = 150  # columns in which three JSON documents can be read side by side
NAMED: Final = 40  # members that are named when one does not exist
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
    """The options that choose dead letters; all that are given must hold."""

    state: Annotated[State | None, typer.Option(help="Open ones, unless another state is given.")] = None
    flow: Annotated[str | None, typer.Option(help="Of this flow.")] = None
    account: Annotated[str | None, typer.Option(help="Of this NetSuite account, as 1234567_SB1.")] = None
    entity: Annotated[Entity | None, typer.Option(help="Of these Pipedrive objects.")] = None
    stage: Annotated[Stage | None, typer.Option(help="Which step failed.")] = None
    code: Annotated[str | None, typer.Option(help="With this error code.")] = None
    group: Annotated[str | None, typer.Option(help="Of this group of `mlc dlq groups`.")] = None
    since: Annotated[str | None, typer.Option(help="Failed since: 2h (ago), or an ISO 8601 time.")] = None
    until: Annotated[str | None, typer.Option(help="Failed before: likewise.")] = None

    def conditions(self) -> dict[str, Any]:
        """As the service calls them; only those that are given. Raises BadInput."""
        now = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)
        found = {
            "state": self.state.value if self.state is not None else None,
            "flow": self.flow,
            "account": self.account,
            "entity": self.entity,
            "stage": self.stage,
            "code": self.code,
            "group": self.group,
            "failed_from": moment(self.since, now) if self.since is not None else None,
            "failed_until": moment(self.until, now) if self.until is not None else None,
        }
        return {name: value for name, value in found.items() if value is not None}

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
    """The options of a replay."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what would be written.")] = False
    mapping: Annotated[Mapping, typer.Option(help="Today's, or the version that it was mapped with.")] = "today"
    rate: Annotated[float | None, typer.Option(min=0.001, help="Records per second (default: as it goes).")] = None
    stop_after: Annotated[int | None, typer.Option(min=1, help="Pause after so many dead letters.")] = None
    force: Annotated[bool, typer.Option("--force", help="Also what failed the same way again and again.")] = False
    draft: Annotated[bool, typer.Option("--draft", help="Do not start it yet.")] = False

    def body(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "mapping": self.mapping,
            "rate_per_s": self.rate,
            "stop_after": self.stop_after,
            "force": self.force,
            "draft": self.draft,
        }


# -- looking -----------------------------------------------------------------------------------------------------------


@app.command("list")
@plainly
@takes(which=Which)
def list_(
    which: Which,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest failure first."""
    with AdminApi.here() as api:
        answer = api.pages("dead-letters", "letters", most=limit, query=which.conditions())
    if as_json:
        tell(answer)
        return
    letters = answer["letters"]
    made = table("dead letter", "age", "record", "waiting", "stage/code", rest="message")
    for one in letters:
        why = f"{one['stage']}/{one['code']}" + (f" ({one['state']})" if one["state"] != "open" else "")
        add(made, one["id"], age(one["failed_at"]), object_of(one), one["waiting_behind"] or "", why, one["message"])
    if letters:
        show(made)
    more = f"; there are more: --limit {2 * limit}, or filters" if answer["next"] is not None else ""
    state = "" if which.state is State.all else f"{which.state or 'open'} "
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
    with AdminApi.here() as api:
        answer = api.get("dead-letters/groups", query)
    if as_json:
        tell(answer)
        return
    found = [one for one in answer["groups"] if which.state is not None or one["open"]]
    found.sort(key=lambda one: -one["open"])
    _show_groups(found[:limit])
    more = f" of {len(found)}: --limit {len(found)}" if len(found) > limit else ""
    hint(counted(min(limit, len(found)), "group") + more)
    tell_behind(answer)


@app.command("show")
@plainly
def show_(letter: Id, as_json: Json = False) -> None:
    """Show a dead letter: why it failed, the event, the record as it was sent, NetSuite's answer."""
    with AdminApi.here() as api:
        answer = api.get(f"dead-letters/{id_of(letter)}")
    if as_json:
        tell(answer)
        return
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


def difference(before: object, after: object) -> list[Text]:
    """Line by line; the order of members is not part of it."""
    old, new = (_sorted(one).splitlines() for one in (before, after))
    lines = list(difflib.unified_diff(old, new, n=2, lineterm=""))[2:]
    colours = {"+": "green", "-": "red", "@": "dim"}
    return [Text(line, style=colours.get(line[:1], "")) for line in lines] or [Text("(as the event)")]


def _sorted(value: object) -> str:
    return (
        pretty(value)
        if isinstance(value, str)
        else clean(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))
    )


def _show_groups(found: list[Answer]) -> None:
    rows = [("group", "open/total", "records", "waiting", "stage/code", "field")]
    for one in found:
        counts = f"{one['open']}/{one['letters']}", str(one["records"]), str(one["waiting_behind"] or "")
        rows.append((one["group"], *counts, f"{one['stage']}/{one['code']}", one["field"]))
    if not found:
        return
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


# -- editing -----------------------------------------------------------------------------------------------------------


@app.command()
@plainly
def edit(
    letter: Id,
    reason: Reason,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help='A path and a value in JSON, else text: data.name="Acme". Repeatable.'),
    ] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The whole event, as JSON.")] = None,
    add_: Annotated[bool, typer.Option("--add", help="--set may add members.")] = False,
    as_json: Json = False,
) -> None:
    """Keep a corrected copy of a dead letter's event, which replays take from now on. The original stays as it is.

    With neither --set nor --file it is opened in $EDITOR. Says what the mapping makes of the copy.
    """
    if set_ and file is not None:
        raise BadInput("give --set or --file, not both")
    path = f"dead-letters/{id_of(letter)}"
    with AdminApi.here() as api:
        if set_ or file is None:
            shown = api.get(path)
            before = shown["event"] if shown["edited"] is None else shown["edited"]
        if file is not None:
            found = _keep(api, path, _event(file.read_bytes(), str(file)), reason)
        elif set_:
            found = _keep(api, path, _with(before, set_, add=add_), reason)
        else:
            found = _by_hand(api, path, before, reason)
    if as_json:
        tell(found)
    else:
        show(preview(found))
        hint(f"to replay it: mlc dlq replay {id_of(letter)} --reason TEXT")


def put_at(event: Any, path: str, value: object, *, add: bool) -> None:
    """Change one member. `path`: names and the numbers of list entries, with dots between. Raises BadInput."""
    *way, last = path.split(".")
    place = event
    so_far: list[str] = []
    for name in way:
        if add and isinstance(place, dict):
            place.setdefault(name, {})
        _must_have(place, name, path, so_far)
        place = place[int(name)] if isinstance(place, list) else place[name]
        so_far.append(name)
    if add and isinstance(place, list) and last == str(len(place)):
        place.append(value)
        return
    if not (add and isinstance(place, dict)):
        _must_have(place, last, path, so_far)
    place[int(last) if isinstance(place, list) else last] = value


def _must_have(place: object, name: str, path: str, so_far: list[str]) -> None:
    members = list(place) if isinstance(place, dict) else []
    if isinstance(place, list):
        members = [str(number) for number in range(len(place))]
    if name in members:
        return
    where = ".".join(so_far) or "the event"
    there = (
        f"has {', '.join(members[:NAMED])}{', ...' if len(members) > NAMED else ''}" if members else "has no members"
    )
    raise BadInput(one_line(f"--set {path}: there is no {name}: {where} {there} (--add adds it)"))


def preview(found: Answer) -> Table:
    """What the mapping makes of an event."""
    outcome = {
        "desired": f"{found['action']} of {found['record_key']}",
        "ignored": f"ignored: {found['reason']}",
        "dead_lettered": f"fails again: {found['reason']}",
        "unresolved": f"not known: {found['reason']}",
    }
    references = {name: f"{one['kind']} {one['value']}" for name, one in found["references"].items()}
    return facts(
        [
            ("becomes", outcome.get(found["result"], found["result"])),
            ("mapping", f"version {found['mapping_version']}" if found["mapping_version"] else ""),
            ("parent", found["parent"]),
            ("held back", ", ".join(found["held_back"])),
            *((f"  {name}", _value(value)) for name, value in {**found["fields"], **references}.items()),
        ]
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _with(event: Any, changes: list[str], *, add: bool) -> Any:
    """The event with `path=value` applied. Raises BadInput."""
    if not isinstance(event, dict):
        raise BadInput("the event is no JSON object: give the whole of it with --file")
    for change in changes:
        path, is_given, text = change.partition("=")
        if not is_given or not path:
            raise BadInput(f"--set {one_line(change)}: write <path>=<value>, as data.name=Acme")
        try:
            value = json.loads(text, parse_constant=_no_number)
        except ValueError:
            value = text
        put_at(event, path, value, add=add)
    return event


def _keep(api: AdminApi, path: str, event: Any, reason: str) -> Answer:
    return api.put(f"{path}/edited", {"event": event, "reason": reason})


def _by_hand(api: AdminApi, path: str, before: Any, reason: str) -> Answer:
    """In the editor; again when it is not taken, so that no typing is lost."""
    if not sys.stdin.isatty():
        raise BadInput("there is no terminal to edit in: give --set or --file")
    if before is None:
        raise BadInput("the event has left its topic: give the whole of it with --file")
    first = text = before if isinstance(before, str) else json.dumps(before, indent=2, ensure_ascii=False)
    while True:
        text = _edited(text)
        if text.strip() == first.strip():
            raise fail("nothing was changed, so nothing is kept")
        try:
            return _keep(api, path, _event(text, "the event"), reason)
        except BadInput as error:
            if isinstance(error, Refused) and error.status != 422:
                raise
            hint(f"not taken: {error}")
            if not typer.confirm("edit it again?", default=True, err=True):
                raise fail("nothing is kept") from error


def _edited(text: str) -> str:
    """By the editor of the user; readable by nobody else, and gone after it."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="mlc-") as folder:
        file = Path(folder) / "event.json"
        file.write_text(text)
        try:
            code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
        except OSError as error:
            raise fail(f"the editor {editor} cannot be started: set EDITOR") from error
        if code != 0:
            raise fail(f"the editor {editor} ended with exit code {code}: nothing is kept")
        return file.read_text()


def _event(text: str | bytes, name: str) -> Any:
    try:
        event = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadInput(f"{name} is not JSON{place}") from error
    if not isinstance(event, dict):
        raise BadInput(f"{name} is no JSON object")
    return event


def _no_number(text: str) -> Any:
    """NaN and the like are Python's, not JSON's."""
    raise ValueError(text)


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
        made = api.post("replays", {"selection": which.selection(ids), "reason": reason, **how.body()})
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
