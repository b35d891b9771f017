"""mlc flows: one Pipedrive company, one NetSuite account, one mapping."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ml_connector.cli import flow_writing
from ml_connector.cli.flow_files import read_flow_file
from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.reading import flow_book
from ml_connector.cli.say import out, plainly
from ml_connector.common.errors import InvalidFlow
from ml_connector.common.settings import Settings
from ml_connector.common.vault import Vault

app = typer.Typer(help="Flows: one Pipedrive company, one NetSuite account, one mapping.", no_args_is_help=True)
app.command("init")(flow_writing.init)
app.command("validate")(flow_writing.validate)


@app.command("apply")
@plainly
def apply(file: Annotated[Path, typer.Argument(help="A flow in YAML.")]) -> None:
    """Check a flow (every problem with its line), give it the next version and activate it."""
    settings = Settings.load()
    document, lines = read_flow_file(file)
    try:
        version = _writer(settings).flow(document, by=f"mlc:{getpass.getuser()}")
    except InvalidFlow as error:
        raise InvalidFlow([lines.place(problem) for problem in error.problems]) from error
    out.print(f"flow {document['flow']}: version {version} is active")


@app.command("list")
@plainly
def list_() -> None:
    """List the flows with their active versions."""
    settings = Settings.load()
    book = flow_book(settings.kafka(), settings.topic_prefix)
    table = Table("flow", "version", "company", "account", "environment", "state")
    for name in book.names():
        live = book.live(name)
        if live is not None:
            flow = live.flow
            state = "paused" if live.paused else "active"
            account = flow.netsuite.account
            table.add_row(name, str(live.version), flow.pipedrive.company, account, flow.environment, state)
    out.print(table)


@app.command("pause")
@plainly
def pause(flow: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Write nothing of this flow to NetSuite; its events go on being accepted and wait."""
    _writer(Settings.load()).pause(flow, paused=True)
    out.print(f"flow {flow} is paused")


@app.command("resume")
@plainly
def resume(flow: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Let a flow go on that was paused, or halted because its records were rejected one after the other."""
    _writer(Settings.load()).pause(flow, paused=False)
    out.print(f"flow {flow} goes on")


def _writer(settings: Settings) -> TopicWriter:
    vault = Vault.from_text(settings.vault_key_text())
    return TopicWriter(settings.kafka(), prefix=settings.topic_prefix, vault=vault)
