"""A vendor's stand-in as a process of its own."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

TIMEOUT_S = 60.0


class StandInProcess:
    """A context manager: it listens at `url`, and must end in order. `settings`: without their prefix."""

    def __init__(self, vendor: str, settings: Mapping[str, object], *, trust: Path | None = None) -> None:
        self._vendor = vendor
        self._environment = {f"MLC_SANDBOX_{vendor.upper()}_{name}": str(value) for name, value in settings.items()}
        self._trust = trust

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"ml_connector.sandbox.{self._vendor}"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        trusted = True if self._trust is None else ssl.create_default_context(cafile=str(self._trust))
        self.http = httpx2.Client(timeout=TIMEOUT_S, verify=trusted)
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

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.url}/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None
