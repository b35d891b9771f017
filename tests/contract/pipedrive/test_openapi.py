"""No answer of the stand-in breaks Pipedrive's own OpenAPI document: schemathesis asks whatever the document allows.

The overlay lists what the document under-declares: null where a real object has nothing (facts/pipedrive.md section 12),
the error answers, which it does not list at all, and the end of a list.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.schemas import APIOperation

from contract.pipedrive.company import DATA, PipedriveCompany
from support.openapi import CHECKS, ask, each_operation

ERRORS = ("400", "401", "403", "404", "405", "415", "422", "429")


def overlaid(document: dict[str, Any]) -> dict[str, Any]:
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    _allow_null(content.get("schema"))
            for status in ERRORS:
                operation["responses"].setdefault(status, {"description": "not listed by the document"})
    return document


def _allow_null(schema: Any) -> None:
    """In answers every member may be null but the envelope's own."""
    if isinstance(schema, list):
        for part in schema:
            _allow_null(part)
    if not isinstance(schema, dict):
        return
    for name, part in schema.get("properties", {}).items():
        if name not in {"success", "data", "additional_data", "id"}:
            part["nullable"] = True
            if "enum" in part:
                part["enum"] = [*part["enum"], None]
    for part in schema.values():
        if isinstance(part, dict | list):
            _allow_null(part)
    for part in schema.get("properties", {}).values():
        _allow_null(part)


schema = schemathesis.openapi.from_dict(overlaid(json.loads(Path(DATA / "openapi-v2-covered.json").read_text())))


@pytest.fixture(scope="module")
def filled(company: PipedriveCompany) -> PipedriveCompany:
    """There is something to find under small ids."""
    for entity in ("organization", "person", "deal"):
        for _ in range(3):
            company.create(entity)
    return company


def _aim(case: schemathesis.Case[Any], company: PipedriveCompany) -> None:
    """Most random ids name nothing: send three of four where there is something."""
    number = case.path_parameters.get("id")
    if isinstance(number, int):
        case.path_parameters["id"] = number % 4 or 999_999
    code = case.path_parameters.get("field_code")
    if isinstance(code, str) and len(code) % 4:
        entity = case.operation.path.split("/")[1].removesuffix("Fields")
        case.path_parameters["field_code"] = company.field(entity, "double" if len(code) % 2 else "varchar")


@each_operation(schema)
def test_answers_fit_the_document(operation: APIOperation[Any, Any, Any, Any], filled: PipedriveCompany) -> None:
    def send(case: schemathesis.Case[Any]) -> None:
        _aim(case, filled)
        response = case.call(base_url=f"{filled.url}/api/v2", headers={"x-api-token": filled.token})
        case.validate_response(response, checks=CHECKS)

    ask(operation, send, requests=15)
