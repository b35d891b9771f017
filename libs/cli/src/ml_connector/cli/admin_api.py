"""The admin service over HTTP: tokens, requests, errors.

In: paths below `/v1` and plain values. Out: the service's JSON as it is. What fails is one of three errors, in a line:
`Refused` (404, 409, 422), `TryLater` (it does not answer, or not now), `ConnectorError` (401, 403, the rest).
Never: printing a token.
"""

from __future__ import annotations

import functools
import getpass
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2
from cryptography.exceptions import UnsupportedAlgorithm

from ml_connector.cli.showing import one_line
from ml_connector.cli.tokens import AUDIENCE, ISSUER, make_token
from ml_connector.common.clock import SystemClock
from ml_connector.common.errors import BadInput, ConnectorError, TryLater

URL: Final = "MLC_ADMIN_URL"
TOKEN: Final = "MLC_ADMIN_TOKEN"  # noqa: S105  the variable's name
KEY_FILE: Final = "MLC_ADMIN_SIGNING_KEY_FILE"

DEFAULT_URL: Final = "http://127.0.0.1:8085"
# The service itself waits 30 s for a resolver; freezing a million dead letters takes it longer than that.
TIMEOUT: Final = httpx2.Timeout(120.0, connect=5.0)  # seconds
TOKEN_LIFETIME_S: Final = 300
PAGE: Final = 500  # entries; the service gives no more at once

Answer = dict[str, Any]


class Refused(BadInput):
    """What was asked for must change. `details`: places in the request, or candidates, each with a text."""

    def __init__(self, status: int, problem: str, details: list[tuple[str, str]]) -> None:
        super().__init__("; ".join([problem, *(f"{place}: {text}" if place else text for place, text in details)]))
        self.status = status
        self.problem = problem
        self.details = details


# -- tokens ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Credentials:
    """`variable` is what to set when the tokens are not believed."""

    variable: str
    token: Callable[[], str]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Credentials:
        """A token that was given, else the key of a stack on this machine. Raises BadInput."""
        given = environment.get(TOKEN, "").strip()
        if given:
            if not (given.isascii() and given.isprintable()):
                raise BadInput(f"{TOKEN} holds no token: there are characters in it that none has")
            return cls(TOKEN, lambda: given)
        if not environment.get(KEY_FILE):
            raise BadInput(
                f"set {TOKEN} to a token of your identity provider, or {KEY_FILE} to the key of a stack "
                "on this machine (in the folder of a running `mlc up` nothing needs to be set)"
            )
        return cls(KEY_FILE, functools.partial(local_token, signing_key(environment), "admin", TOKEN_LIFETIME_S))


def signing_key(environment: Mapping[str, str]) -> str:
    """As PEM, from the file that `KEY_FILE` names. Raises BadInput."""
    file = environment.get(KEY_FILE)
    if not file:
        raise BadInput(f"set {KEY_FILE}, or ask in the folder of a running `mlc up`")
    try:
        return Path(file).read_text()
    except OSError as error:
        raise BadInput(f"{KEY_FILE}: {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{KEY_FILE}: {file} is not PEM") from error


