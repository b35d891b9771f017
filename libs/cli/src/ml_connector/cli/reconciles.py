"""`mlc reconciles`: watch the reconciles of flows, see what they found, mend it."""

from __future__ import annotations

import itertools
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ml_connector.cli import following
from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.following import change
from ml_connector.cli.looking import Limit, OfFlow, look, show_page
from ml_connector.cli.options import Id, Json, Reason, id_of
from ml_connector.cli.reconcile_files import refuse_unwritable, results_of, write_csv, write_json, written_to
from ml_connector.cli.reconcile_words import lines_of, now, report, sentence
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import add, age, counted, hint, say, table, tell
from ml_connector.cli.syncing import Start, agreed, show_plan
from ml_connector.cli.syncs import see_through as see_sync_through
from ml_connector.common.sync_job import SyncJobState

app = typer.Typer(help="Reconciles of flows: NetSuite compared with Pipedrive.", no_args_is_help=True)

SHOWN: Final = 20  # records of a report in a terminal


class Format(StrEnum):
    """How a report is written."""

    text = "text"
    json = "json"
    csv = "csv"


class FoundKind(StrEnum):
    """What can be found."""

    missing = "missing"
    different = "different"
    inactive = "inactive"
    active = "active"
    extra = "extra"
    waiting = "waiting"
    unknown = "unknown"
    unmapped = "unmapped"


As = Annotated[Format, typer.Option("--format", help="How the report is written.")]
Output = Annotated[Path | None, typer.Option(help="Write the report into this new file.", metavar="FILE")]


@app.command("list")
@plainly
def list_(
    state: Annotated[SyncJobState | None, typer.Option(help="Only these.")] = None,
    flow: OfFlow = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List the reconciles, newest first."""
    query = {"state": state, "flow": flow}
    look(lambda api: api.pages("reconciles", "reconciles", most=limit, query=query), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    made = table("reconcile", "age", "flow", "what", "state", "read", "by", rest="reason")
    for one in answer["reconciles"]:
        what = counted(len(one["ids"]), "id") if one["mode"] == "ids" else "everything"
        read = sum(walk["read"] for walk in one["walks"])
        asked = one["id"], age(one["created_at"]), one["flow"], what
        add(made, *asked, one["state"], read, one["actor"], one["reason"])
    show_page(made, answer, "reconcile")


@app.command("show")
@plainly
def show_(reconcile: Id, as_json: Json = False) -> None:
    """Show how far a reconcile is, what it found, and the first records that are not as they should be."""
    with AdminApi.here() as api:
        answer = api.get(f"reconciles/{id_of(reconcile)}")
        if as_json:
            tell(answer)
        else:
            write(api, answer, Format.text, None)


@app.command()
@plainly
def results(
    reconcile: Id,
    found: Annotated[FoundKind | None, typer.Option(help="Only these.")] = None,
    as_: As = Format.text,
    output: Output = None,
) -> None:
    """Write every record that is not as it should be, with its fields, both values and causes."""
    refuse_unwritable(output)
    with AdminApi.here() as api:
        write(api, api.get(f"reconciles/{id_of(reconcile)}"), as_, output, found=found, shown=None)


@app.command()
@plainly
def watch(reconcile: Id, as_json: Json = False) -> None:
    """Follow a reconcile to its end. Exit code 1 when something is not as it should be."""
    with AdminApi.here() as api:
        ended = follow(api, api.get(f"reconciles/{id_of(reconcile)}"))
        if as_json:
            tell(ended)
        else:
            write(api, ended, Format.text, None)
    raise typer.Exit(exit_code(ended))


@app.command()
@plainly
def fix(
    reconcile: Id,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be re-issued.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start without being asked.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until nothing of it moves any more.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Re-issue exactly what a reconcile found and a sync can mend, after showing it. Once for each reconcile."""
    with AdminApi.here() as api:
        mend(api, id_of(reconcile), Start(dry_run, yes, follow), reason=reason, as_json=as_json)


@app.command()
@plainly
def pause(reconcile: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Read no more pages until it is resumed."""
    change("reconciles", reconcile, "pause", reason, sentence=sentence, as_json=as_json)


@app.command()
@plainly
def resume(reconcile: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Let one that is paused or has failed go on where it stands."""
    change("reconciles", reconcile, "resume", reason, sentence=sentence, as_json=as_json)


@app.command()
@plainly
def cancel(reconcile: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Read no more pages, ever. What was found so far stays."""
    change("reconciles", reconcile, "cancel", reason, sentence=sentence, as_json=as_json)


# -- following, writing, mending ---------------------------------------------------------------------------------------


def follow(api: AdminApi, reconcile: Answer) -> Answer:
    """Until it stands still. A service that is started again meanwhile is waited for."""
    return following.follow(
        api,
        f"reconciles/{reconcile['id']}",
        reconcile,
        moves=lambda one: one["state"] == "running",
        at=lambda one: {"description": f"reconcile {one['id']}", "now": now(one)},
        left=f"it goes on; to watch it: mlc reconciles watch {reconcile['id']}",
    )


def exit_code(reconcile: Answer) -> int:
    """0 when it is done and everything is as it should be."""
    return 0 if reconcile["clean"] else 1


def write(
    api: AdminApi,
    reconcile: Answer,
    as_: Format,
    output: Path | None,
    *,
    found: FoundKind | None = None,
    shown: int | None = SHOWN,
) -> None:
    """`shown`: how many records in words; None: all."""
    query: dict[str, Any] = {} if found is None else {"found": found.value}
    lines = results_of(api, reconcile["id"], query)
    if as_ is Format.text and output is None:
        some = list(itertools.islice(lines, shown))
        more = shown is not None and len(some) == shown and next(lines, None) is not None
        report(reconcile, some, more)
        return
    with written_to(output) as file:
        if as_ is Format.text:
            file.writelines(f"{line}\n" for line in (sentence(reconcile), *itertools.chain(*map(lines_of, lines))))
        elif as_ is Format.csv:
            write_csv(file, lines)
        else:
            write_json(file, reconcile, lines)
    if output is not None:
        hint(f"written to {output}")


def mend(api: AdminApi, job_id: str, start: Start, *, reason: str, as_json: bool = False) -> None:
    """Say what would be re-issued, ask, start it. Ends with exit code 0 when there is nothing to do."""
    planned = api.post(f"reconciles/{job_id}/fix", {"dry_run": True})
    if not as_json:
        _show_fix(planned)
    if start.dry_run or not planned["mends"]:
        if as_json:
            tell(planned)
        return
    if not start.yes:
        agreed()
    made = api.post(f"reconciles/{job_id}/fix", {"reason": reason})
    if start.follow:
        see_sync_through(api, api.get(f"syncs/{made['sync']}"), as_json=as_json)
    elif as_json:
        tell(made)
    else:
        say(f"sync {made['sync']} mends it; afterwards reconcile again")
        hint(f"to follow it: mlc syncs watch {made['sync']}")


def _show_fix(planned: Answer) -> None:
    mends = ", ".join(counted(count, entity) for entity, count in planned["mends"].items())
    say(f"to be re-issued, past what was last sent: {mends}" if mends else "there is nothing that a sync can mend")
    for left in planned["left"]:
        say(f"not by this: {counted(left['records'], 'record')} ({left['why'].replace('_', ' ')}): {left['helps']}")
    if planned["plan"] is not None:
        show_plan(planned["plan"])
