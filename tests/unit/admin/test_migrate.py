"""The schema comes up to date by one process ahead of all, and the others wait for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from ml_connector.admin.database import Database
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


def test_unknown_command_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml_connector.admin", "migrat"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert "knows one command, `migrate`" in done.stderr
