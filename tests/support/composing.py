"""`docker compose up`, without an engine: the services of our compose file in the order of what they depend on.

Our images are built and run by `support.containers`. Kafka and PostgreSQL are this machine's, configured by what the
file tells their images; their health checks, which call the images' own programs, are replaced by a connection.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from ml_connector.sandbox import broker
from support import postgres
from support.containers import Built, Engine, Mount

ROOT: Final = Path(__file__).parent.parent.parent
FILE: Final = ROOT / "docker-compose.yml"
HEALTHY_WITHIN_S: Final = 100.0
JOB_WITHIN_S: Final = 100.0


def read(path: Path = FILE) -> dict[str, Any]:
    """The file with `${NAME:-default}` replaced by its default, as in an empty environment."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", path.read_text())
    loaded: dict[str, Any] = YAML(typ="safe").load(text)
    return loaded


class Project:
    """What one `up` made. A service that is not `build`s of ours is `kafka` or `postgres`."""

    def __init__(self, engine: Engine, work: Path, *, profiles: frozenset[str]) -> None:
        self.engine = engine
        self.file = read()
        self.services: dict[str, dict[str, Any]] = self.file["services"]
        self._work = work
        self._profiles = profiles
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._done: set[str] = set()
        names = " ".join(self.services)
        engine.hosts.write_text(f"127.0.0.1 localhost {names}\n")

    # -- up ----------------------------------------------------------------------------------------------------------

    def up(self) -> None:
        for name, service in self.services.items():
            if set(service.get("profiles", [])) <= self._profiles:
                self._begin(name)
        for name in self.processes:
            self.until_healthy(name)

    def _begin(self, name: str) -> None:
        """After what it depends on."""
        if name in self.processes or name in self._done:
            return
        service = self.services[name]
        for other, how in service.get("depends_on", {}).items():
            self._begin(other)
            match how["condition"]:
                case "service_healthy":
                    self.until_healthy(other)
                case "service_completed_successfully":
                    assert other in self._done, f"{other} is no job"
        if service.get("restart") == "no":
            self.run(name)
            self._done.add(name)
        else:
            self._spawn(name, self._foreign(name) if "build" not in service else self.command(name))

    def run(self, name: str, *arguments: str) -> str:
        """A job, or `docker compose run --rm <name> ...`: to its end; what it said."""
        command = self.command(name, entry=arguments or None)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=JOB_WITHIN_S)
        assert done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def command(
        self, name: str, *, entry: tuple[str, ...] | None = None, instead: list[str] | None = None
    ) -> list[str]:
        """What starts a container of ours; `instead` of its process, as `docker exec` would."""
        service = self.services[name]
        image = self.engine.build(service["build"]["target"])
        arguments = instead or [*image.entrypoint, *(entry or service.get("command", []))]
        return self.engine.start(
            image,
            arguments=arguments,
            user=service.get("user", ""),
            environment=service.get("environment", {}),
            mounts=list(self._mounts(service, image)),
            tmpfs=service.get("tmpfs", []),
            read_only=service.get("read_only", False),
        )

    def _mounts(self, service: Mapping[str, Any], image: Built | None) -> Iterator[Mount]:
        for text in service.get("volumes", []):
            volume, target, *options = text.split(":")
            yield Mount(self._volume(volume, target, image), target, "ro" in options)

    def _volume(self, name: str, target: str, image: Built | None) -> Path:
        """A named volume belongs to whom the folder in the image belongs that it is mounted on first."""
        path = self._work / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            if image is not None:
                os.chown(path, *image.owner_of(target))
        return path

    def _spawn(self, name: str, command: list[str]) -> None:
        with self._log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def _log(self, name: str) -> Path:
        return self._work / f"{name}.log"

    def said(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")

    # -- health ------------------------------------------------------------------------------------------------------

    def until_healthy(self, name: str) -> None:
        """As often as the file says, and for a machine under load somewhat longer than it says."""
        deadline_s = time.monotonic() + HEALTHY_WITHIN_S
        while True:
            done = subprocess.run(self._health(name), capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            assert self.processes[name].poll() is None, f"{name} has ended\n{self.said(name)[-3000:]}"
            assert time.monotonic() < deadline_s, f"{name}: {done.stdout}{done.stderr}\n{self.said(name)[-3000:]}"
            time.sleep(0.3)

    def _health(self, name: str) -> list[str]:
        service = self.services[name]
        if "build" not in service:
            port = {"kafka": 9092, "postgres": 5432}[name]
            return self.engine.within([f"exec 3<>/dev/tcp/127.0.0.1/{port}"])
        image = self.engine.build(service["build"]["target"])
        test = service.get("healthcheck", {}).get("test", ["CMD", *image.health])
        assert test[0] == "CMD", f"{name}: {test[0]} is not known here"
        return self.command(name, instead=test[1:])

    # -- what is not ours --------------------------------------------------------------------------------------------

    def _foreign(self, name: str) -> list[str]:
        service = self.services[name]
        return {"kafka": self._kafka, "postgres": self._postgres}[name](service["environment"], service)

    def _kafka(self, environment: Mapping[str, str], _: Mapping[str, Any]) -> list[str]:
        """As its image does: `KAFKA_A_B` is the property `a.b`. Its data go to a folder of ours."""
        folder = self._work / "kafka"
        folder.mkdir()
        given = {name[6:].lower().replace("_", "."): value for name, value in environment.items()}
        heap = given.pop("heap.opts").split()
        given["log.dirs"] = str(folder / "data")
        (folder / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        command = broker.kafka_command(folder / "server.properties", folder / "data", memory=heap)
        script = [
            f"mount --bind {self.engine.hosts} /etc/hosts",
            f"exec setpriv --pdeathsig KILL {shlex.join(command)}",
        ]
        return self.engine.within(script)

    def _postgres(self, environment: Mapping[str, str], service: Mapping[str, Any]) -> list[str]:
        """As its image does: made with the user, the password from its file and the database."""
        keys = next(
            one
            for one in self._mounts(service, None)
            if one.target == str(Path(environment["POSTGRES_PASSWORD_FILE"]).parent)
        )
        folder = self._work / "postgres"
        folder.mkdir()
        shutil.copy(keys.source / Path(environment["POSTGRES_PASSWORD_FILE"]).name, folder / "password")
        return self.engine.within(
            postgres.script(folder, user=environment["POSTGRES_USER"], database=environment["POSTGRES_DB"])
        )

    # -- down --------------------------------------------------------------------------------------------------------

    def stop(self, name: str) -> int:
        """SIGTERM, and SIGKILL when its grace period is over; the exit code."""
        process = self.processes.pop(name)
        grace_s = float(self.services[name].get("stop_grace_period", "10s").rstrip("s"))
        process.terminate()
        try:
            return process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def down(self) -> dict[str, int]:
        """All, those that need others first; their exit codes."""
        return {name: self.stop(name) for name in reversed(list(self.processes))}


@contextmanager
def project(*profiles: str) -> Iterator[Project]:
    """`docker compose --profile ... up`; nothing of it is left at the end."""
    work = Path(tempfile.mkdtemp(prefix="mlc-compose-"))
    work.chmod(0o755)
    engine = Engine(ROOT, work)
    made = Project(engine, work, profiles=frozenset(profiles))
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()
        engine.close()
        shutil.rmtree(work, ignore_errors=True)
