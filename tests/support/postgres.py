"""A PostgreSQL of the test's own: Debian's package, a cluster in a temporary directory, a free port.

Where it is not installed, apt is there and we are root, it is installed; else `Missing` says what is lacking.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ml_connector.common.ports import free_port

START_DEADLINE_S = 30.0
APT_DEADLINE_S = 300.0
USER = "postgres"  # it refuses to run as root
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Missing(Exception):
    """Debian's package is not there, and cannot be installed."""


@dataclass
class Postgres:
    """A running server; `stop` and `run` again keep its data."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[Any] | None = None

    def run(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 100,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options]
        self.process = process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  one call into the kernel
            **_as_user(),
        )
        deadline_s = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s or process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, *, signal_: int = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown, which cuts connections."""
        if self.process is not None:
            self.process.send_signal(signal_)
            self.process.wait(START_DEADLINE_S)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with contextlib.closing(self._connect("postgres")) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname=name, autocommit=True)


@contextmanager
def start() -> Iterator[Postgres]:
    """Raises Missing."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="mlc-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    command = [
        str(programs / "initdb"),
        "-D",
        str(folder / "data"),
        "-U",
        USER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    subprocess.run([*command, "--locale=C.UTF-8"], check=True, capture_output=True, **_as_user())
    one = Postgres(programs, folder, free_port("127.0.0.1"))
    try:
        one.run()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


def script(folder: Path, *, user: str, database: str) -> list[str]:
    """Shell lines that make a server in `folder`, whose user has the password in its file `password`, and become it.

    Raises Missing.
    """
    programs, data = _programs(), folder / "data"
    as_user = f"setpriv --reuid {USER} --regid {USER} --clear-groups --pdeathsig KILL"
    initial = f"-U {user} --pwfile {folder}/password -A scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-sync"
    settings = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    return [
        f"chown -R {USER} {folder}",
        f"{as_user} {programs}/initdb -D {data} {initial}",
        f"echo 'CREATE DATABASE {database}' | {as_user} {programs}/postgres --single -D {data} postgres",
        f"exec {as_user} {programs}/postgres -D {data} {settings}",
    ]


def _programs() -> Path:
    found = _installed()
    if found is None:
        install("postgresql")
        found = _installed()
    if found is None:
        raise Missing("apt-get installed no PostgreSQL")
    return found


def _installed() -> Path | None:
    """The newest."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def install(package: str) -> None:
    """By apt-get. Raises Missing."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise Missing(f"{package} is not installed (`apt-get install {package}`)")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", package]):
        try:
            subprocess.run([apt, *arguments], check=True, capture_output=True, env=quiet, timeout=APT_DEADLINE_S)
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(f"apt-get {arguments[0]} failed") from error


def _as_user() -> dict[str, Any]:
    return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGINT)
