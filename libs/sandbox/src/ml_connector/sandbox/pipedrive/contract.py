"""The part of Pipedrive's OpenAPI document that the stand-in serves: which requests there are, what they cost, which
scopes they need, what they may hold. `contract.json` is made from the document:

    python -m ml_connector.sandbox.pipedrive.contract openapi-v2.yaml > contract.json
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

COVERED: Final = (
    "/deals/archived",
    *(f"/{plural}" for plural in ("organizations", "persons", "deals", "stages", "pipelines")),
    *(f"/{plural}/{{id}}" for plural in ("organizations", "persons", "deals", "stages", "pipelines")),
    *(f"/{entity}Fields" for entity in ("organization", "person", "deal")),
    *(f"/{entity}Fields/{{field_code}}" for entity in ("organization", "person", "deal")),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `scopes`: any of them will do. `query`: name -> JSON Schema."""

    method: str
    path: str
    cost: int
    scopes: frozenset[str]
    query: Mapping[str, Mapping[str, Any]]
    body: jsonschema_rs.Validator | None


@functools.cache
def operations() -> dict[tuple[str, str], Operation]:
    """By method and path template."""
    rows = json.loads(resources.files(__package__).joinpath("contract.json").read_text())
    return {
        (row["method"], row["path"]): Operation(
            row["method"],
            row["path"],
            row["cost"],
            frozenset(row["scopes"]),
            row["query"],
            jsonschema_rs.validator_for(row["body"]) if row["body"] is not None else None,
        )
        for row in rows
    }


def extract(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The covered operations of an OpenAPI 3.0 document."""
    return [
        _row(method, path, document["paths"][path][method]) for path in COVERED for method in document["paths"][path]
    ]


def _row(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "method": method.upper(),
        "path": path,
        "cost": operation["x-token-cost"],
        "scopes": sorted({scope for entry in operation["security"] for scope in entry.get("oauth2", [])}),
        "query": {p["name"]: _plain(p["schema"]) for p in operation.get("parameters", []) if p["in"] == "query"},
        "body": None if body is None else _plain(body, optional_null=True),
    }


def _plain(schema: Any, *, optional_null: bool = False) -> Any:
    """JSON Schema of an OpenAPI 3.0 schema: without its texts; `null` where it is nullable or, in a body, optional."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: _plain(value)
        for name, value in schema.items()
        if name not in {"description", "title", "example", "nullable", "properties", "default", "x-oauth-scopes"}
    }
    required = set(schema.get("required", []))
    if "properties" in schema:
        found["properties"] = {
            name: _nullable(_plain(part), always=(optional_null and name not in required) or bool(part.get("nullable")))
            for name, part in schema["properties"].items()
        }
    return found


def _nullable(schema: Any, *, always: bool) -> Any:
    if not always or not isinstance(schema.get("type"), str):
        return schema
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **more}


def main() -> None:
    """Print the rows."""
    from ruamel.yaml import YAML

    document = YAML(typ="safe").load(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(extract(document), indent=1) + "\n")


if __name__ == "__main__":
    main()
