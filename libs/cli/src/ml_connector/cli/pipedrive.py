"""mlc pipedrive connect: a company's administrator lets our app in, by OAuth 2.0.

The URL is printed and nowhere kept: who opens it decides which access is stored.
Exit codes: 0 connected, or not waited for; 1 not connected in time; 2 the command was wrong; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from ml_connector.cli import following
from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import Json, flow_name
from ml_connector.cli.say import err, fail, out, plainly
from ml_connector.cli.showing import hint, one_line, say, tell, time_of, when
from ml_connector.common.clock import SystemClock
from ml_connector.common.errors import ConnectorError, TryLater

app = typer.Typer(help="What Pipedrive needs of us.", no_args_is_help=True)


Where = Literal["sandbox", "production"]


@app.callback()
def _group() -> None:
    """One command today; without this typer would leave its name out."""


@app.command("connect")
@plainly
def connect(
    company: Annotated[str, typer.Argument(help="The company, as its flows name it.")],
    environment: Annotated[
        Where | None, typer.Option(help="sandbox or production (default: that of the company's flows).")
    ] = None,
    wait: Annotated[
        bool | None, typer.Option("--wait/--no-wait", help="Until it is connected (default: on a terminal).")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why. It is recorded with your name.")] = "",
    as_json: Json = False,
) -> None:
    """Print the address where an administrator of the company allows access; wait until that is stored."""
    waits = wait if wait is not None else out.is_terminal and not as_json
    with AdminApi.here() as api:
        path = f"pipedrive/{flow_name(company)}/connect"
        asked = api.post(path, {"environment": environment, "reason": reason})
        if not as_json:
            say(one_line(asked["authorize_url"]))
            hint(_todo(company, asked))
        elif waits:
            hint(one_line(asked["authorize_url"]))
        version = _wait(api, company, asked) if waits else None
    if as_json:
        tell({**asked, "connected": version})
    elif version is not None:
        say(f"{one_line(company)} is connected: pipedrive/{one_line(company)}/oauth2 has version {version}")


def _todo(company: str, asked: Answer) -> str:
    return (
        f"Open it in a browser, logged in to {one_line(company)} in Pipedrive as an administrator, and agree.\n"
        f"It is good once, until {when(asked['expires_at'])}, for {one_line(asked['environment'])}. Whoever has it can"
        " connect an account of their own: give it to nobody else."
    )


def _wait(api: AdminApi, company: str, asked: Answer) -> int:
    """The version of the new grant. Raises ConnectorError when the time is over."""
    ends = time_of(asked["expires_at"])
    if ends is None:
        raise ConnectorError(
            "the admin service does not say until when the address is good: look with mlc secrets list"
        )
    try:
        with err.status("waiting for the administrator ..."):
            while SystemClock().now_ms() < ends.timestamp() * 1000:
                version = _stored(api, company)
                if version > asked["version"]:
                    return version
                time.sleep(following.LOOK_S)
    except KeyboardInterrupt:
        raise fail(
            "the address stays good; mlc secrets list shows whether it was used", following.INTERRUPTED
        ) from None
    raise ConnectorError(f"{one_line(company)} was not connected in time: run mlc pipedrive connect again")


def _stored(api: AdminApi, company: str) -> int:
    """0: there is none, or the service does not answer just now."""
    try:
        found = api.get("secrets")["secrets"]
    except TryLater:
        return 0
    key = f"pipedrive/{company}/oauth2"
    return max((int(one["version"]) for one in found if one["key"] == key), default=0)
