"""mlc: run, feed, read and check ml-connector from a terminal."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import runpy
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.table import Table

from ml_connector.cli import accounting as books
from ml_connector.cli import (
    dlq,
    drift,
    flows,
    netsuite,
    pipedrive,
    reconciles,
    records,
    replays,
    schedules,
    secrets,
    syncs,
    webhooks,
)
from ml_connector.cli import tail as tailing
from ml_connector.cli.doctor import doctor
from ml_connector.cli.options import flow_name
from ml_connector.cli.reading import newest_by_key
from ml_connector.cli.reconciling import reconcile
from ml_connector.cli.rendering import topics_text, users_text
from ml_connector.cli.running import borrow
from ml_connector.cli.say import USAGE, err, fail, out, plainly
from ml_connector.cli.stack import ALL, StackOptions
from ml_connector.cli.syncing import sync
from ml_connector.cli.trial import app as trial
from ml_connector.cli.up import run_up
from ml_connector.common import topics
from ml_connector.common.credentials import WebhookHmac
from ml_connector.common.errors import BadInput, InvalidSettings
from ml_connector.common.kafka.admin import TopicSpec, ensure_topics, partition_counts
from ml_connector.common.settings import Settings
from ml_connector.common.vault import SecretEntry, Vault, secret_key

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
topics_app = typer.Typer(help="The Kafka topics.", no_args_is_help=True)
for name, group in {
    "topics": topics_app,
    "flows": flows.app,
    "secrets": secrets.app,
    "vault": secrets.vault,
    "netsuite": netsuite.app,
    "pipedrive": pipedrive.app,
    "webhooks": webhooks.app,
    "drift": drift.app,
    "dlq": dlq.app,
    "replay": replays.app,
    "syncs": syncs.app,
    "schedule": schedules.app,
    "reconciles": reconciles.app,
    "record": records.app,
    "trial": trial,
}.items():
    app.add_typer(group, name=name)
app.command("token")(records.token)
app.command("sync")(sync)
app.command("reconcile")(reconcile)
app.command("doctor")(doctor)


@app.callback()
def _main(context: typer.Context) -> None:
    """Run, feed, read and check ml-connector.

    Settings come from MLC_* variables (docs/configuration.md), or from `mlc up` in another terminal of this folder.
    """
    if context.invoked_subcommand not in {"up", "demo", "sandbox"}:
        borrow()


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class StandIn(StrEnum):
    """The vendors that can be stood in for."""

    pipedrive = "pipedrive"
    netsuite = "netsuite"


@app.command()
@plainly
def up(
    only: Annotated[str, typer.Option(help=f"Start only these, comma separated: {', '.join(ALL)}.")] = "",
    without: Annotated[str, typer.Option(help="Start all but these.")] = "",
    scale: Annotated[list[str] | None, typer.Option(help="Replicas of a service, as resolver=2. Repeatable.")] = None,
    keep_alive: Annotated[bool, typer.Option("--keep-alive", help="Restart a process that dies.")] = False,
    ready_file: Annotated[Path | None, typer.Option(help="Gets the `ready` JSON.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(file_okay=False, help="Keep the broker's data here (default: temporary).")
    ] = None,
) -> None:
    """Start broker, stand-ins and all services in one terminal, until Ctrl-C."""
    options = StackOptions(
        processes=_chosen(only, without), scale=_scale(scale or []), keep_alive=keep_alive, data_dir=data_dir
    )
    raise typer.Exit(asyncio.run(run_up(options, ready_file)))


@app.command()
@plainly
def demo(
    as_json: Json = False,
    share: Annotated[float, typer.Option(min=0.01, max=1.0, help="Play only this share of the company.")] = 1.0,
    stay: Annotated[bool, typer.Option("--stay", help="With the admin service; go on until Ctrl-C.")] = False,
) -> None:
    """Play a believable company through the whole product and compare NetSuite with what it should hold."""
    from ml_connector.cli.demo.play import run_demo

    raise typer.Exit(asyncio.run(run_demo(as_json=as_json, share=share, stay=stay)))


@app.command()
@plainly
def accounting(as_json: Json = False) -> None:
    """Recompute from the topics alone: accepted = written + superseded + ignored + dead-lettered + waiting."""
    settings = _settings()
    accounts = books.recompute(settings.kafka(), settings.topic_prefix)
    if as_json:
        sys.stdout.write(json.dumps({name: account.as_dict() for name, account in accounts.items()}) + "\n")
    else:
        for line in books.sentences(accounts):
            out.print(line)
    if not all(account.balanced for account in accounts.values()):
        raise typer.Exit(1)


@app.command()
@plainly
def send(
    file: Annotated[Path, typer.Argument(help="A webhook body; its bytes are signed and sent as they are.")],
    flow: Annotated[str, typer.Option(help="The flow to send it to.")],
    url: Annotated[str, typer.Option(help="Base URL of ingest.", envvar="MLC_INGEST_URL")] = "http://127.0.0.1:8080",
) -> None:
    """Sign a webhook body with the flow's key and post it to ingest."""
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"--url {url} is no URL: write it as http://127.0.0.1:8080")
    body = file.read_bytes()
    flow = flow_name(flow)
    signature = hmac.new(_signing_key(_settings(), flow), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-pipedrive-signature": signature}
    address = f"{url.rstrip('/')}/webhooks/pipedrive/{flow}"
    try:
        answer = httpx2.post(address, content=body, headers=headers, timeout=15)
    except httpx2.HTTPError as error:
        raise fail(f"{address} does not answer ({type(error).__name__}): is ingest running there?") from error
    out.print(f"{answer.status_code} {answer.reason_phrase} {answer.text.strip()}".strip())
    if answer.status_code != 204:
        raise typer.Exit(1)


@app.command()
@plainly
def tail(
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(t.name for t in topics.ALL)}.")],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Not only what comes from now on.")] = False,
    count: Annotated[int, typer.Option(min=0, help="End after so many messages; 0: never.")] = 0,
    as_json: Json = False,
) -> None:
    """Print the messages of a topic, readably. Secrets are never decoded."""
    declared = topics.by_name(topic)
    if declared is None:
        raise BadInput(f"{topic} is no topic of ours: use one of {', '.join(t.name for t in topics.ALL)}")
    tailing.run(_settings(), declared, from_beginning=from_beginning, count=count, as_json=as_json)


