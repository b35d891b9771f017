"""`/_sandbox/...`: set up, break, look. Asks for no credentials, so it listens on loopback only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from ml_connector.sandbox.pipedrive import generate
from ml_connector.sandbox.pipedrive.company import Company, Terms, facts
from ml_connector.sandbox.pipedrive.errors import ApiError
from ml_connector.sandbox.pipedrive.faults import Fault
from ml_connector.sandbox.pipedrive.oauth import App
from ml_connector.sandbox.pipedrive.sender import Delivery
from ml_connector.sandbox.web import Reply, Request, json_reply

if TYPE_CHECKING:
    from ml_connector.sandbox.pipedrive.app import PipedriveStandIn

PREFIX: Final = "/_sandbox/"


async def answer(standin: PipedriveStandIn, request: Request) -> Reply:
    """One admin request; what is wrong with it comes as 400 with a text."""
    try:
        return await _answer(standin, request, request.path[len(PREFIX) :].split("/"))
    except KeyError as error:
        return json_reply(400, {"error": f"unknown or missing: {error.args[0]}"})
    except (ValueError, TypeError) as error:
        return json_reply(400, {"error": str(error)})
    except ApiError as error:
        return error.reply()


async def _answer(standin: PipedriveStandIn, request: Request, path: list[str]) -> Reply:
    match (request.method, path):
        case ("POST", ["companies"]):
            return json_reply(200, facts(_register(standin, request.json())))
        case (_, ["companies", name, *rest]):
            return _on_company(standin, standin.companies[name], request, rest)
        case ("POST", ["webhooks", number, "signing"]):
            return _sign(standin, int(number), request.json()["secret"])
        case ("GET", ["log"]):
            return json_reply(200, standin.log)
        case ("DELETE", ["log"]):
            standin.log.clear()
            return Reply(204)
        case ("GET", ["deliveries"]):
            return json_reply(200, standin.sender.deliveries())
        case ("GET", ["lost"]):
            return json_reply(200, standin.sender.lost)
        case ("GET", ["quiet"]):
            return await _quiet(standin, float(request.query.get("timeout_s", 30)))
        case ("GET", ["clock"]):
            return json_reply(200, {"now": standin.clock.now().isoformat()})
        case ("POST", ["clock"]):
            standin.clock.advance(float(request.json()["advance_s"]))
            return Reply(204)
        case ("POST", ["faults"]):
            standin.faults.append(Fault.of(request.json()))
            return Reply(204)
        case ("DELETE", ["faults"]):
            standin.faults.clear()
            return Reply(204)
    return json_reply(404, {"error": "no such admin route"})


def _on_company(standin: PipedriveStandIn, company: Company, request: Request, path: list[str]) -> Reply:
    match (request.method, path):
        case ("GET", []):
            return json_reply(200, facts(company))
        case ("POST", ["apps"]):
            return _install(standin, company, request.json())
        case ("POST", ["objects"]):
            return _populate(company, request.json())
        case ("POST", ["edits"]):
            return _edit(standin, company, request.json())
    return json_reply(404, {"error": "no such admin route"})


def _register(standin: PipedriveStandIn, given: dict[str, Any]) -> Company:
    """`{"company", "company_id", "api_token", "host"?, ...terms}`; a known company only changes its terms."""
    given = dict(given)
    name, number = str(given.pop("company")), int(given.pop("company_id"))
    token, host = str(given.pop("api_token")), str(given.pop("host", ""))
    company = standin.companies.get(name) or Company(name, number, token, standin.clock, host)
    company.terms = Terms.model_validate({**company.terms.model_dump(), **given})
    standin.companies[name] = company
    standin.by_token[token] = company
    return company


def _install(standin: PipedriveStandIn, company: Company, given: dict[str, Any]) -> Reply:
    """`{"client_id", "client_secret", "redirect_uri", "scopes": [...]}`."""
    app = App(
        given["client_id"], given["client_secret"], given["redirect_uri"], frozenset(given["scopes"]), company
    )  # fmt: skip
    standin.oauth.apps[app.client_id] = app
    return Reply(204)


def _populate(company: Company, given: dict[str, Any]) -> Reply:
    """`{"organizations", "persons", "deals", "seed"}`."""
    generate.populate(company, **{name: int(value) for name, value in given.items()})
    return json_reply(200, facts(company)["objects"])


def _edit(standin: PipedriveStandIn, company: Company, given: dict[str, Any]) -> Reply:
    """`{"rate", "count", "seed"}`: in the background; `GET quiet` waits for them and their webhooks."""
    delivery = Delivery.parse("")
    work = generate.edit(
        company,
        lambda entity, number, body: standin.change(company, entity, number, body, delivery),
        rate=float(given["rate"]),
        count=int(given["count"]),
        seed=int(given.get("seed", 0)),
    )
    standin.start(work)
    return Reply(204)


def _sign(standin: PipedriveStandIn, number: int, secret: str) -> Reply:
    """Sign this subscription's deliveries, as this product's relay would."""
    for company in standin.companies.values():
        if number in company.webhooks:
            company.webhooks[number].signing_secret = secret.encode()
            return Reply(204)
    return json_reply(404, {"error": "no such webhook"})


async def _quiet(standin: PipedriveStandIn, timeout_s: float) -> Reply:
    """Answers once no edit and no delivery is under way."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(standin.quiet(), timeout_s)
    return json_reply(200, {"pending": standin.sender.pending})
