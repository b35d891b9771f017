"""mlc secrets, mlc vault: credentials, stored encrypted, and the keys that encrypt them."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.reading import newest_by_key
from ml_connector.cli.say import out, plainly
from ml_connector.common import topics
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import environment_of
from ml_connector.common.settings import Settings
from ml_connector.common.vault import SecretEntry, Vault, new_key, secret_key

app = typer.Typer(help="Credentials, stored encrypted.", no_args_is_help=True)
vault = typer.Typer(help="Key-encryption keys.", no_args_is_help=True)


@app.command("set")
@plainly
def set_(
    owner: Annotated[str, typer.Argument(help="flow/<flow>, pipedrive/<company> or netsuite/<account>.")],
    name: Annotated[
        str, typer.Argument(help="webhook-hmac, webhook-basic, api-token, oauth2-client, oauth2 or oauth2-m2m.")
    ],
    environment: Annotated[str, typer.Option(help="sandbox or production.")],
    file: Annotated[Path | None, typer.Option(help="A file with the secret as JSON (default: ask).")] = None,
) -> None:
    """Encrypt and store a credential. It is read from a file or a prompt, never from an argument."""
    if environment not in {"sandbox", "production"}:
        raise BadInput("--environment must be sandbox or production")
    account = owner.partition("/")[2]
    if owner.startswith("netsuite/") and environment_of(account) != environment:
        raise BadInput(f"account {account} is a {environment_of(account)} account")
    text = file.read_text() if file is not None else getpass.getpass("the secret, as JSON on one line: ")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadInput("the secret is not JSON") from error
    version = _writer(Settings.load()).secret(owner, name, environment, value)  # type: ignore[arg-type]  # checked above
    out.print(f"{secret_key(owner, name)}: version {version} stored for {environment}")


@app.command("list")
@plainly
def list_() -> None:
    """List what is stored; never the values."""
    settings = Settings.load()
    table = Table("secret", "version", "environment", "key")
    for key, value in sorted(newest_by_key(settings.kafka(), topics.SECRETS.full_name(settings.topic_prefix)).items()):
        entry = SecretEntry.decode(value)
        table.add_row(key, str(entry.version), entry.environment, entry.kek)
    out.print(table)


@vault.command("key")
def key(name: Annotated[str, typer.Option(help="The key's id.")] = "k1") -> None:
    """Make a key-encryption key, in the form that MLC_VAULT_KEYS wants."""
    out.print(new_key(name))


def _writer(settings: Settings) -> TopicWriter:
    vault = Vault.from_text(settings.vault_key_text())
    return TopicWriter(settings.kafka(), prefix=settings.topic_prefix, vault=vault)
