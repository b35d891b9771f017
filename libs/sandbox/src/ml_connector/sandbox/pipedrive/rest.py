"""Which request is which: checked against Pipedrive's own OpenAPI document before it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ml_connector.sandbox.pipedrive import v1
from ml_connector.sandbox.pipedrive.body import Change
from ml_connector.sandbox.pipedrive.company import KEPT, Company
from ml_connector.sandbox.pipedrive.contract import Operation, operations
from ml_connector.sandbox.pipedrive.definitions import Definitions
from ml_connector.sandbox.pipedrive.errors import ApiError, invalid
from ml_connector.sandbox.pipedrive.fields import Definition
from ml_connector.sandbox.pipedrive.objects import Objects, number
from ml_connector.sandbox.web import Reply, Request

_BOOLEANS: Final = frozenset({"true", "false", "0", "1"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request, understood: what it costs, who may make it, and what to do."""

    cost: int
    scopes: frozenset[str]
    do: Callable[[], Reply]


@dataclass(frozen=True, slots=True)
class Api:
    """One company's API; `changed` and `redefined` hear of what becomes webhooks."""

    company: Company
    changed: Callable[[Change], None]
    redefined: Callable[[str, str, Definition], None]

    def call(self, request: Request) -> Call:
        """Raises ApiError 404 or 405 for what does not exist; the rest is raised by `do`."""
        path = request.path.removeprefix("/api").strip("/").split("/")
        if path[0] == "v2":
            return self._v2(request, path[1:])
        if path[0] == "v1" and len(path) > 1:
            return self._v1(request, path[1:])
        raise ApiError(404, "Unknown method.")

    # -- v2 ----------------------------------------------------------------------------------------------------------

    def _v2(self, request: Request, path: list[str]) -> Call:
        template = _template(path)
        operation = operations().get((request.method, template))
        if operation is None:
            known = any(path == template for _, path in operations())
            raise ApiError(405 if known else 404, "Method not allowed." if known else "Unknown method.")

        def do() -> Reply:
            _check_query(request, operation)
            return self._done(request, operation, path)

        return Call(operation.cost, operation.scopes, do)

    def _done(self, request: Request, operation: Operation, path: list[str]) -> Reply:
        body = _body(request, operation)
        entity = KEPT.get(path[0])
        if entity is None:
            return self._define(request, path, body)
        objects = Objects(self.company, entity, request, self.changed)
        match (request.method, path[1:]):
            case ("GET", []):
                return objects.show_list()
            case ("GET", ["archived"]):
                return objects.show_list(archived=True)
            case ("GET", [one]):
                return objects.read(one)
            case ("POST", _):
                return objects.create(body)
            case ("PATCH", [one]):
                return objects.update(one, body)
        return objects.delete(path[1])

    def _define(self, request: Request, path: list[str], body: dict[str, Any]) -> Reply:
        entity = path[0].removesuffix("Fields")
        definitions = Definitions(
            self.company, entity, request, lambda action, found: self.redefined(entity, action, found)
        )
        match (request.method, path[1:]):
            case ("GET", []):
                return definitions.show_list()
            case ("GET", [code]):
                return definitions.read(code)
            case ("POST", _):
                return definitions.create(body)
            case ("PATCH", [code]):
                return definitions.rename(code, body)
        return definitions.delete(path[1])

    # -- v1 ----------------------------------------------------------------------------------------------------------

    def _v1(self, request: Request, path: list[str]) -> Call:
        found = (request.method, path[0])
        cost, scopes = v1.COSTS.get(found, 10), frozenset(v1.SCOPES.get(found, ()))
        match (request.method, path):
            case ("PUT", [plural, loser, "merge"]) if plural in KEPT:
                objects = Objects(self.company, KEPT[plural], request, self.changed)
                return Call(cost, scopes, lambda: objects.merge(loser, _json(request).get("merge_with_id")))
            case ("GET", ["users", "me"]):
                return Call(cost, scopes, lambda: v1.users_me(self.company))
            case ("GET", ["currencies"]):
                return Call(cost, scopes, v1.currencies)
            case ("GET", ["webhooks"]):
                return Call(cost, scopes, lambda: v1.list_webhooks(self.company))
            case ("POST", ["webhooks"]):
                return Call(cost, scopes, lambda: v1.subscribe(self.company, _json(request)))
            case ("DELETE", ["webhooks", one]):
                return Call(cost, scopes, lambda: v1.unsubscribe(self.company, number(one)))
        raise ApiError(404, "Unknown method.")


def _template(path: list[str]) -> str:
    """`/deals/17` -> `/deals/{id}`."""
    match path:
        case ["deals", "archived"]:
            return "/deals/archived"
        case [name, _] if name.endswith("Fields"):
            return f"/{name}/{{field_code}}"
        case [name, _]:
            return f"/{name}/{{id}}"
    return "/" + "/".join(path)


def _check_query(request: Request, operation: Operation) -> None:
    for name, value in request.query.items():
        schema = operation.query.get(name)
        if schema is None:
            continue  # unknown ones are ignored
        if schema.get("type") == "integer" and not value.lstrip("-").isdigit():
            raise invalid(f"{name} must be an integer")
        if schema.get("type") == "boolean" and value not in _BOOLEANS:
            raise invalid(f"{name} must be true or false")
        allowed = {part for one in schema.get("enum", ()) for part in str(one).split(",")}
        if allowed and not set(value.split(",")) <= allowed:
            raise invalid(f"{name} is one of {', '.join(sorted(allowed))}")
        if name in {"updated_since", "updated_until"}:
            _check_moment(name, value)


def _check_moment(name: str, value: str) -> None:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise invalid(f"{name} must be RFC 3339, such as 2025-01-01T10:20:00Z") from None


def _body(request: Request, operation: Operation) -> dict[str, Any]:
    if operation.body is None:
        return {}
    body = _json(request)
    for error in operation.body.iter_errors(body):
        place = "/".join(str(part) for part in error.instance_path)
        raise invalid(f"{place or 'the body'}: {error.message}")
    return body


def _json(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        raise invalid("the body is not JSON") from None
    if not isinstance(body, dict):
        raise invalid("the body is not an object")
    return body
