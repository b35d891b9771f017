"""The topics and the services' rights as Strimzi's resources, for `mlc topics render`; deploy/k8s keeps what it prints.

Source: Strimzi 1.2, `kafka.strimzi.io/v1` KafkaTopic and KafkaUser.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

from ml_connector.common import rights, topics
from ml_connector.common.rights import Right

API: Final = "kafka.strimzi.io/v1"
HEAD: Final = "# Made by `mlc topics render`; a test compares. What is written here by hand is lost.\n"
# KEDA looks at what the resolver has not read yet, and so at its group.
KEDA: Final = (
    Right("topic", topics.EVENTS.name, ("Describe",)),
    Right("group", "resolver", ("Describe",)),
)


def topics_text(cluster: str, *, prefix: str, partitions: int, replicas: int) -> str:
    """One KafkaTopic for each declared topic."""
    made = [
        {
            "apiVersion": API,
            "kind": "KafkaTopic",
            "metadata": _named(name, cluster),
            "spec": {"partitions": count, "replicas": replicas, "config": _config(config, replicas)},
        }
        for name, count, config in topics.with_prefix(prefix, partitions)
    ]
    return _text(made)


def users_text(cluster: str, *, prefix: str) -> str:
    """One KafkaUser for each service, and one for KEDA; each comes with a certificate."""
    users: dict[str, Iterable[Right]] = {service: rights.of(service, prefix) for service in rights.SERVICES}
    users["keda"] = [right._replace(name=f"{prefix}{right.name}") for right in KEDA]
    made = [
        {
            "apiVersion": API,
            "kind": "KafkaUser",
            "metadata": _named(name, cluster),
            "spec": {
                "authentication": {"type": "tls"},
                "authorization": {"type": "simple", "acls": [_acl(right) for right in theirs]},
            },
        }
        for name, theirs in users.items()
    ]
    return _text(made)


def _named(name: str, cluster: str) -> dict[str, Any]:
    return {"name": name, "labels": {"strimzi.io/cluster": cluster}}


def _config(config: dict[str, str], replicas: int) -> dict[str, str]:
    """A message is acknowledged when all but one of the replicas have it: one broker may be away."""
    return {**config, "min.insync.replicas": str(max(1, replicas - 1))}


def _acl(right: Right) -> dict[str, Any]:
    resource: dict[str, str] = {"type": right.kind, "name": right.name}
    if right.kind != "cluster":
        resource["patternType"] = "prefix" if right.prefix else "literal"
    return {"resource": resource, "operations": list(right.operations)}


def _text(documents: list[dict[str, Any]]) -> str:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 120
    out = StringIO()
    yaml.dump_all(documents, out)
    return HEAD + out.getvalue()
