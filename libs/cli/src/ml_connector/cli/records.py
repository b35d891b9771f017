"""`mlc record`: which records are meant, and what ever happened to one; `mlc token`, a way in on one's own machine."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ml_connector.cli.admin_api import PAGE, AdminApi, Answer, Refused, local_token, signing_key
from ml_connector.cli.looking import look
from ml_connector.cli.options import Json, Reason, takes
from ml_connector.cli.say import USAGE, fail, out, plainly
from ml_connector.cli.showing import (
    add,
    counted,
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
from ml_connector.cli.syncing import Start
from ml_connector.cli.syncing import refresh as start_refresh
from ml_connector.common.errors import BadInput

app = typer.Typer(help="Records: which are meant, and what happened to one.", no_args_is_help=True)

MOST: Final = 50  # objects of one answer; the service gives no more
INDENT: Final = 4  # columns by which what belongs to an entry is indented
_COLOURS: Final = {"written": "green", "dead_lettered": "red", "superseded": "yellow"}

Asked = Annotated[list[str], typer.Argument(help='A name, `org 5`, an external id, a cause: "Acme GmbH".')]


class Role(StrEnum):
    """Of a token."""

    viewer = "viewer"
    operator = "operator"
    admin = "admin"


@app.command("list")
@plainly
def list_(text: Asked, as_json: Json = False) -> None:
    """List the records that a name or an id may mean, the likeliest first, and how to call each."""
    look(lambda api: api.get("records", {"q": " ".join(text)}), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    subjects = answer["records"]
    calls = Counter(map(_call, subjects))
    made = table("record", "company", "NetSuite", "state", "open letters", "waiting", rest="name")
    for one in subjects:
        kept = one["records"]
        call = _call(one) if calls[_call(one)] == 1 or not kept else kept[0]["external_id"]
        letters, waiting = (sum(record[name] for record in kept) for name in ("open_letters", "waiting"))
        ids = _each(record["netsuite_id"] for record in kept)
        add(made, call, one["company"], ids, _each(map(_state, kept)), letters or "", waiting or "", one["name"])
    if subjects:
        show(made)
    more = "; there may be more: give more of the name" if len(subjects) >= MOST else ""
    hint(counted(len(subjects), "record") + more)
    tell_behind(answer)


@app.command("show")
@plainly
def show_(
    text: Asked,
    full: Annotated[bool, typer.Option("--full", help="With what was sent and what was answered, as JSON.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many entries at most.")] = 100,
    as_json: Json = False,
) -> None:
    """Show everything that ever happened to a record, found by a name, an id or a cause."""
    asked = " ".join(text)

    def ask(api: AdminApi) -> Answer:
        try:
            return _story(api, asked, limit)
        except Refused as error:
            if error.status == 404:
                raise BadInput(f"{error.problem}: `mlc record list` finds by the beginning of a name") from error
            if error.status != 409 or not error.details:
                raise
            raise _several(error, as_json=as_json) from error

    look(ask, lambda answer: _tell_story(answer, asked, limit, full=full), as_json=as_json)


def _tell_story(answer: Answer, asked: str, limit: int, *, full: bool) -> None:
    subject = answer.get("subject") or {}
    say(subject_line(subject) or asked)
    for record in subject.get("records") or []:
        say(record_line(record))
    for entry in answer["entries"]:
        out.print(headline(entry))
        for line in details(entry, full=full):
            for part in line.split("\n"):
                out.print(Text(" " * INDENT).append_text(part))
    count = len(answer["entries"])
    more = f"; there are older ones: --limit {2 * limit}" if answer.get("older") is not None else ""
    bodies = "" if full else "; with requests and answers: --full"
    hint(f"{count} {'entry' if count == 1 else 'entries'}{more}{bodies}")
    tell_behind(answer)


def _story(api: AdminApi, asked: str, most: int) -> Answer:
    """The newest entries, oldest first, page before page, as one answer."""
    answer = api.get("timeline", {"q": asked, "limit": min(most, PAGE)})
    while len(answer["entries"]) < most and answer.get("older") is not None:
        query = {"q": asked, "limit": min(most - len(answer["entries"]), PAGE), "before": answer["older"]}
        page = api.get("timeline", query)
        answer = {**answer, "entries": [*page["entries"], *answer["entries"]], "older": page.get("older")}
    return answer


@app.command()
@plainly
@takes(start=Start)
def refresh(
    text: Asked,
    start: Start,
    flow: Annotated[str | None, typer.Option(help="Where several flows keep the object.")] = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Read one object anew from Pipedrive and bring its NetSuite record up to it: a sync of its id.

    NetSuite is not read, so what was changed there is not seen: mlc reconcile FLOW --entity deal --ids 5 looks.
    """
    asked = " ".join(text)
    with AdminApi.here() as api:
        found = [one for one in api.get("records", {"q": asked})["records"] if one.get("source_id")]
    if len(found) != 1:
        what = f"{counted(len(found), 'object')} may be meant" if found else "no object is like this"
        raise fail(f"{what}: call it as `mlc record list` does, org 5 or pd-org-5", USAGE)
    start_refresh(found[0], flow, start, reason=reason, as_json=as_json)


