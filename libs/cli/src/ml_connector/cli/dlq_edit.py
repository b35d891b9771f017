"""`mlc dlq edit`: a corrected copy of a dead letter's event, by paths, from a file, or in an editor.

Out: the copy, put beside the original, and what the mapping makes of it.
Never: writing anything to NetSuite, changing the original.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from ml_connector.cli.admin_api import AdminApi, Answer, Refused
from ml_connector.cli.options import Id, Json, Reason, id_of
from ml_connector.cli.say import fail, plainly
from ml_connector.cli.showing import facts, hint, one_line, pretty, show, tell
from ml_connector.common.errors import BadInput

CODE_CHARS: Final = 8  # of a custom field's code of 40; --json has it whole
NAMED: Final = 40  # members that are named when one does not exist


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
        if file is not None:
            found = _keep(api, path, read_event(file.read_bytes(), str(file)), reason)
        else:
            shown = api.get(path)
            before = shown["event"] if shown["edited"] is None else shown["edited"]
            found = (
                _keep(api, path, _with(before, set_, add=add_), reason) if set_ else _by_hand(api, path, before, reason)
            )
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
    """What the mapping makes of an event, and what each value is made from."""
    sources = found.get("sources", {})
    outcome = {
        "desired": f"{found['action']} of {found['record_key']}",
        "ignored": f"ignored: {found['reason']}",
        "dead_lettered": f"a dead letter: {found['reason']}",
        "unresolved": f"not known: {found['reason']}",
    }
    references = {name: f"{one['kind']} {one['value']}" for name, one in found["references"].items()}
    return facts(
        [
            ("becomes", outcome.get(found["result"], found["result"])),
            ("mapping", f"version {found['mapping_version']}" if found["mapping_version"] else ""),
            ("parent", found["parent"]),
            ("held back", ", ".join(found["held_back"])),
            *(
                (f"  {name}", _value(value) + (f" <- {_made_from(sources[name])}" if name in sources else ""))
                for name, value in {**found["fields"], **references}.items()
            ),
        ]
    )


def _made_from(source: Answer) -> str:
    """`custom["Region"] -> field "Region" (1a2b3c4d..., enum) -> option 12 = "EMEA"`"""
    return " -> ".join((source["expression"], *(_step(one) for one in source["steps"])))


def _step(one: Answer) -> str:
    name = json.dumps(one["name"], ensure_ascii=False)
    match one["kind"]:
        case "field":
            return (
                f"field {name} ({one['id'][:CODE_CHARS]}..., {one['type']})"
                if one["id"]
                else f"field {name}, which does not exist"
            )
        case "status":
            return f"status {one['id']}"
        case kind:
            return f"{kind} {one['id']}" + (f" = {name}" if one["name"] else ", which is not known")


def _value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def difference(before: object, after: object) -> list[Text]:
    """Line by line; the order of members is not part of it."""
    old, new = (pretty(one, sort_keys=True).splitlines() for one in (before, after))
    lines = list(difflib.unified_diff(old, new, n=2, lineterm=""))[2:]
    colours = {"+": "green", "-": "red", "@": "dim"}
    return [Text(line, style=colours.get(line[:1], "")) for line in lines] or [Text("(as the event)")]


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
            return _keep(api, path, read_event(text, "the event"), reason)
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


def read_event(text: str | bytes, name: str) -> Any:
    """Raises BadInput, which names the line."""
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
