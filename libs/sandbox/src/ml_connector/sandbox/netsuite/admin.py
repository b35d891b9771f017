"""`/_sandbox/...`: set up, break, look and reset. Asks for no credentials, so it listens on loopback only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.errors import NetsuiteError
from ml_connector.sandbox.netsuite.schema import TYPES
from ml_connector.sandbox.netsuite.shown import RECORD_PATH
from ml_connector.sandbox.netsuite.store import Record
from ml_connector.sandbox.web import Reply, Request, json_reply

if TYPE_CHECKING:
    from ml_connector.sandbox.netsuite.app import NetsuiteStandIn

PREFIX: Final = "/_sandbox/"
KINDS: Final = ("customer", "contact", "opportunity")


def answer(standin: NetsuiteStandIn, request: Request) -> Reply:
    """One admin request; what is wrong with it comes as 400 with a text."""
    try:
        return _answer(standin, request, request.path[len(PREFIX) :].split("/"))
    except KeyError as error:
        return json_reply(400, {"error": f"unknown or missing: {error.args[0]}"})
    except (ValueError, TypeError) as error:
        return json_reply(400, {"error": str(error)})
    except NetsuiteError as error:
        return error.reply()


def _answer(standin: NetsuiteStandIn, request: Request, path: list[str]) -> Reply:
    accounts = standin.accounts.by_name
    match (request.method, path):
        case ("POST", ["accounts"]):
            return json_reply(200, {"account": standin.accounts.register(request.json()).name})
        case ("GET", ["accounts"]):
            return json_reply(200, {name: account.switches.model_dump() for name, account in accounts.items()})
        case ("GET", ["log"]):
            return json_reply(200, {"entries": standin.journal.after(int(request.query.get("after", 0)))})
        case ("DELETE", ["log"]):
            standin.journal.clear()
            return Reply(204)
        case ("GET", ["stats"]):
            return json_reply(200, {name: _stats(account) for name, account in accounts.items()})
        case ("GET", ["records", account, kind]):
            return json_reply(200, [_dumped(record) for record in accounts[account].records.all(kind)])
        case ("POST", ["records", account, kind]):
            return json_reply(200, {"added": _load(accounts[account], kind, request.json())})
        case ("PATCH" | "DELETE", ["records", account, kind, name]):
            return _edit(standin, accounts[account], request, f"{RECORD_PATH}{kind}/{name}")
        case (_, ["faults"]):
            return _faults(standin, request)
        case ("POST", ["settings"]):
            _set(standin, request.json())
            return Reply(204)
        case ("POST", ["clock"]):
            standin.clock.advance(float(request.json()["advance_s"]))
            return Reply(204)
        case ("POST", ["reset"]):
            standin.reset(records=bool(request.json().get("records", False)))
            return Reply(204)
    return json_reply(404, {"error": "no such admin route"})


def _faults(standin: NetsuiteStandIn, request: Request) -> Reply:
    match request.method:
        case "POST":
            return json_reply(200, {"id": standin.faults.add(request.json()).id})
        case "GET":
            return json_reply(200, standin.faults.report())
        case "DELETE":
            standin.faults.clear()
            return Reply(204)
    return json_reply(405, {"error": "POST, GET or DELETE"})


def _set(standin: NetsuiteStandIn, facts: dict[str, Any]) -> None:
    """`{"latency_ms": 50}` for all, or `{"latency": {"write": {"median_ms": 400}, "other": ...}, "seed": 1}`,
    with `account` the latter for this one until it is set for all again; and `{"keep_bodies": true}`."""
    if "keep_bodies" in facts:
        standin.journal.keep_bodies = bool(facts["keep_bodies"])
    if "latency_ms" in facts:
        standin.latency.set({"other": {"fixed_ms": float(facts["latency_ms"])}})
    if "account" in facts:
        account = standin.accounts.by_name[facts["account"]]
        standin.latency.set_for(account.name, facts["latency"])
    elif "latency" in facts:
        standin.latency.set(facts["latency"], int(facts.get("seed", 0)))


def _load(account: Account, kind: str, rows: list[dict[str, Any]]) -> int:
    """Put records there as they are, unchecked and unlogged: `[{"externalId": ..., "fields": {...}}]`."""
    if kind not in TYPES:
        raise ValueError(f"record type is one of {', '.join(TYPES)}")
    now_ms = 0
    records = [
        Record(
            account.records.next_id(), kind, row.get("externalId"), row.get("fields", {}),
            row.get("createdMs", now_ms), row.get("modifiedMs", now_ms),
        )
        for row in rows
    ]  # fmt: skip
    account.records.add_all(records)
    return len(records)


def _edit(standin: NetsuiteStandIn, account: Account, request: Request, path: str) -> Reply:
    """As a person would in NetSuite's own pages: no slot, no fault."""
    edit = Request(request.method, path, request.query, request.headers, request.body)
    done = standin.service.handle(account, edit)
    if done.changed is not None:
        standin.push.tell(account, done.changed, done.what)
    return done.reply


def _stats(account: Account) -> dict[str, int]:
    return {
        "commits": account.commits,
        "creates": account.creates,
        "updates": account.updates,
        "in_flight": account.in_flight,
        "peak_in_flight": account.peak_in_flight,
        "refused_for_concurrency": account.refused_for_concurrency,
        **{kind: account.records.count(kind) for kind in KINDS},
    }


def _dumped(record: Record) -> dict[str, Any]:
    """References as their ids."""
    return {
        "id": record.id,
        "externalId": record.external_id,
        **{name: value["id"] if isinstance(value, dict) else value for name, value in record.fields.items()},
    }