def local_token(pem: str, role: str, lifetime_s: int) -> str:
    """Of the issuer that `mlc up` is. Raises BadInput."""
    now_s = SystemClock().now_ms() // 1000
    try:
        return make_token(
            pem,
            issuer=ISSUER,
            audience=AUDIENCE,
            subject=f"mlc:{_user()}",
            roles=[role],
            lifetime_s=lifetime_s,
            now_s=now_s,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # the text of none of them is repeated
        raise BadInput(f"{KEY_FILE} is not a private key as `mlc up` makes it") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container, where nobody has a name
        return f"uid-{os.getuid()}"


class _Bearer(httpx2.Auth):
    """A token for each request: one that was made at the start would not last a long watch."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["authorization"] = f"Bearer {self._token()}"
        yield request


# -- requests ----------------------------------------------------------------------------------------------------------


class AdminApi:
    """`with AdminApi.here() as api:`."""

    def __init__(self, url: str, credentials: Credentials, *, transport: httpx2.BaseTransport | None = None) -> None:
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise BadInput(f"{URL} is no URL") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise BadInput(f"{URL} must be a URL as {DEFAULT_URL}")
        self._place = f"{parsed.scheme}://{parsed.netloc.decode()}"  # without a user or a password
        self._variable = credentials.variable
        self._client = httpx2.Client(
            base_url=parsed, auth=_Bearer(credentials.token), timeout=TIMEOUT, transport=transport
        )

    @classmethod
    def here(cls) -> AdminApi:
        """As the environment says. Raises BadInput."""
        return cls(os.environ.get(URL) or DEFAULT_URL, Credentials.read(os.environ))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Members of `query` that are None are left out."""
        return self._ask("GET", path, params=_given(query))

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("POST", path, json=body)

    def put(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("PUT", path, json=body)

    def delete(self, path: str, query: Mapping[str, Any]) -> Answer:
        """Members of `query` that are None are left out."""
        return self._ask("DELETE", path, params=_given(query))

    def pages(
        self, path: str, member: str, *, most: int, query: Mapping[str, Any] | None = None, step: str = "cursor"
    ) -> Answer:
        """Page after page, as one answer of up to `most` entries. `step`: which parameter takes `next`."""
        found: list[Any] = []
        query = dict(query or {})
        while True:
            answer = self.get(path, {**query, "limit": min(most - len(found), PAGE)})
            found += answer.get(member, [])
            if answer.get("next") is None or len(found) >= most:
                return {**answer, member: found}
            query[step] = answer["next"]

    def _ask(self, method: str, path: str, **options: Any) -> Answer:
        try:
            answer = self._client.request(method, f"v1/{path}", **options)
        except httpx2.ReadTimeout as error:
            perhaps = "" if method == "GET" else "; it may do it all the same: look before you ask again"
            raise TryLater(f"{self._place} did not answer in {TIMEOUT.read:.0f} s{perhaps}") from error
        except httpx2.HTTPError as error:
            kind = type(error).__name__
            raise TryLater(
                f"{self._place} does not answer ({kind}): is the admin service running there? ({URL} says where)"
            ) from error
        if answer.is_success:
            return self._read(answer)
        raise self._error(answer)

    def _read(self, answer: httpx2.Response) -> Answer:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConnectorError(f"{self._place} is not the admin service: it answers no JSON object")
        return found

    def _error(self, answer: httpx2.Response) -> ConnectorError:
        found = _problem(answer)
        if found is None and answer.status_code in (404, 405):
            return ConnectorError(
                f"{self._place} is not the admin service, or another version of it: {URL} says where it is"
            )
        problem, details = found or (answer.reason_phrase or str(answer.status_code), [])
        match answer.status_code:
            case 401:
                return ConnectorError(f"not believed: {problem}; set {TOKEN} to a valid token{self._from_key()}")
            case 403:
                return ConnectorError(f"not allowed: {problem}")
            case 404 | 409 | 422:
                return Refused(answer.status_code, problem, details)
            case 429 | 503:
                return TryLater(f"not now: {problem}")
        return ConnectorError(f"the admin service answered {answer.status_code}: {problem}")

    def _from_key(self) -> str:
        return (
            "" if self._variable == TOKEN else f" (this one was made with {KEY_FILE}: does the service have its half?)"
        )


def _given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _problem(answer: httpx2.Response) -> tuple[str, list[tuple[str, str]]] | None:
    """Of the form that `api.problems` has."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("problem"), str):
        return None
    details = [one for one in found.get("details") or [] if isinstance(one, dict)]
    return one_line(found["problem"]), [(one_line(one.get("path")), one_line(one.get("problem"))) for one in details]
