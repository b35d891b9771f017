"""Error bodies as Oracle prints them (tests/data/netsuite; facts/netsuite.md section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_connector.sandbox.web import Reply, json_reply

_RFC = "https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html"
_KINDS: dict[int, tuple[str, str]] = {
    400: (f"{_RFC}#sec10.4.1", "Bad Request"),
    401: (_RFC, "Unauthorized"),
    404: (_RFC, "Not Found"),
    405: (f"{_RFC}#sec10.4.6", "Method Not Allowed"),
    429: (_RFC, "Bad Request"),  # as printed
    500: (_RFC, "Internal Server Error"),
    502: (_RFC, "Bad Gateway"),
    503: (_RFC, "Service Unavailable"),
}
_MEDIA_TYPE = "application/vnd.oracle.resource+json; type=error"


class NetsuiteError(Exception):
    """An error answer. `where`: what is meant, as `o:errorPath` (a member of the body), `o:errorQueryParam`, ..."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        where: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.where = where or {}
        self.headers = headers or {}

    def reply(self) -> Reply:
        kind, title = _KINDS.get(self.status, (_RFC, "Error"))
        if self.code == "INVALID_REQUEST" and self.status == 400:
            kind = _RFC  # as printed
        if self.code == "IDEMPOTENCY_ERROR":
            kind, title = f"{_RFC}#sec10.4.10", "Conflict"  # as printed
        details: dict[str, Any] = {"detail": self.detail, "o:errorCode": self.code, **self.where}
        body: dict[str, Any] = {"type": kind, "title": title, "status": self.status}
        if self.status == 429:
            body["o:errorCode"] = "USER_ERROR"  # the printed 429 has the real code in the details only
        headers = {"content-type": _MEDIA_TYPE, **self.headers}
        if self.status == 401:
            headers["www-authenticate"] = 'Bearer realm="netsuite", error="invalid_token"'
        return json_reply(self.status, {**body, "o:errorDetails": [details]}, headers)


def user_error(detail: str) -> NetsuiteError:
    """The catch-all: only the text tells what is wrong."""
    return NetsuiteError(400, "USER_ERROR", f"Error while accessing a resource. {detail}")


def missing_values(names: list[str]) -> NetsuiteError:
    return user_error(f"Please enter value(s) for: {', '.join(names)}.")


def invalid_value(value: object, field: str, *, path: str) -> NetsuiteError:
    what = f"You have entered an Invalid Field Value {value} for the following field: {field}"
    return invalid_content(what, path=path)


def invalid_content(detail: str, *, path: str) -> NetsuiteError:
    where = {"o:errorPath": path}
    return NetsuiteError(400, "INVALID_CONTENT", f"Error while accessing resource: {detail}", where=where)


def invalid_parameter(detail: str, *, parameter: str) -> NetsuiteError:
    return NetsuiteError(400, "INVALID_PARAMETER", detail, where={"o:errorQueryParam": parameter})


def not_allowed(detail: str) -> NetsuiteError:
    return NetsuiteError(405, "INVALID_REQUEST", detail)


def invalid_login() -> NetsuiteError:
    return NetsuiteError(
        401,
        "INVALID_LOGIN",
        "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI at Setup > "
        "Users/Roles > User Management > View Login Audit Trail.",
    )


def no_such_record() -> NetsuiteError:
    return NetsuiteError(404, "NONEXISTENT_ID", "Record does not exist.")


def too_many_requests(*, status: int = 429, retry_after_s: int | None = None) -> NetsuiteError:
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    text = "Concurrent request limit exceeded. Request blocked."
    return NetsuiteError(status, "CONCURRENCY_LIMIT_EXCEEDED", text, headers=headers)


def unexpected(error_id: str = "jrgbpyylphhishmmlxyt") -> NetsuiteError:
    return NetsuiteError(500, "UNEXPECTED_ERROR", f"An unexpected error occurred. Error ID: {error_id}")


def malformed() -> NetsuiteError:
    return NetsuiteError(
        400, "INVALID_REQUEST", "The request could not be understood by the server due to malformed syntax."
    )