@app.command()
@plainly
def sandbox(
    vendor: Annotated[StandIn, typer.Argument(help="Whose stand-in to run.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
) -> None:
    """Run one stand-in by itself, for any developer of an integration."""
    os.environ[f"MLC_SANDBOX_{vendor.value.upper()}_PORT"] = str(port)
    runpy.run_module(f"ml_connector.sandbox.{vendor.value}", run_name="__main__")


@topics_app.command("apply")
@plainly
def topics_apply(
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
) -> None:
    """Make the topics that are missing; refuse when one has another partition count."""
    settings = _settings()
    declared = topics.with_prefix(settings.topic_prefix, settings.partitions)
    specs = [TopicSpec(name, count, config) for name, count, config in declared]
    made = ensure_topics(settings.kafka(), specs, replication_factor=replication_factor)
    out.print(f"made {len(made)} topics, {len(specs) - len(made)} were there")


class Rendered(StrEnum):
    """What `topics render` prints."""

    topics = "topics"
    users = "users"


@topics_app.command("render")
@plainly
def topics_render(
    what: Annotated[Rendered, typer.Argument(help="KafkaTopics, or KafkaUsers with the services' rights.")],
    cluster: Annotated[str, typer.Option(help="The name of Strimzi's Kafka.")] = "kafka",
    prefix: Annotated[str, typer.Option(help="As MLC_TOPIC_PREFIX of the services.")] = "",
    partitions: Annotated[int, typer.Option(min=1, help="As MLC_PARTITIONS of the services.")] = 48,
    replicas: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 3,
) -> None:
    """Print the topics, or who may do what with them, as Strimzi's resources."""
    if what is Rendered.topics:
        sys.stdout.write(topics_text(cluster, prefix=prefix, partitions=partitions, replicas=replicas))
    else:
        sys.stdout.write(users_text(cluster, prefix=prefix))


@topics_app.command("show")
@plainly
def topics_show() -> None:
    """List the declared topics beside what the broker has."""
    settings = _settings()
    have = partition_counts(settings.kafka())
    table = Table("topic", "partitions", "in the broker", "policy", "holds")
    for topic in topics.ALL:
        name = topic.full_name(settings.topic_prefix)
        wanted = topic.partitions(settings.partitions)
        found = str(have.get(name, "missing"))
        table.add_row(name, str(wanted), found, topic.config["cleanup.policy"], topic.purpose)
    out.print(table)


def _settings() -> Settings:
    """Raises BadInput."""
    try:
        return Settings.load()
    except InvalidSettings as error:
        raise BadInput(f"{error} (in the folder of a running `mlc up` nothing needs to be set)") from error


def _signing_key(settings: Settings, flow: str) -> bytes:
    owner = f"flow/{flow}"
    stored = newest_by_key(settings.kafka(), topics.SECRETS.full_name(settings.topic_prefix))
    value = stored.get(secret_key(owner, WebhookHmac.NAME))
    if value is None:
        raise BadInput(f"flow {flow} has no {WebhookHmac.NAME} secret: is its name right?")
    entry = SecretEntry.decode(value)
    vault = Vault.from_text(settings.vault_key_text())
    opened: dict[str, Any] = vault.decrypt(entry, owner=owner, name=WebhookHmac.NAME, environment=entry.environment)
    return WebhookHmac.read(opened).keys[0].secret.encode()


def _chosen(only: str, without: str) -> tuple[str, ...]:
    named = [name.strip() for name in f"{only},{without}".split(",") if name.strip()]
    unknown = [name for name in named if name not in ALL]
    if unknown:
        raise BadInput(f"{unknown[0]} is no process: use {', '.join(ALL)}")
    wanted = only.split(",") if only else list(ALL)
    return tuple(name for name in ALL if name in wanted and name not in without.split(","))


def _scale(given: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in given:
        name, _, count = part.partition("=")
        if name not in ALL or not count.isdigit() or int(count) < 1:
            raise BadInput(f"--scale {part}: write <process>=<number>, as resolver=2")
        found[name] = int(count)
    return found


def main() -> None:
    """The entry point of the package."""
    app()


__all__ = ["USAGE", "app", "err", "main"]
