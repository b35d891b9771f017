"""The Pipedrive stand-in as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

import httpx2


class PipedriveProcess:
    """`with PipedriveProcess() as process:`. `clock_speed`: seconds of its clock in one real second."""

    def __init__(self, *, clock_speed: float = 1.0, permitted_users: int = 3) -> None:
        prefix = "MLC_SANDBOX_PIPEDRIVE_"
        self._environment = {f"{prefix}CLOCK_SPEED": str(clock_speed), f"{prefix}PERMITTED_USERS": str(permitted_users)}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ml_connector.sandbox.pipedrive"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        self.http = httpx2.Client(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self._process.terminate()
        assert self._process.wait(10) == 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def company(self, name: str, **terms: Any) -> str:
        """Register a company; its API token."""
        token = f"token-of-{name}"
        self.admin("POST", "companies", {"company": name, "company_id": 8087566, "api_token": token, **terms})
        return token

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.url}/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None
