"""mlc secrets, mlc vault: credentials, stored encrypted by the admin service, and the keys that encrypt them.

A credential comes from a file, from stdin or from a prompt: what is an argument can be seen by everybody on a machine.
"""

from __future__ import annotations

import getpass
import json
import re
import stat
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.looking import look
from ml_connector.cli.options import Json
from ml_connector.cli.say import err, out, plainly
from ml_connector.cli.showing import add, counted, hint, one_line, say, show, table, tell
from ml_connector.common.errors import BadInput, ConnectorError
from ml_connector.common.vault import new_key

app = typer.Typer(help="Credentials, stored encrypted.", no_args_is_help=True)
vault = typer.Typer(help="Key-encryption keys.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(help="flow/<flow>, pipedrive/<company> or netsuite/<account>.")]
Name = Annotated[
    str,
    typer.Argument(
        help="webhook-hmac, webhook-basic, netsuite-push, api-token, oauth2-client, oauth2, oauth2-m2m or tba."
    ),
]
Why = Annotated[str, typer.Option("--reason", help="Why. It is recorded with your name.")]
Expect = Annotated[int | None, typer.Option(help="Only if this version is stored now (0: only if there is none).")]

_OWNER: Final = re.compile(r"(flow|pipedrive|netsuite)/[A-Za-z0-9_-]{1,63}\Z")
_NAME: Final = re.compile(r"[a-z0-9-]{1,40}\Z")
_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH


@app.command("set")
@plainly
def set_(
    owner: Owner,
    name: Name,
    environment: Annotated[
        str | None, typer.Option(help="sandbox or production (default: that of the account, or of its flows).")
    ] = None,
    file: Annotated[str | None, typer.Option(help="A file with the secret as JSON; - is stdin (default: ask).")] = None,
    reason: Why = "",
    expect: Expect = None,
    as_json: Json = False,
) -> None:
    """Encrypt and store a credential. It is read from a file, stdin or a prompt, never from an argument."""
    if environment not in {None, "sandbox", "production"}:
        raise BadInput("--environment must be sandbox or production")
    path = _path(owner, name)
    body = {"value": _read(file), "environment": environment, "expect": expect, "reason": reason}
    with AdminApi.here() as api:
        answer = api.put(path, body)
    _tell(answer, f"version {answer['version']} stored for {one_line(answer['environment'])}", as_json)


@app.command("list")
@plainly
def list_(as_json: Json = False) -> None:
    """List what is stored, and which flows need it; never the values."""
    look(lambda api: api.get("secrets"), _list, as_json=as_json)


def _list(answer: Answer) -> None:
    made = table("secret", "version", "environment", "key", rest="flows")
    for one in answer["secrets"]:
        add(made, one["key"], one["version"], one["environment"], one["kek"], ", ".join(one["used_by"]))
    show(made)


@app.command("delete")
@plainly
def delete(
    owner: Owner,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also what an active flow needs.")] = False,
    reason: Why = "",
    expect: Expect = None,
    as_json: Json = False,
) -> None:
    """Delete a credential. Its versions are never given again."""
    query = {"force": force or None, "reason": reason or None, "expect": expect}
    with AdminApi.here() as api:
        answer = api.delete(_path(owner, name), query)
    _tell(answer, f"version {answer['version']} deleted", as_json)


@vault.command("key")
@plainly
def key(name: Annotated[str, typer.Option(help="The key's id.")] = "k1") -> None:
    """Make a key-encryption key, in the form that MLC_VAULT_KEYS wants."""
    if not name or set(name) & set(":, \t\n"):
        raise BadInput(f"--name {one_line(name)}: the id of a key has no colon, comma or space")
    out.print(new_key(name))


@vault.command("status")
@plainly
def status(as_json: Json = False) -> None:
    """Show what each key encrypts, and which key may be removed."""
    look(lambda api: api.get("vault"), _show_keys, as_json=as_json)


def _show_keys(answer: Answer) -> None:
    made = table("key", "entries", "tokens", rest="")
    for one in answer["keys"]:
        add(made, one["id"], one["entries"], one["tokens"], _state(one, answer["active"]))
    show(made)
    if answer["untold"]:
        hint(f"{counted(answer['untold'], 'change')} not told to the services yet: ask again")


@vault.command("rotate")
@plainly
def rotate(reason: Why = "", as_json: Json = False) -> None:
    """Encrypt the data key of every credential anew with the first key. Stopped anywhere, run it again."""
    with AdminApi.here() as api:
        answer = api.post("vault/rotate", {"reason": reason})
    if as_json:
        tell(answer)
    else:
        say(f"{counted(answer['rewrapped'], 'credential')} now under key {one_line(answer['active'])}")
    if answer["unreadable"]:
        names = ", ".join(one_line(name) for name in answer["unreadable"])
        raise ConnectorError(f"no key of the admin service opens {names}: give it the key, or set them anew")


def _state(key: Answer, active: str) -> str:
    if key["id"] == active:
        return "active"
    if not key["here"]:
        return "not in MLC_VAULT_KEYS of the admin service"
    return "may be removed" if key["removable"] else "needed"


def _path(owner: str, name: str) -> str:
    if not _OWNER.match(owner):
        raise BadInput(f"{one_line(owner)} is no owner: write flow/<flow>, pipedrive/<company> or netsuite/<account>")
    if not _NAME.match(name):
        raise BadInput(f"{one_line(name)} is no name of a credential")
    return f"secrets/{owner}/{name}"


def _read(file: str | None) -> dict[str, Any]:
    """Raises BadInput, which never quotes what was read."""
    try:
        value = json.loads(secret_text(file, "the secret, as JSON on one line: "))
    except (ValueError, RecursionError):
        raise BadInput("the secret is not JSON") from None
    if not isinstance(value, dict):
        raise BadInput('the secret is no JSON object: write {"...": ...}')
    return value


def secret_text(file: str | None, prompt: str) -> str:
    """From a file, from stdin (`-`) or from whoever sits there. Raises BadInput, FileNotFoundError."""
    try:
        if file is None:
            return getpass.getpass(prompt)
        if file == "-":
            return sys.stdin.read()
        mode = Path(file).stat().st_mode
        text = Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except EOFError:
        raise BadInput("nobody answered: name a file that holds it, or - for stdin") from None
    except UnicodeDecodeError:
        raise BadInput(f"{'stdin' if file == '-' else file} is no text in UTF-8") from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror})") from error
    if stat.S_ISREG(mode) and mode & _OTHERS:
        err.print(f"{one_line(file)} can be read by others on this machine: chmod 600, or delete it", markup=False)
    return text


def _tell(answer: Answer, what: str, as_json: bool) -> None:
    if as_json:
        tell(answer)
    else:
        say(f"{one_line(answer['key'])}: {what}")
