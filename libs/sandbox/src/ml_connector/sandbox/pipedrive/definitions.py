"""Field definitions over REST (Fields API v2): list, read, create, rename, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.pipedrive.errors import ApiError, invalid
from ml_connector.sandbox.pipedrive.fields import Definition, define, field_code, option_id
from ml_connector.sandbox.pipedrive.pages import page
from ml_connector.sandbox.web import Reply, Request, json_reply


@dataclass(frozen=True, slots=True)
class Definitions:
    """Of one entity; `changed` hears of each definition that changes."""

    company: Company
    entity: str
    request: Request
    changed: Callable[[str, Definition], None]

    def show_list(self) -> Reply:
        return page(self.request, self.company.definitions[self.entity])

    def read(self, code: str) -> Reply:
        return _ok(self._find(code))

    def create(self, body: Mapping[str, Any]) -> Reply:
        name, kind = str(body["field_name"]), str(body["field_type"])
        same = sum(1 for found in self.company.definitions[self.entity] if found["field_name"] == name)
        code = field_code(self.company.name, self.entity, name, same)
        labels = [option["label"] for option in body.get("options") or []]
        if kind in {"enum", "set"} and not labels:
            raise invalid("options are required for enum and set")
        options = [{"id": option_id(self.entity, code, i), "label": label} for i, label in enumerate(labels, start=1)]
        made = define(code, name, kind, custom=True, options=options or None)
        self.company.definitions[self.entity].append(made)
        self.changed("create", made)
        return _ok(made)

    def rename(self, code: str, body: Mapping[str, Any]) -> Reply:
        found = self._find(code)
        if body.get("field_name"):
            found["field_name"] = str(body["field_name"])
        self.changed("change", found)
        return _ok(found)

    def delete(self, code: str) -> Reply:
        """It disappears from answers, and is ignored where it is sent ("Custom fields" page)."""
        found = self._find(code)
        if not found["is_custom_field"]:
            raise ApiError(403, "A built-in field cannot be deleted")
        self.company.definitions[self.entity].remove(found)
        for item in self.company.items[self.entity].values():
            item["custom_fields"].pop(code, None)
        self.changed("delete", found)
        return _ok(found)

    def _find(self, code: str) -> Definition:
        found = self.company.definition(self.entity, code)
        if found is None:
            raise ApiError(404, "Field not found")
        return found


def _ok(data: Any) -> Reply:
    return json_reply(200, {"success": True, "data": data})