@plainly
def token(
    role: Annotated[Role, typer.Option(help="What it allows.")],
    minutes: Annotated[int, typer.Option(min=1, max=24 * 60, help="How long it is valid.")] = 5,
) -> None:
    """Print a token for the admin service of a stack on this machine."""
    sys.stdout.write(local_token(signing_key(os.environ), role.value, minutes * 60) + "\n")


# -- words -------------------------------------------------------------------------------------------------------------


def _call(subject: Answer) -> str:
    """`org 5`; a cause that concerns no object is called by itself."""
    return object_of(subject) or str(subject.get("cause") or "")


def _state(record: Answer) -> str:
    return _words(record["outcome"].replace("_", "-"), "(stopped)" if record["stopped"] else "")


def _each(words: Iterable[str]) -> str:
    """Every one once."""
    return ", ".join(dict.fromkeys(filter(None, words)))


def subject_line(subject: Answer) -> str:
    """`org 5 "Acme GmbH", once "Acme", company acme-eu`."""
    earlier = ", ".join(_quoted(name) for name in subject.get("earlier_names") or [])
    parts = [
        _words(_call(subject), _quoted(subject.get("name"))),
        f"once {earlier}" if earlier else "",
        f"company {subject['company']}" if subject.get("company") else "",
    ]
    return one_line(", ".join(part for part in parts if part))


def record_line(record: Answer) -> str:
    """`1234567_sb1/customer/pd-org-5: in NetSuite as 44, written 2026-07-28 03:00:12Z, 2 waiting, flow acme-eu`."""
    outcome = str(record.get("outcome") or "").replace("_", "-")
    letters = record.get("open_letters") or 0
    parts = [
        f"in NetSuite as {record['netsuite_id']}" if record.get("netsuite_id") else "not known in NetSuite",
        _words(outcome, when(record.get("settled_at"))) if outcome else "",
        f"{record['waiting']} waiting" if record.get("waiting") else "",
        counted(letters, "open dead letter") if letters else "",
        f"flow {record['flow']}" if record.get("flow") else "",
        *(f"stopped: {why}" for why in record.get("stopped") or []),
    ]
    return one_line(f"{record.get('record_key')}: {', '.join(part for part in parts if part)}")


def headline(entry: Answer) -> Text:
    """Time, kind, what happened; in one line."""
    kind = str(entry.get("kind") or "")
    inner = entry.get("entry") or {}
    outcome = str(inner.get("outcome") or entry.get("state") or "")
    line = Text(f"{_when(entry.get('at'))}  ")
    line.append(f"{one_line(kind.replace('_', ' ')):<11}  ", style="bold")
    line.append(one_line(entry.get("title") or summary(entry)), style=_COLOURS.get(outcome, ""))
    return line


