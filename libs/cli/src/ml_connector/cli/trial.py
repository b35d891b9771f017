"""mlc trial: what a stack on one machine needs before its first event. docker-compose.yml runs these as jobs."""

from __future__ import annotations

import asyncio
import json
import secrets as random_secrets
from pathlib import Path
from typing import Annotated, Final

import typer

from ml_connector.cli.developing import DevelopmentFlow
from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.say import out, plainly
from ml_connector.cli.tokens import jwks_of, new_signing_key
from ml_connector.common.settings import Settings
from ml_connector.common.vault import Vault, new_key

app = typer.Typer(help="A stack on one machine: its keys, a flow with the stand-ins.", no_args_is_help=True)

API_TOKEN: Final = "trial"  # noqa: S105  of the stand-in, which nobody else reaches
PER_USER: Final = 0o400
# PostgreSQL's image reads its password as another user than ours; nobody but that container has the folder.
PER_CONTAINER: Final = 0o444


@app.command()
@plainly
def keys(
    to: Annotated[Path, typer.Argument(help="Gets the folders vault, admin, postgres and operator.")],
    database: Annotated[str, typer.Option(help="Where PostgreSQL is: <user>@<host>:<port>/<name>.")],
) -> None:
    """Make the keys and passwords of a stack, each in the folder of who needs it; those that exist stay."""
    known = set(to.rglob("*"))
    password = _kept(to / "postgres" / "password", random_secrets.token_urlsafe(32), PER_CONTAINER)
    user, _, place = database.partition("@")
    _kept(to / "admin" / "MLC_ADMIN_DATABASE_URL", f"postgresql+psycopg://{user}:{password}@{place}", PER_USER)
    pem = _kept(to / "operator" / "admin-key.pem", new_signing_key(), PER_USER)
    _kept(to / "admin" / "jwks.json", json.dumps(jwks_of(pem)), PER_USER)
    _kept(to / "vault" / "keys", new_key("trial"), PER_USER)
    made = sum(path.is_file() for path in set(to.rglob("*")) - known)
    out.print(f"made {made} files" if made else "all keys are there")


@app.command()
@plainly
def flow(
    pipedrive: Annotated[str, typer.Option(help="The Pipedrive stand-in, as this command reaches it.")],
    netsuite: Annotated[str, typer.Option(help="The NetSuite stand-in, as this command reaches it.")],
    ingest: Annotated[str, typer.Option(help="ingest, as the Pipedrive stand-in reaches it.")],
    resolver_sees: Annotated[str, typer.Option(help="The Pipedrive stand-in, as the resolver reaches it.")] = "",
    writer_sees: Annotated[str, typer.Option(help="The NetSuite stand-in, as the writer reaches it.")] = "",
) -> None:
    """Set up a company, an account and a flow between them; the company's api token is `trial`."""
    settings = Settings.load()
    inside = {"pipedrive": resolver_sees or pipedrive, "netsuite": writer_sees or netsuite}
    made = DevelopmentFlow(inside, api_token=API_TOKEN)
    vault = Vault.from_text(settings.vault_key_text())
    made.write(TopicWriter(settings.kafka(), prefix=settings.topic_prefix, vault=vault), by="mlc trial")
    asyncio.run(_set_up(made, pipedrive, netsuite, ingest))
    out.print("the flow is active: what changes at the Pipedrive stand-in arrives at the NetSuite stand-in")


async def _set_up(made: DevelopmentFlow, pipedrive: str, netsuite: str, ingest: str) -> None:
    await made.register({"pipedrive": pipedrive, "netsuite": netsuite})
    await made.subscribe(pipedrive, ingest)


def _kept(path: Path, text: str, mode: int) -> str:
    """What the file holds; it is made with `text` if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_text(text, encoding="utf-8")
        partial.chmod(mode)
        partial.rename(path)
    return path.read_text(encoding="utf-8")
