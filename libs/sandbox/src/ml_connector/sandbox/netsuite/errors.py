"""Error bodies as Oracle prints them (tests/data/netsuite; facts/netsuite.md section 7)."""

from __future__ import annotations

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
    """An error answer. `path` names the member of the body that is meant."""

    def __init__(self, status: int, code: str, detail: str, *, path: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.path = path

    def reply(self) -> Reply:
        kind, title = _KINDS.get(self.status, (_RFC, "Error"))
        details: dict[str, Any] = {"detail": self.detail, "o:errorCode": self.code}
        if self.path is not None:
            details["o:errorPath"] = self.path
        body: dict[str, Any] = {"type": kind, "title": title, "status": self.status}
        if self.status == 429:
            body["o:errorCode"] = "USER_ERROR"  # the printed 429 has the real code in the details only
        headers = {"content-type": _MEDIA_TYPE}
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
    return NetsuiteError(400, "INVALID_CONTENT", f"Error while accessing resource: {what}", path=path)


def invalid_login() -> NetsuiteError:
    return NetsuiteError(
        401,
        "INVALID_LOGIN",
        "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI at Setup > "
        "Users/Roles > User Management > View Login Audit Trail.",
    )


def no_such_record() -> NetsuiteError:
    return NetsuiteError(404, "NONEXISTENT_ID", "Record does not exist.")


def too_many_requests() -> NetsuiteError:
    return NetsuiteError(429, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked.")


def unexpected(error_id: str = "jrgbpyylphhishmmlxyt") -> NetsuiteError:
    return NetsuiteError(500, "UNEXPECTED_ERROR", f"An unexpected error occurred. Error ID: {error_id}")


def malformed() -> NetsuiteError:
    return NetsuiteError(
        400, "INVALID_REQUEST", "The request could not be understood by the server due to malformed syntax."
    )
