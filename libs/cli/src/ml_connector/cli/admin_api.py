"""The admin service over HTTP, and how its answers look in a terminal.

In: paths below `/v1` and plain values. Out: the service's JSON as it is. What fails is one of three errors, in a line:
`Refused` (404, 409, 422), `TryLater` (it does not answer, or not now), `ConnectorError` (401, 403, the rest).
Never: printing a token, or a control character that came from outside.
"""

from __future__ import annotations

import functools
import getpass
import inspect
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self, get_type_hints

import httpx2
import typer
from cryptography.exceptions import UnsupportedAlgorithm
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ml_connector.cli.say import err, out
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
PIPE_WIDTH: Final = 100  # columns of a table that goes into a file or a pipe
GAP: Final = 2  # between two columns
LEAST: Final = 12  # of a column that is cut

Answer = dict[str, Any]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Reason = Annotated[str, typer.Option(help="Why. It is recorded with your name.")]
Id = Annotated[str, typer.Argument(help="Its id, twelve hexadecimal digits.", metavar="ID")]


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
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("POST", path, json=body)

    def put(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("PUT", path, json=body)

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
        problem, details = _problem(answer)
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


def _problem(answer: httpx2.Response) -> tuple[str, list[tuple[str, str]]]:
    """Of the form that `api.problems` has; of any other answer no more than its status."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("problem"), str):
        return answer.reason_phrase or str(answer.status_code), []
    details = [one for one in found.get("details") or [] if isinstance(one, dict)]
    return one_line(found["problem"]), [(one_line(one.get("path")), one_line(one.get("problem"))) for one in details]


# -- what is typed -----------------------------------------------------------------------------------------------------

_ID: Final = re.compile(r"[0-9a-f]{12}\Z")
_AGO: Final = re.compile(r"(\d{1,6})([smhdw])\Z")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def id_of(text: str) -> str:
    """An id as it stands in a path. Raises BadInput."""
    if not _ID.match(text.strip().lower()):
        raise BadInput(f"{one_line(text)} is no id: it has twelve hexadecimal digits; the lists show them")
    return text.strip().lower()


def moment(text: str, now: datetime) -> str:
    """`2h` ago, or a date or time in ISO 8601 (without a zone it is UTC), as the service takes it. Raises BadInput."""
    ago = _AGO.match(text.strip())
    try:
        found = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{one_line(text)} is no time: write 30m, 2h, 7d, or 2026-07-28T03:00") from error
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def takes(**kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Parameters that are dataclasses become one option for each of their fields: many options, few arguments."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own if one.name not in kinds]
        for kind in kinds.values():
            parameters += _options(kind)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            made = {
                name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
                for name, kind in kinds.items()
            }
            command(**given, **made)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
        return run

    return decorate


def _options(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]


# -- what is shown -----------------------------------------------------------------------------------------------------

# Besides what controls a terminal: marks that turn the direction of what follows them.
_HARMFUL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ENTITIES: Final = {"organization": "org"}


def clean(value: object) -> str:
    """As text in which nothing acts on a terminal; lines and tabs stay."""
    text = "" if value is None else str(value)
    return "".join("\N{REPLACEMENT CHARACTER}" if _acts(one) else one for one in text)


def _acts(one: str) -> bool:
    return one not in "\n\t" and (one in _TURNING or unicodedata.category(one) in _HARMFUL)


def one_line(value: object) -> str:
    return clean(" ".join(("" if value is None else str(value)).split()))


def pretty(value: object) -> str:
    """JSON for reading; text as it is."""
    return clean(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def time_of(value: object) -> datetime | None:
    """ISO 8601, as the service writes it."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def when(value: object) -> str:
    """`2026-07-28 03:00:12Z`; a dash for never."""
    found = time_of(value)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if found is not None else "-"


def age(value: object) -> str:
    """`42s`, `7m`, `3h`, `12d`."""
    found = time_of(value)
    if found is None:
        return "-"
    seconds = max(0.0, SystemClock().now_ms() / 1000 - found.timestamp())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def object_of(one: Mapping[str, Any]) -> str:
    """`org 5`: what `mlc record show` takes; the record's key where no object is known."""
    entity, source_id = one.get("entity"), one.get("source_id")
    if entity and source_id:
        return one_line(f"{_ENTITIES.get(entity, entity)} {source_id}")
    return one_line(one.get("record_key"))


def table(*columns: str, rest: str) -> Table:
    """`columns` stay whole, each on one line; `rest` is what is left of the width, and is cut."""
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), expand=True, header_style="bold")
    for name in columns:
        made.add_column(name, no_wrap=True)
    made.add_column(rest, ratio=1, no_wrap=True, overflow="ellipsis")
    return made


def add(made: Table, *values: object) -> None:
    made.add_row(*(Text(one_line(value)) for value in values))


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """A name and a value on each line; pairs without a value are left out."""
    made = Table.grid(padding=(0, GAP, 0, 0))
    made.add_column(no_wrap=True, style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            made.add_row(name, Text(one_line(value)))
    return made


def show(what: RenderableType) -> None:
    """Fitted to the terminal, or to `PIPE_WIDTH`; wider only where an id would be cut, since people copy ids."""
    width = out.width if out.is_terminal else PIPE_WIDTH
    if isinstance(what, Table):
        width = max(width, _least(what))
    console = out if width <= out.width else Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(what, width=width, soft_wrap=False)
    lines = captured.get().rstrip("\n").split("\n")
    sys.stdout.write("\n".join(line.rstrip(" ") for line in lines) + "\n")


def _least(made: Table) -> int:
    """All columns but the last one whole, and something of that."""
    whole = [Text.from_markup(str(column.header)).cell_len for column in made.columns[:-1]]
    for place, column in enumerate(made.columns[:-1]):
        whole[place] = max(whole[place], *(cell.cell_len for cell in column.cells if isinstance(cell, Text)), 0)
    return sum(whole) + GAP * len(whole) + LEAST


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(text: str) -> None:
    """A line of the result, as long as it is."""
    out.print(Text(clean(text)))


def hint(text: str) -> None:
    """Beside the result: on stderr."""
    err.print(Text(clean(text), style="dim"))


def tell(answer: Answer) -> None:
    """The answer for machines."""
    sys.stdout.write(json.dumps(answer) + "\n")


def tell_behind(answer: Answer) -> None:
    """Whether there may be more than was shown."""
    behind = answer.get("behind") or {}
    if behind.get("ready") is False:
        hint("the admin service reads the topics for the first time: this is not all")
    elif behind.get("messages"):
        hint(f"{counted(behind['messages'], 'message')} behind the topics")
