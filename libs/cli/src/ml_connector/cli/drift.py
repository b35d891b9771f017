"""`mlc netsuite poll` and `mlc drift`: ask NetSuite what was changed there; see what was, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.following import INTERRUPTED, change, until_still
from ml_connector.cli.looking import Limit, OfFlow, look, show_page
from ml_connector.cli.options import Id, Json, Reason, flow_name, moment, now
from ml_connector.cli.say import fail, plainly
from ml_connector.cli.showing import add, age, counted, hint, one_line, say, show, table, tell, tell_behind, when
from ml_connector.cli.syncing import EntityName

app = typer.Typer(help="What was changed in NetSuite itself.", no_args_is_help=True)

MOST_CHARS: Final = 40  # of a value
Flow = Annotated[str, typer.Argument(help="A flow's name.", metavar="FLOW")]
Entities = Annotated[list[EntityName] | None, typer.Option("--entity", help="Only this one. Repeatable.")]


@plainly
def poll(
    flow: Flow,
    since: Annotated[
        str, typer.Option(help="All that changed since then is compared again: 2h, 2026-07-28T03:00.")
    ] = "",
    entities: Entities = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Ask NetSuite what was changed there, and compare that with Pipedrive. Without --since: since the last poll began.

    Exit code 0: nothing differs, or it was asserted again; 1: something differs, or the poll failed.
    """
    body = {
        "flow": flow_name(flow),
        "since": moment(since, now()) if since else "",
        "entities": [one.value for one in entities or []],
        "reason": reason,
    }
    with AdminApi.here() as api:
        made = api.post("polls", body)
        if not wait:
            tell(made) if as_json else say(sentence(made))
            return
        try:
            ended = until_still(api, f"polls/{made['id']}", made, moves=_moves, tell=lambda _: None)
        except KeyboardInterrupt:
            raise fail(f"the poll goes on; to see it: mlc netsuite polls --flow {flow}", INTERRUPTED) from None
    if as_json:
        tell(ended)
    else:
        report(ended)
    raise typer.Exit(exit_code(ended))


@plainly
def polls(flow: OfFlow = None, limit: Limit = 20, as_json: Json = False) -> None:
    """List the polls of NetSuite, newest first."""

    def ask(api: AdminApi) -> Answer:
        return api.pages("polls", "polls", most=limit, query={"flow": None if flow is None else flow_name(flow)})

    look(ask, _list_polls, as_json=as_json)


def _list_polls(answer: Answer) -> None:
    made = table("poll", "age", "flow", "state", "since", "changed", "compared", "differ", "by", rest="why")
    for one in answer["polls"]:
        rows = sum(entity["rows"] for entity in one["entities"])
        differ = sum(one["found"].values())
        line = (one["id"], age(one["created_at"]), one["flow"], one["state"], one["since"], rows, one["compared"])
        add(made, *line, differ, one["actor"], one["why"] or one["reason"])
    show_page(made, answer, "poll")


@plainly
def cancel(poll_id: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Let a poll read no further page. What it has handed on is still compared."""
    change("polls", poll_id, "cancel", reason, sentence=sentence, as_json=as_json)


@app.command("list")
@plainly
def list_(
    flow: Flow,
    entity: Annotated[EntityName | None, typer.Option(help="Only of this kind.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what has ended.")] = False,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List what was found changed in NetSuite, newest first: each field, what it should be, what NetSuite holds."""

    def ask(api: AdminApi) -> Answer:
        answer = api.pages("drift", "drift", most=limit, query={"flow": flow_name(flow), "entity": entity})
        return {**answer, "drift": [one for one in answer["drift"] if all_ or one["state"] != "ended"]}

    look(ask, lambda answer: _list(answer, with_ended=all_), as_json=as_json)


def _list(answer: Answer, *, with_ended: bool) -> None:
    made = table("record", "NetSuite", "age", "state", "why", "field", "should be", rest="is")
    for one in answer["drift"]:
        record = one["record_key"].rpartition("/")[2]
        first = (record, one["netsuite_id"], age(one["at"]), _state(one), ", ".join(one["causes"]))
        if not one["fields"]:
            add(made, *first, "", "", one["found"])
        for number, field in enumerate(one["fields"]):
            names = first if number == 0 else ("",) * 5
            add(made, *names, field["field"], _value(field["should"]), _value(field["holds"]))
    show(made)
    more = "; there may be more: --limit N" if answer.get("next") else ""
    hint(counted(len(answer["drift"]), "record") + more + ("" if with_ended else "; with those that have ended: --all"))
    tell_behind(answer)


# -- words -------------------------------------------------------------------------------------------------------------


def sentence(one: Answer) -> str:
    """`poll 41c7d09ab2f5 of acme-eu is done: 12 changed since ..., 3 compared: 1 different; 1 asserted`."""
    why = f" ({one['why']})" if one["why"] else ""
    rows = sum(entity["rows"] for entity in one["entities"])
    parts = [f"{count} {what}" for what, count in sorted(one["found"].items())] or ["all as they should be"]
    did = [f"{count} {what.replace('_', ' ')}" for what, count in sorted(one["did"].items()) if what != "reported"]
    words = f"{rows} changed since {when(one['since'])}, {one['compared']} compared"
    if one["compared"]:
        words += f": {', '.join([*parts, *did])}"
    return one_line(f"poll {one['id']} of {one['flow']} is {one['state']}{why}: {words}")


def report(one: Answer) -> None:
    say(sentence(one))
    if one["found"]:
        hint(f"which, and in what: mlc drift list {one['flow']}")


def exit_code(one: Answer) -> int:
    left = sum(one["found"].values()) - one["did"].get("asserted", 0)
    return 1 if one["state"] != "done" or left else 0


def _moves(one: Answer) -> bool:
    return bool(one["state"] == "running")


def _state(one: Answer) -> str:
    return str(one["state"]).replace("_", " ").replace("asserted", "asserted again")


def _value(value: Any) -> str:
    if value is None:
        return "(empty)"
    text = one_line(str(value.get("id", value)) if isinstance(value, dict) else str(value))
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}..."
