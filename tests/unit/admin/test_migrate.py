"""The schema comes up to date by one process ahead of all, and the others wait for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Integer, String, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.types import TypeEngine

from ml_connector.admin.database import Database
from ml_connector.admin.database import _alembic as alembic
from ml_connector.admin.migrate import bring_up_to_date


class Steps:
    """A clock whose sleeps are what happens meanwhile."""

    def __init__(self, *meanwhile: object) -> None:
        self.meanwhile = list(meanwhile)

    def now_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        step = self.meanwhile.pop(0)
        if callable(step):
            step()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/admin.sqlite"


def migrate(url: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "MLC_KAFKA_BOOTSTRAP_SERVERS": "-",
        "MLC_ADMIN_ISSUER": "https://issuer.example",
        "MLC_ADMIN_DATABASE_URL": url,
    }
    command = [sys.executable, "-m", "ml_connector.admin", "migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


async def test_replica_waits_until_the_command_has_run(url: str) -> None:
    """And again is no error."""
    database = Database(url)
    told: list[int] = []
    clock = Steps(lambda: told.append(0), lambda: told.append(migrate(url).returncode))

    await bring_up_to_date(database, clock, itself=False)

    assert told == [0, 0]
    assert clock.meanwhile == []
    assert migrate(url).returncode == 0
    database.close()


async def test_release_that_was_rolled_back_takes_a_newer_schema(url: str) -> None:
    database = Database(url)
    await bring_up_to_date(database, Steps(), itself=True)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    await bring_up_to_date(database, Steps(), itself=False)

    database.close()


def test_step_only_adds_so_that_replicas_of_the_release_before_go_on(url: str) -> None:
    """They insert without the new columns, and read the old ones, while the Job has run already."""
    database = Database(url)
    broken: list[str] = []
    before: dict[str, dict[str, ReflectedColumn]] = {}
    with database.engine.connect() as connection:
        config = alembic(connection)
        steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
        for revision in reversed(steps):
            command.upgrade(config, revision)
            seen = inspect(connection)
            after = {name: {c["name"]: c for c in seen.get_columns(name)} for name in seen.get_table_names()}
            broken += [f"{revision}: {text}" for text in broken_by(before, after)]
            before = after
    database.close()

    assert len(steps) > 8
    assert broken == []


def broken_by(
    before: Mapping[str, Mapping[str, ReflectedColumn]], after: Mapping[str, Mapping[str, ReflectedColumn]]
) -> Iterator[str]:
    for table, columns in before.items():
        if table not in after:
            yield f"{table} is gone"
            continue
        for name, column in columns.items():
            now = after[table].get(name)
            if now is None or str(now["type"]) != str(column["type"]) or now["nullable"] < column["nullable"]:
                yield f"{table}.{name} is gone, or takes less"
        for name in after[table].keys() - columns.keys():
            if not after[table][name]["nullable"] and after[table][name]["default"] is None:
                yield f"{table}.{name} must be given"


def test_step_that_takes_away_would_be_noticed() -> None:
    def column(nullable: bool, kind: TypeEngine[Any]) -> ReflectedColumn:
        return {"name": "c", "type": kind, "nullable": nullable, "default": None}

    before = {"t": {"a": column(True, Integer()), "b": column(True, Integer())}, "u": {}}
    after = {"t": {"a": column(False, Integer()), "b": column(True, String()), "c": column(False, Integer())}}

    assert list(broken_by(before, after)) == [
        "t.a is gone, or takes less",
        "t.b is gone, or takes less",
        "t.c must be given",
        "u is gone",
    ]


def test_unknown_command_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml_connector.admin", "migrat"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert "knows one command, `migrate`" in done.stderr
