"""A local Kafka broker for the demo, the tests and the benchmarks; never for a service.

In this order: KAFKA_BOOTSTRAP_SERVERS if set (somebody else's broker); a real Apache Kafka from its Maven Central
jars when Java 17 and Maven are there; else the embedded noida-db, which lacks what `Broker.lacks` says.
`python -m ml_connector.sandbox.broker --ready-file F` runs it in the foreground until SIGTERM.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ml_connector.common.ports import free_port, free_ports
from ml_connector.sandbox import jars
from ml_connector.sandbox.jars import JAVA_AT_LEAST, KAFKA_VERSION, BrokerFailed, Java

Kind = Literal["external", "apache-kafka", "noida-db"]

START_DEADLINE_S: Final = 90.0  # typically 2 to 4 s; a loaded machine needs longer
STOP_DEADLINE_S: Final = 15.0
NOIDA_LACKS: Final = (
    "log compaction",
    "the KIP-848 group protocol",
    "access control and TLS",
    "a disk log of unlimited size",
)

_PROPERTIES: Final = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
log.segment.bytes=16777216
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=2
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


@dataclass
class Broker:
    """A running broker. A context manager: leaving it stops what was started."""

    bootstrap_servers: str
    kind: Kind
    lacks: tuple[str, ...] = ()
    command: list[str] = field(default_factory=list)
    folder: Path | None = None
    temporary: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    @property
    def description(self) -> str:
        """One line for people: which broker this is and what it lacks."""
        lacks = f"; it lacks {', '.join(self.lacks)}" if self.lacks else ""
        name = {"external": "the given broker", "apache-kafka": f"Apache Kafka {KAFKA_VERSION}", "noida-db": "noida-db"}
        return f"{name[self.kind]} at {self.bootstrap_servers}{lacks}"

    def stop(self) -> None:
        """End it in order, and remove its data if they were temporary."""
        if self.process is not None and self.folder is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
            else:
                if java := jars.java():
                    java.keep_archive(self.folder)
        if self.temporary and self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Start again on the same address and data, after `kill` or a crash."""
        if not self.command or self.folder is None:
            raise BrokerFailed("only a broker that was started here can be restarted")
        self.process = _spawn(self.command, self.folder)
        _wait_until_ready(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(folder: Path | None = None, *, port: int = 0, say: Callable[[str], None] = lambda _: None) -> Broker:
    """Start the best broker there is, or use the given one; ready when this returns. Raises BrokerFailed.

    `folder`: where data and the broker's log go (default: a temporary one, removed by `stop`).
    """
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        return Broker(given, "external")
    temporary = folder is None
    home = folder or Path(tempfile.mkdtemp(prefix="ml-connector-kafka-"))
    home.mkdir(parents=True, exist_ok=True)
    java = jars.java()
    if java is not None and (jars.ready() or shutil.which("mvn")):
        broker = _apache_kafka(java, home, port, say)
    else:
        say("no Java 17 with Maven here: using the embedded noida-db, which lacks " + ", ".join(NOIDA_LACKS))
        broker = _noida(home, port)
    broker.temporary = temporary
    broker.process = _spawn(broker.command, home)
    try:
        _wait_until_ready(broker)
    except BrokerFailed:
        broker.stop()
        raise
    return broker


def _apache_kafka(java: Java, home: Path, port: int, say: Callable[[str], None]) -> Broker:
    port = port or free_port()
    path = home / "server.properties"
    path.write_text(properties(port, home / "data"))
    program, *rest = kafka_command(path, home / "data", say=say)
    command = [program, *java.archiving(home), *rest]
    return Broker(f"127.0.0.1:{port}", "apache-kafka", (), command, home)


def properties(port: int, data: Path, *, more: Mapping[str, tuple[str, str]] | None = None) -> str:
    """Of a broker on loopback. `more`: further listeners by name, each an address and a protocol."""
    others = more or {}
    taken = {port, *(int(address.rpartition(":")[2]) for address, _ in others.values())}
    return _PROPERTIES.format(
        port=port,
        controller=next(free for free in free_ports(len(taken) + 1) if free not in taken),
        data=data,
        listeners="".join(f",{name}://{address}" for name, (address, _) in others.items()),
        protocols="".join(f",{name}:{protocol}" for name, (_, protocol) in others.items()),
    )


def kafka_command(
    path: Path,
    data: Path,
    *,
    memory: Sequence[str] = ("-Xms128m", "-Xmx512m"),
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """What runs an Apache Kafka with the properties in `path`; the storage that they name, `data`, is formatted first.

    Raises BrokerFailed.
    """
    java = jars.java()
    if java is None:
        raise BrokerFailed(f"no Java {JAVA_AT_LEAST} here")
    program = [java.path, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    classes = ["-cp", f"{jars.jars(say)}/*"]
    if not (data / "meta.properties").exists():
        identity = b"\0" + uuid.uuid4().bytes[1:]  # begins with "A": with "-" the tool would take it for an option
        cluster = base64.urlsafe_b64encode(identity).decode().rstrip("=")
        quorum = [] if "controller.quorum.voters" in path.read_text() else ["--standalone"]
        tool = [
            *program,
            "-Xmx256m",
            *java.archived(),
            *classes,
            "kafka.tools.StorageTool",
            "format",
            *quorum,
            "-t",
            cluster,
        ]
        done = subprocess.run([*tool, "-c", str(path)], capture_output=True, check=False, timeout=START_DEADLINE_S)
        if done.returncode != 0:
            raise BrokerFailed(f"formatting the broker's storage failed: {done.stderr.decode(errors='replace')[-500:]}")
    options = [*memory, *java.archived()]
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [*program, *options, quiet, *classes, "kafka.Kafka", str(path)]


def _noida(home: Path, port: int) -> Broker:
    port = port or free_port()
    package = importlib.util.find_spec("noida_db")
    if package is None or package.origin is None:
        raise BrokerFailed("no broker: install Java 17 and Maven, or set KAFKA_BOOTSTRAP_SERVERS")
    program = (
        Path(package.origin).parent / "noida-db"
    )  # the package's own command would run it as a child, and leave it
    program.chmod(0o755)  # as that command does first
    command = [str(program), "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(home / "data")]
    return Broker(f"127.0.0.1:{port}", "noida-db", NOIDA_LACKS, command, home)


def _spawn(command: list[str], home: Path) -> subprocess.Popen[bytes]:
    """In a process group of its own (Ctrl-C is ours to handle), ended by the kernel if we are killed."""
    with (home / "broker.log").open("ab") as log:
        # Only a system call runs between fork and exec.
        return subprocess.Popen(
            command, stdout=log, stderr=log, cwd=home, start_new_session=True, preexec_fn=_die_with_parent
        )


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_ready(broker: Broker) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    host, port = broker.bootstrap_servers.rsplit(":", 1)
    while time.monotonic() < deadline:
        _refuse_ended(broker)
        if _listens(host, int(port)) and answers(broker.bootstrap_servers):
            return
        time.sleep(0.1)
    raise BrokerFailed(f"the broker was not ready after {START_DEADLINE_S:.0f} s: {_last_lines(broker)}")


def _refuse_ended(broker: Broker) -> None:
    if broker.process is not None and broker.process.poll() is not None:
        raise BrokerFailed(f"the broker ended: {_last_lines(broker)}")


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def answers(bootstrap_servers: str) -> bool:
    """Whether there is a broker that takes requests."""
    try:
        client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _last_lines(broker: Broker) -> str:
    log = broker.folder / "broker.log" if broker.folder else None
    return log.read_text(errors="replace")[-800:].strip() if log and log.exists() else "no log"


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="a local Kafka broker")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, help="default: temporary")
    parser.add_argument("--ready-file", type=Path, help="gets {json} once the broker is ready")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with start(arguments.data_dir, port=arguments.port, say=_say) as broker:
            _report(broker, arguments.ready_file, sys.stdout)
            while not ended.wait(0.5):
                _refuse_ended(broker)
    except BrokerFailed as error:
        raise SystemExit(str(error)) from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _report(broker: Broker, ready_file: Path | None, out: IO[str]) -> None:
    facts = {
        "bootstrap_servers": broker.bootstrap_servers,
        "kind": broker.kind,
        "lacks": broker.lacks,
        "pid": broker.pid,
        "description": broker.description,
    }
    print(json.dumps(facts), file=out, flush=True)
    if ready_file is not None:
        partial = ready_file.with_suffix(".partial")
        partial.write_text(json.dumps(facts))
        partial.rename(ready_file)


if __name__ == "__main__":
    main()
