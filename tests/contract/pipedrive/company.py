"""One Pipedrive company as a client sees it: the stand-in's, or a real one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

DATA = Path(__file__).parents[2] / "data" / "pipedrive"
PLURALS = {"organization": "organizations", "person": "persons", "deal": "deals"}


def printed(name: str) -> Any:
    """What Pipedrive prints."""
    return json.loads((DATA / f"{name}.json").read_text())


@dataclass(slots=True)
class PipedriveCompany:
    """`made`: what the tests created, to be deleted in the end."""

    url: str
    token: str
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=60))
    made: list[tuple[str, int]] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> httpx2.Response:
        headers = {"x-api-token": self.token}
        return self.http.request(method, f"{self.url}{path}", json=body, params=query, headers=headers)

    def data(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.ask(method, path, body, **query)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def create(self, entity: str, **body: Any) -> dict[str, Any]:
        body.setdefault("title" if entity == "deal" else "name", "Contract test")
        made: dict[str, Any] = self.data("POST", f"/api/v2/{PLURALS[entity]}", body)
        self.made.append((entity, made["id"]))
        return made

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask("GET", path, **query).json()
            found += page["data"]
            cursor = page["additional_data"]["next_cursor"]
            if cursor is None:
                return found
            query["cursor"] = cursor

    def field(self, entity: str, kind: str) -> str:
        """The code of a custom field of this type; made when there is none."""
        rows = self.all(f"/api/v2/{entity}Fields", limit=500)
        code = next((row["field_code"] for row in rows if row["is_custom_field"] and row["field_type"] == kind), None)
        if code is None:
            options = [{"label": "A"}, {"label": "B"}] if kind in {"enum", "set"} else None
            body = {"field_name": f"Contract {kind}", "field_type": kind} | ({"options": options} if options else {})
            code = self.data("POST", f"/api/v2/{entity}Fields", body)["field_code"]
        return str(code)
