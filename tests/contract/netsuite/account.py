"""One NetSuite account as a client sees it: the stand-in's, or a real one."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt

DOCS = Path(__file__).parents[2] / "data" / "netsuite" / "oracle_docs"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RECORD = "/services/rest/record/v1"
ASYNC = {"Prefer": "respond-async"}
BATCH = {**ASYNC, "Content-Type": "application/vnd.oracle.resource+json; type=collection"}
STRICT = {"X-NetSuite-PropertyNameValidation": "error"}
JOB_DEADLINE_S = 120.0


def printed(name: str) -> dict[str, Any]:
    """What Oracle prints."""
    found: dict[str, Any] = json.loads((DOCS / f"{name}.json").read_text())
    return found


@dataclass(frozen=True, slots=True)
class M2M:
    """A client-credentials certificate; the algorithm fits its key."""

    client_id: str
    certificate_id: str
    private_key_pem: str
    algorithm: str


@dataclass(slots=True)
class NetsuiteAccount:
    """`subsidiary`: internal id of one; new records go there."""

    url: str
    m2m: M2M
    subsidiary: str = "1"
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=120))
    _token: str = ""

    def assertion(
        self, *, algorithm: str = "", key: str = "", header: dict[str, str] | None = None, **claims: Any
    ) -> str:
        """A client assertion as Oracle section_162790605110 wants it, or with some of it changed."""
        now_s = int(time.time())
        usual = {
            "iss": self.m2m.client_id,
            "scope": "rest_webservices",
            "aud": f"{self.url}/services/rest/auth/oauth2/v1/token",
            "iat": now_s,
            "exp": now_s + 3000,
        }
        return jwt.encode(
            {**usual, **claims},
            key or self.m2m.private_key_pem,
            algorithm=algorithm or self.m2m.algorithm,
            headers=header or {"kid": self.m2m.certificate_id},
        )

    def ask_token(self, assertion: str) -> httpx2.Response:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return self.http.post(f"{self.url}/services/rest/auth/oauth2/v1/token", data=form)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """With a token. `path` may be absolute, as in a `Location`."""
        if not self._token:
            self._token = self.ask_token(self.assertion()).json()["access_token"]
        parts = urlsplit(path)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        content = None if body is None else json.dumps(body)
        usual = {"content-type": "application/json"} if body is not None else {}
        return self.http.request(
            method,
            f"{self.url}{path}",
            content=content,
            headers={**usual, "authorization": f"Bearer {self._token}", **{n.lower(): v for n, v in headers.items()}},
        )

    def create(self, kind: str = "customer", **fields: Any) -> str:
        """The internal id of a new record that nobody else has."""
        answer = self.request("POST", f"{RECORD}/{kind}", self.body(kind, **fields))
        assert answer.status_code == 204, answer.text
        return id_in(answer)

    def body(self, kind: str = "customer", **fields: Any) -> dict[str, Any]:
        unique = uuid.uuid4().hex[:10]
        usual: dict[str, Any] = {"subsidiary": {"id": self.subsidiary}}
        if kind == "customer":
            usual["companyName"] = f"Contract {unique}"
        if kind == "contact":
            usual |= {"firstName": "Contract", "lastName": unique}
        return {**usual, **fields}

    def read(self, kind: str, internal_id: str, query: str = "") -> dict[str, Any]:
        answer = self.request("GET", f"{RECORD}/{kind}/{internal_id}{query}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def suiteql(self, q: str, query: str = "", **more: Any) -> httpx2.Response:
        return self.request("POST", f"/services/rest/query/v1/suiteql{query}", {"q": q, **more}, Prefer="transient")

    def finish(self, submitted: httpx2.Response) -> list[httpx2.Response]:
        """Wait for a job; the results of its tasks, in order."""
        assert submitted.status_code == 202, submitted.text
        job = submitted.headers["location"]
        deadline = time.monotonic() + JOB_DEADLINE_S
        while not self.request("GET", job).json()["completed"]:
            assert time.monotonic() < deadline, "the job did not end"
            time.sleep(0.02)
        tasks = self.request("GET", f"{job}/task").json()["items"]
        addresses = [link["href"] for item in tasks for link in item["links"] if link["rel"] == "self"]
        return [self.request("GET", f"{address}/result") for address in addresses]


def id_in(answer: httpx2.Response) -> str:
    """From `Location`."""
    found: str = answer.headers["location"].rstrip("/").rpartition("/")[2]
    return found


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"
