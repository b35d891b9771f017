"""No answer of the admin service breaks its own OpenAPI document: schemathesis asks what it allows, and what it forbids."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest_asyncio
import schemathesis
from schemathesis.schemas import APIOperation

from ml_connector.admin.api.services import Services
from ml_connector.admin.web import make_api
from ml_connector.cli.stack import ADMIN, COMPANY, FLOW
from support.openapi import CHECKS, ask, each_operation
from support.operating import Operating


def document() -> dict[str, Any]:
    """Without the token, or schemathesis would leave it out half of the time; the door has tests of its own."""
    found = make_api(cast(Services, None)).openapi()
    for operations in found["paths"].values():
        for operation in operations.values():
            del operation["security"]
    return found


schema = schemathesis.openapi.from_dict(document())
seen: dict[str, set[int]] = defaultdict(set)


class Target:
    """Where it runs, and ids of what is there."""

    def __init__(self, operating: Operating, letters: list[str], replay: str, jobs: dict[str, str]) -> None:
        self.url = operating.stack.urls["admin"]
        self.headers = {"authorization": str(operating.api_of(ADMIN, role="admin").http.headers["authorization"])}
        self.flow = operating.stack.flow_document()
        self.letters, self.replay, self.jobs = letters, replay, jobs
        self._cases = Counter[str]()

    def aim(self, case: schemathesis.Case[Any]) -> None:
        """Most random ids name nothing: send two of three where there is something."""
        if case.operation.path.endswith("/webhooks/rotate") and isinstance(case.body, dict):
            case.body |= {"proof": None, "secret": None, "finish": True}  # what begins takes up to a minute
        label = case.operation.label
        self._cases[label] += 1
        if self._cases[label] % 3 == 0:
            return
        for name, known in (("letter_id", self.letters), ("job_id", [self.replay])):
            if re.fullmatch(r"[0-9a-f]{12}", str(case.path_parameters.get(name, ""))):
                case.path_parameters[name] = known[self._cases[label] % len(known)]
        if "flow" in case.path_parameters:
            case.path_parameters |= {"flow": FLOW, "version": 1}
        if case.operation.path.startswith(tuple(f"/v1/{kind}" for kind in self.jobs)):
            self._aim_at_job(case)
        if isinstance(case.body, dict) and "document" in case.body:
            case.body["document"] = self.flow
        if "company" in case.path_parameters:
            case.path_parameters["company"] = COMPANY
        if "owner" in case.path_parameters:
            self._aim_at_secret(case)
        if isinstance(case.body, dict) and "url" in case.body:
            case.body["url"] = "https://in.example"
        if case.operation.path == "/v1/timeline" and isinstance(case.query.get("q"), str):
            case.query["q"] = "org 1"
        if isinstance(case.body, dict) and isinstance(case.body.get("selection"), dict):
            case.body["selection"] = {"ids": [*self.letters]}

    def _aim_at_job(self, case: schemathesis.Case[Any]) -> None:
        """Of what is asked for most would contradict itself."""
        kind = case.operation.path.split("/")[2]
        if "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = self.jobs[kind]
        if isinstance(case.body, dict) and "flow" in case.body:
            case.body |= {"flow": FLOW, "entities": [], "token_share": 0.5}
            if kind != "polls":
                case.body |= {"ids": []}
            if kind != "reconciles":
                case.body |= {"since": ""}
            if kind == "syncs":
                case.body |= {"mode": "full", "until": ""}

    def _aim_at_secret(self, case: schemathesis.Case[Any]) -> None:
        """What is set belongs to no flow; what is in use is not deleted."""
        owner = "nobody" if case.method == "PUT" else FLOW
        case.path_parameters |= {"kind": "flow", "owner": owner, "name": "webhook-hmac"}
        if isinstance(case.body, dict) and "value" in case.body:
            case.body |= {"value": {"keys": [{"id": "k", "secret": "s"}]}, "environment": "sandbox"}
        case.query.pop("force", None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    async with Operating() as operating:
        letters = [letter["id"] for letter in await operating.rejected(4)]
        client = {"value": {"client_id": "c", "client_secret": "s"}, "environment": "sandbox"}
        await operating.api_of(ADMIN, role="admin").put(f"/secrets/pipedrive/{COMPANY}/oauth2-client", client)
        made = await operating.api.replay({"ids": letters[:1]}, draft=True)
        sync = (await operating.api.post("/syncs", {"flow": FLOW, "mode": "full"}))["sync"]
        reconcile = (await operating.api.post("/reconciles", {"flow": FLOW}))["reconcile"]
        poll = await operating.api.post("/polls", {"flow": FLOW})
        jobs = {"syncs": sync["id"], "reconciles": reconcile["id"], "polls": poll["id"]}
        yield Target(operating, letters, made["id"], jobs)


@each_operation(schema)
def test_answers_fit_the_document(operation: APIOperation[Any, Any, Any, Any], target: Target) -> None:
    def send(case: schemathesis.Case[Any]) -> None:
        target.aim(case)
        response = case.call(base_url=target.url, headers=target.headers)
        seen[operation.label].add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask(operation, send, requests=25)


def test_both_kinds_of_answers_were_seen() -> None:
    """What is always refused proves nothing about answers."""
    assert {label: statuses for label, statuses in seen.items() if not statuses & {200, 201, 409}} == {}
    assert len(seen) == 53
    assert 200 in seen["POST /v1/pipedrive/{company}/connect"]


def test_every_operation_has_a_summary_and_its_answers() -> None:
    """What an integrator sees first."""
    for path, operations in schema.raw_schema["paths"].items():
        for method, operation in operations.items():
            assert operation["description"] and operation["tags"], (method, path)
            assert {"401", "403", "422", "503"} <= set(operation["responses"]), (method, path)
