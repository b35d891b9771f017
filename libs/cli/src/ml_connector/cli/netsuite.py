"""mlc netsuite: polls (`drift.py`), and the key pair by which we log in at NetSuite, and until when it is good.

The private key is written to one new file and read from none; it is never printed.
Exit codes: 0 made, or valid; 1 not valid now; 2 the command was wrong.
"""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from ml_connector.cli import drift
from ml_connector.cli.certificates import Key, Pair, make
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import counted, hint, say
from ml_connector.common.certificates import Certificate
from ml_connector.common.clock import SystemClock
from ml_connector.common.errors import BadInput, Malformed

app = typer.Typer(help="What NetSuite needs of us, and what was changed there.", no_args_is_help=True)
certificate_app = typer.Typer(help="The certificate of OAuth 2.0 client credentials.", no_args_is_help=True)
app.add_typer(certificate_app, name="certificate")
app.command("poll")(drift.poll)
app.command("polls")(drift.polls)
app.command("cancel-poll")(drift.cancel)

KEY_FILE: Final = "netsuite.key"
CERTIFICATE_FILE: Final = "netsuite.pem"  # NetSuite's upload takes .cer, .pem and .crt
SOON_DAYS: Final = 30
_MAX_BYTES: Final = 1 << 20  # no certificate comes near; a wrong file is not read whole
_NEXT: Final = """\
Upload the certificate in NetSuite, never the key: Setup > Integration > Manage Authentication >
OAuth 2.0 Client Credentials (M2M) Setup > Create New, with the entity, the role and the application (its integration
record, "Client Credentials (Machine to Machine) Grant" ticked). NetSuite then shows the Certificate ID. Put both ids
in, and the account:

  jq -n --rawfile key {key} --rawfile certificate {certificate} '{{
    client_id: "CLIENT ID", certificate_id: "CERTIFICATE ID",
    private_key_pem: $key, certificate_pem: $certificate, algorithm: "{algorithm}"}}' |
    mlc secrets set netsuite/ACCOUNT oauth2-m2m --environment sandbox --file /dev/stdin

A production account: --environment production. Each account needs this of its own; a refresh of a sandbox undoes it."""


@certificate_app.command("new")
@plainly
def new(
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where both files go.")],
    key: Annotated[Key, typer.Option(help="The kind of key.")] = Key.rsa_3072,
    days: Annotated[int, typer.Option(help="How long it is good; NetSuite takes 730 at most.")] = 730,
    name: Annotated[str, typer.Option(help="The certificate's subject, which NetSuite shows.")] = "ml-connector",
) -> None:
    """Make a private key and its certificate in two new files. Overwrites nothing, prints no key."""
    pair = make(key, name=name, days=days, now=_now())
    _write(folder, pair)
    say(f"private key  {folder / KEY_FILE} (keep it; only you can read it)")
    say(f"certificate  {folder / CERTIFICATE_FILE}")
    _describe(Certificate.read(pair.certificate))
    say(f"algorithm    {key.algorithm}")
    hint("\n" + _next(folder, key))


@certificate_app.command("show")
@plainly
def show(file: Annotated[Path, typer.Argument(help="A certificate, PEM or DER.")]) -> None:
    """Say whose it is and until when it is good; exit code 1 when it is not good now."""
    certificate, now = _read(file), _now()
    _describe(certificate)
    if now >= certificate.ends:
        days = counted((now - certificate.ends).days, "day")
        say(f"expired {days} ago: make a new one, upload it, and set the credential again")
        raise typer.Exit(1)
    if now < certificate.begins:
        say("not valid yet: is this machine's clock right?")
        raise typer.Exit(1)
    left = (certificate.ends - now).days
    say(f"days left    {left}")
    if left < SOON_DAYS:
        say(f"less than {SOON_DAYS} days are left: make a new one and upload it before this one ends")


def _next(folder: Path, key: Key) -> str:
    files = {"key": folder / KEY_FILE, "certificate": folder / CERTIFICATE_FILE}
    return _NEXT.format(**{what: shlex.quote(str(file)) for what, file in files.items()}, algorithm=key.algorithm)


def _describe(certificate: Certificate) -> None:
    say(f"subject      {' '.join(certificate.subject.split())}")
    say(f"key          {certificate.key}")
    say(f"valid        {certificate.begins:%Y-%m-%d %H:%M} to {certificate.ends:%Y-%m-%d %H:%M} UTC")
    say(f"fingerprint  SHA-256 {certificate.fingerprint}")


def _read(file: Path) -> Certificate:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror})") from error
    try:
        return Certificate.read(data)
    except Malformed as error:
        raise BadInput(f"{file} {error}") from error


def _write(folder: Path, pair: Pair) -> None:
    """Both files or none. Raises BadInput."""
    made: list[Path] = []
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, data, mode in (
            (KEY_FILE, pair.private_key, 0o600),
            (CERTIFICATE_FILE, pair.certificate, 0o644),
        ):
            # O_EXCL: neither a file nor a link that somebody laid there is ever written to.
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                made.append(folder / name)
                file.write(data)
    except FileExistsError as error:
        _remove(made)
        raise BadInput(f"{error.filename} is there already and is not overwritten: name another folder") from error
    except OSError as error:
        _remove(made)
        raise BadInput(f"{folder} cannot be written to ({error.strerror}): name another folder") from error


def _remove(made: list[Path]) -> None:
    for path in made:
        path.unlink()


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now_ms() // 1000, UTC)
