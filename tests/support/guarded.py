"""A Kafka that lets in whom it knows and allows what it was told, and writes down each thing it was asked for.

Apache Kafka with its own authorizer; every service is a user with a certificate of its own, as with Strimzi. Whoever
comes by the plain listener, as `mlc` and the tests do, may do everything.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from ml_connector.common.ports import free_ports
from ml_connector.common.rights import Right
from ml_connector.sandbox import broker
from support.certifying import Authority
from support.kustomize import DEPLOY

_BASE: Final = DEPLOY / "base" / "kustomization.yaml"
READY_WITHIN_S: Final = 90.0
_ASKED: Final = re.compile(
    r"Principal = User:CN=(?P<user>\S+) is (?P<verdict>Allowed|Denied) operation = (?P<operation>\w+) from host = \S+ "
    r"on resource = (?P<kind>\w+):LITERAL:(?P<name>\S+) for request = (?P<request>\w+)"
)
_KINDS: Final = {"Topic": "topic", "Group": "group", "TransactionalId": "transactionalId", "Cluster": "cluster"}
_TYPES: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,  # its name for the cluster
}


class Asked(NamedTuple):
    """What a user wanted to do, and whether it was allowed."""

    user: str
    operation: str
    kind: str
    name: str
    allowed: bool


@dataclass
class Guarded:
    """`plain`: for whoever may do everything; `guarded`: for the users."""

    plain: str
    guarded: str
    log: Path
    secrets: Path

    def client(self, user: str) -> dict[str, Any]:
        """What a client of librdkafka needs to come as `user`."""
        return {"bootstrap.servers": self.guarded, **self._login(user)}

    def environment(self, user: str) -> dict[str, str]:
        """The same, as a service is told."""
        return {"MLC_KAFKA_BOOTSTRAP_SERVERS": self.guarded, "MLC_KAFKA_CONFIG": json.dumps(self._login(user))}

    def _login(self, user: str) -> dict[str, str]:
        """The settings of deploy/k8s, with the files where they are here."""
        places = {"/run/secrets/kafka-ca/": f"{self.secrets}/", "/run/secrets/kafka/": f"{self.secrets}/{user}/"}
        text = next(line for line in _BASE.read_text().split("      - ") if "MLC_KAFKA_CONFIG=" in line)
        for there, here in places.items():
            text = text.replace(there, here)
        given: dict[str, str] = json.loads(text.partition("=")[2])
        return given

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        admin = AdminClient({"bootstrap.servers": self.plain})
        bindings = [
            AclBinding(
                _TYPES[right.kind],
                right.name,
                ResourcePatternType.PREFIXED if right.prefix else ResourcePatternType.LITERAL,
                f"User:CN={user}",
                "*",
                AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
                AclPermissionType.ALLOW,
            )
            for right in rights
            for operation in right.operations
        ]
        for made in admin.create_acls(bindings).values():
            made.result(30)

    def asked(self) -> set[Asked]:
        return {
            Asked(one["user"], one["operation"], _KINDS[one["kind"]], one["name"], one["verdict"] == "Allowed")
            for one in _ASKED.finditer(self.log.read_text(errors="replace"))
        }


@contextmanager
def start(users: Iterable[str]) -> Iterator[Guarded]:
    """Until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="mlc-guarded-", ignore_cleanup_errors=True) as temporary:
        home = Path(temporary)
        plain, clients = free_ports(2)
        properties = home / "server.properties"
        authority = Authority(home)
        keys = authority.issue("broker")
        for user in users:
            authority.issue(user)
        properties.write_text(
            broker.properties(plain, home / "data", more={"CLIENTS": (f"127.0.0.1:{clients}", "SSL")})
            + "inter.broker.listener.name=PLAINTEXT\n"
            + "".join(f"listener.name.clients.ssl.{name}={value}\n" for name, value in _tls(keys, authority).items())
            + "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
            + "super.users=User:ANONYMOUS\n"
        )
        command = broker.kafka_command(properties, home / "data")
        command.insert(1, "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug")
        log = home / "broker.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=home)
        try:
            _wait(plain, process, log)
            yield Guarded(f"127.0.0.1:{plain}", f"127.0.0.1:{clients}", log, home)
        finally:
            process.terminate()
            process.wait(30)


def _tls(keys: Path, authority: Authority) -> dict[str, str]:
    return {
        "client.auth": "required",
        "keystore.type": "PEM",
        "keystore.location": str(keys / "both.pem"),
        "truststore.type": "PEM",
        "truststore.location": str(authority.file),
    }


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while not broker.answers(f"127.0.0.1:{port}"):
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline_s, "the broker does not answer"
        time.sleep(0.1)
