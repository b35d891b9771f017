"""Errors in Pipedrive's envelope (facts/pipedrive.md section 10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ml_connector.sandbox.web import Reply, json_reply

INVALID: Final = "ERR_SCHEMA_VALIDATION_FAILED"


class ApiError(Exception):
    """Answered as `{"success": false, "error": ...}`."""

    def __init__(
        self, status: int, error: str, info: str = "", code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.info = info
        self.code = code
        self.headers = headers or {}

    def reply(self) -> Reply:
        body: dict[str, Any] = {
            "success": False,
            "error": self.error,
            "error_info": self.info,
            "data": None,
            "additional_data": None,
        }
        return json_reply(self.status, {**body, "code": self.code} if self.code else body, self.headers)


def invalid(what: str) -> ApiError:
    return ApiError(400, f"Validation failed: {what}", code=INVALID)
