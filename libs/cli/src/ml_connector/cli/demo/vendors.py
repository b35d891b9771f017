"""The demo's own hands: changes Pipedrive and reads NetSuite back, each over its REST API."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx2
import jwt

READ_AT_ONCE = 4  # below NetSuite's limit of 5, which the writer may be using as well


class PipedriveHands:
    """Plays operations; gives refs their ids, and names of fields and options their codes."""

    def __init__(self, client: httpx2.AsyncClient, base_url: str, token: str) -> None:
        self._client = client
        self._base_url = base_url
        self._headers = {"x-api-token": token}
        self._ids: dict[str, asyncio.Future[int]] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._fields: dict[str, dict[str, dict[str, Any]]] = {}

    async def learn(self) -> None:
        """Read the field definitions of every entity."""
        for entity in ("organization", "person", "deal"):
            rows = await self._get_all(f"/api/v2/{entity}Fields")
            named: dict[str, dict[str, Any]] = {}
            for row in rows:
                name, number = row["field_name"], 2
                while row["field_name"] in named:
                    row["field_name"] = f"{name} ({number})"
                    number += 1
                named[row["field_name"]] = row
            self._fields[entity] = named

    def expect(self, ref: str) -> None:
        """This ref will be created: others may wait for its id."""
        self._ids[ref] = asyncio.get_running_loop().create_future()
        self._turns[ref] = asyncio.Lock()

    def id_of(self, ref: str) -> int:
        return self._ids[ref].result()

    async def do(self, operation: Mapping[str, Any]) -> None:
        """One operation; those on one object keep their order."""
        ref = operation["ref"]
        async with self._turns[ref]:
            await self._do(operation, ref)

    async def _do(self, operation: Mapping[str, Any], ref: str) -> None:
        plural = operation["entity"] + "s"
        path = f"/api/v2/{plural}"
        headers = {**self._headers, "x-sandbox-delivery": operation["delivery"]}
        match operation["op"]:
            case "create":
                body = await self._body(operation)
                made = await self._send("POST", path, headers, body)
                self._ids[ref].set_result(made["data"]["id"])
            case "update":
                await self._send("PATCH", f"{path}/{await self._ids[ref]}", headers, await self._body(operation))
            case "delete":
                await self._send("DELETE", f"{path}/{await self._ids[ref]}", headers, None)
            case "merge":
                winner = await self._ids[operation["winner"]]
                merge = f"/v1/{plural}/{await self._ids[ref]}/merge"
                await self._send("PUT", merge, headers, {"merge_with_id": winner})

    async def _body(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        body = {name: await self._value(value) for name, value in operation["body"].items()}
        custom = {}
        for name, value in operation["custom"].items():
            row = self._fields[operation["entity"]][name]
            custom[row["field_code"]] = _option(row, await self._value(value))
        return {**body, "custom_fields": custom} if custom else body

    async def _value(self, value: Any) -> Any:
        return await self._ids[value["$ref"]] if isinstance(value, dict) and "$ref" in value else value

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Any:
        answer = await self._client.request(method, f"{self._base_url}{path}", headers=dict(headers), json=body)
        return answer.raise_for_status().json()

    async def _get_all(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": "500"}
        while True:
            answer = await self._client.get(f"{self._base_url}{path}", headers=self._headers, params=query)
            page = answer.raise_for_status().json()
            rows += page["data"]
            cursor = page["additional_data"]["next_cursor"]
            if cursor is None:
                return rows
            query["cursor"] = cursor


def _option(row: Mapping[str, Any], value: Any) -> Any:
    """Labels become option ids."""
    if not row["options"] or value is None:
        return value
    ids = {option["label"]: option["id"] for option in row["options"]}
    return [ids[label] for label in value] if isinstance(value, list) else ids[value]


class NetsuiteEyes:
    """Reads records by external id, with a token of its own."""

    def __init__(self, client: httpx2.AsyncClient, base_url: str, private_key_pem: str) -> None:
        self._client = client
        self._base_url = base_url
        self._key = private_key_pem
        self._headers: dict[str, str] = {}
        self._places = asyncio.Semaphore(READ_AT_ONCE)

    async def log_in(self) -> None:
        url = f"{self._base_url}/services/rest/auth/oauth2/v1/token"
        now = int(time.time())
        claims = {"iss": "dev-client", "scope": "rest_webservices", "aud": url, "iat": now, "exp": now + 300}
        assertion = jwt.encode(
            {**claims, "jti": uuid.uuid4().hex}, self._key, algorithm="ES256", headers={"kid": "dev-certificate"}
        )
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        answer = await self._client.post(url, data=form)
        self._headers = {"authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}

    async def read(self, kind: str, external_id: str) -> dict[str, Any] | None:
        """The record, or None when NetSuite has none under this external id."""
        async with self._places:
            answer = await self._client.get(self._url(kind, f"/eid:{external_id}"), headers=self._headers)
        if answer.status_code == 404:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    async def count(self, kind: str) -> int:
        """How many records of a type there are, whoever made them."""
        answer = await self._client.get(self._url(kind, "?limit=1"), headers=self._headers)
        return int(answer.raise_for_status().json()["totalResults"])

    def _url(self, kind: str, rest: str) -> str:
        return f"{self._base_url}/services/rest/record/v1/{kind}{rest}"