def summary(entry: Answer) -> str:
    """What an entry says, by its kind; of an unknown kind what it calls itself."""
    inner = entry.get("entry") or {}
    match entry.get("kind"):
        case "received":
            return _words(inner.get("action"), object_of(inner), _quoted(inner.get("name")), _of(inner))
        case "resolved":
            fields = ", ".join(map(str, inner.get("fields") or []))
            by = f"by mapping {inner['mapping_version']}" if inner.get("mapping_version") else ""
            return _because(_words(inner.get("action"), inner.get("record_key"), by), fields)
        case "outcome":
            outcome = str(inner.get("outcome") or "").replace("_", "-")
            at = f"at {inner['stage']}" if inner.get("stage") else ""
            number = f"as {inner['internal_id']}" if inner.get("internal_id") else ""
            winner = (inner.get("superseded_by") or {}).get("cause")
            return _because(_words(outcome, at, number, f"by {winner}" if winner else ""), inner.get("reason"))
        case "dead_letter":
            where = "/".join(str(part) for part in (inner.get("stage"), inner.get("code")) if part)
            field = f"field {inner['field']}" if inner.get("field") else ""
            return _because(_words(entry.get("id"), f"({entry.get('state')})", where, field), inner.get("message"))
        case "replay":
            dry = "(dry run)" if inner.get("dry_run") else ""
            state = _because(str(entry.get("state") or "").replace("_", "-"), inner.get("why"))
            words = _words(entry.get("id"), dry, "of", inner.get("letter"), "by", inner.get("actor"))
            return f"{_because(words, inner.get('reason'))} -> {state}"
        case "drift":
            fields = ", ".join(_changed(field) for field in inner.get("fields") or [])
            why = f"({', '.join(map(str, inner['causes']))})" if inner.get("causes") else ""
            state = str(entry.get("state") or "").replace("_", " ")
            return _because(_words("in NetSuite", inner.get("found"), why, "->", state), fields)
        case "act":
            return _because(_words(inner.get("act"), "by", inner.get("actor")), inner.get("reason"))
    return _words(entry.get("id"), entry.get("state"), *(inner.get(name) for name in ("outcome", "reason", "message")))


def details(entry: Answer, *, full: bool) -> Iterator[Text]:
    """What belongs to an entry, a line each: its cause, the attempts, with `full` the bodies."""
    inner = entry.get("entry") or {}
    cause = entry.get("cause") or inner.get("cause")
    replayed = f", a replay of {inner['replay_of']}" if inner.get("replay_of") else ""
    if cause:
        yield Text(one_line(f"cause {cause}{replayed}"), style="dim")
    if inner.get("held_back"):
        yield Text(one_line(f"held back: {', '.join(map(str, inner['held_back']))}"))
    for one in inner.get("tries") or []:
        yield Text(one_line(_attempt(one)))
    if inner.get("tries_left_out"):
        yield Text(f"{inner['tries_left_out']} more attempts between them are left out")
    for name in ("body", "request", "response") if full else ():
        if inner.get(name) not in (None, "", {}):
            yield Text(f"{name}:", style="bold")
            yield Text(pretty(inner[name]))


def _attempt(one: Answer) -> str:
    status = one.get("status") or "no answer"
    took = f"in {one['took_ms']} ms" if "took_ms" in one else ""
    text = ": ".join(str(part) for part in (one.get("code"), one.get("detail")) if part)
    return _words(_when(one.get("at_ms")), one.get("method"), one.get("path"), status, took, text)


def _several(error: Refused, *, as_json: bool) -> typer.Exit:
    """List the candidates; each is called by what finds it alone."""
    if as_json:
        tell({"problem": error.problem, "details": [{"path": one, "problem": text} for one, text in error.details]})
    else:
        for place, text in error.details:
            say(f"{place}  {text}".strip())
    first = error.details[0][0] or "org 5"
    return fail(f"{error.problem}; choose one, as: mlc record show {first}", USAGE)


def _when(value: Any) -> str:
    """Also of milliseconds since the epoch, as the audit has them."""
    if isinstance(value, int) and value > 0:
        return when(datetime.fromtimestamp(value / 1000, UTC).isoformat())
    return when(value)


def _of(inner: Answer) -> str:
    return f"verified by {inner['verified_by']}" if inner.get("verified_by") else ""


def _changed(field: Answer) -> str:
    return f"{field.get('field')} is {field.get('holds')!r}, should be {field.get('should')!r}"


def _quoted(name: Any) -> str:
    return f'"{name}"' if name else ""


def _because(words: str, reason: Any) -> str:
    return f"{words}: {reason}" if reason else words


def _words(*parts: Any) -> str:
    return " ".join(str(part) for part in parts if part not in (None, ""))
