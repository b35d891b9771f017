"""What is wrong with a set of Kubernetes manifests: by the schemas of deploy/schemas, and by what they say of each other.

Schemas leave the keys of some maps open (labels, variables, a trigger's metadata, a topic's configuration); those are
checked against what they must name.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import jsonschema_rs

from ml_connector.common import topics
from support import variables
from support.kustomize import ROOT

Manifest = dict[str, Any]

_SCHEMAS: Final = json.loads((ROOT / "deploy/schemas/kubernetes.json").read_text())
VALIDATORS: Final = {
    kind: jsonschema_rs.validator_for({**schema, "definitions": _SCHEMAS["definitions"]})
    for kind, schema in _SCHEMAS["kinds"].items()
}
APP, COMPONENT, PART = "app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of"
# Labels of others that ours are matched with, and those that Kubernetes and Strimzi give a meaning.
FOREIGN: Final = frozenset({"kubernetes.io/metadata.name", "k8s-app", "strimzi.io/cluster", "strimzi.io/kind"})
SECURITY: Final = frozenset(
    f"pod-security.kubernetes.io/{name}" for name in ("enforce", "enforce-version", "warn", "audit")
)
LABELS: Final = FOREIGN | SECURITY | {APP, COMPONENT, PART}
RESOURCES: Final = frozenset({"cpu", "memory"})
TOPIC_CONFIG: Final = frozenset(name for topic in topics.ALL for name in topic.config) | {"min.insync.replicas"}
# KEDA 2.21, pkg/scalers/kafka_scaler.go: the names of its metadata.
KAFKA_TRIGGER: Final = frozenset(
    """activationLagThreshold allowIdleConsumers bootstrapServers consumerGroup ensureEvenDistributionOfPartitions
    excludePersistentLag lagThreshold limitToPartitionsWithLag offsetResetPolicy partitionLimitation sasl
    scaleToZeroOnInvalidOffset tls topic unsafeSsl version""".split()  # noqa: SIM905  read as a list
)
# What Strimzi puts into the Secret that the broker's certificate is checked with, and into that of a user.
STRIMZIS: Final = {"kafka-cluster-ca-cert": {"ca.crt", "ca.p12", "ca.password"}}
USERS: Final = {"ca.crt", "user.crt", "user.key", "user.p12", "user.password"}
# Are told of files, with all others, and read none but the database's address.
WITHOUT_FILES: Final = frozenset({"migrate", "topics"})
# Of images that are not ours: variables that they take (each image's own documentation), by how they begin.
FOREIGN_IMAGES: Final = {"kafka": ("KAFKA_",), "postgres": ("POSTGRES_", "PGDATA")}


def problems(manifests: list[Manifest]) -> list[str]:
    """Empty when nothing is wrong."""
    found = [f"{name_of(one)}: {text}" for one in manifests for text in _shape(one)]
    if found:
        return found  # what follows expects the shapes to be right
    together = _Set(manifests)
    return [f"{name_of(one)}: {text}" for one in manifests for text in together.problems(one)]


def name_of(one: Manifest) -> str:
    return f"{one.get('kind')}/{one.get('metadata', {}).get('name')}"


def _shape(one: Manifest) -> Iterator[str]:
    kind = f"{one.get('apiVersion')}/{one.get('kind')}"
    if kind not in VALIDATORS:
        yield f"no schema of {kind}"
        return
    for error in VALIDATORS[kind].iter_errors(one):
        yield f"{'.'.join(map(str, error.instance_path))}: {error.message[:200]}"
    if not one.get("metadata", {}).get("name"):
        yield "has no name"


def pods_of(one: Manifest) -> Manifest | None:
    """The pod template of a workload."""
    return one["spec"]["template"] if one["kind"] in {"Deployment", "StatefulSet", "Job"} else None


class _Set:
    """All manifests together: what each names must be there."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self._all = manifests
        self._pods = [pods for one in manifests if (pods := pods_of(one)) is not None]
        self._secrets = _secrets(manifests)

    def _names(self, kind: str) -> set[str]:
        return {one["metadata"]["name"] for one in self._all if one["kind"] == kind}

    def problems(self, one: Manifest) -> Iterator[str]:
        """What is optional to the schema, and not here, is a problem too."""
        try:
            yield from self._of(one)
        except KeyError as error:
            yield f"lacks {error}"

    def _of(self, one: Manifest) -> Iterator[str]:
        yield from self._labels(one["metadata"])
        for selector in _selectors(one.get("spec")):
            yield from self._selected(selector)
        match one["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                yield from self._workload(one)
            case "KafkaTopic":
                yield from _unknown(one["spec"]["config"], TOPIC_CONFIG)
                yield from _unknown({"strimzi.io/cluster"}, one["metadata"]["labels"])
            case "KafkaUser":
                yield from _unknown({"strimzi.io/cluster"}, one["metadata"]["labels"])
            case "ScaledObject":
                yield from self._scaled(one["spec"])
            case "HorizontalPodAutoscaler":
                yield from _unknown({one["spec"]["scaleTargetRef"]["name"]}, self._names("Deployment"))
            case "Service":
                yield from self._ports(one["spec"]["selector"], {port["targetPort"] for port in one["spec"]["ports"]})
            case "PodMonitor":
                ports = {endpoint["port"] for endpoint in one["spec"]["podMetricsEndpoints"]}
                yield from self._ports(one["spec"]["selector"]["matchLabels"], ports)
            case "NetworkPolicy":
                yield from self._policy(one["spec"])
            case "HTTPRoute":
                for rule in one["spec"]["rules"]:
                    yield from _unknown({ref["name"] for ref in rule["backendRefs"]}, self._names("Service"))
            case "ConfigMap":
                used = {
                    ref["configMapRef"]["name"]
                    for pods in self._pods
                    for container in pods["spec"]["containers"]
                    for ref in container.get("envFrom", [])
                }
                yield from _unknown({one["metadata"]["name"]}, used)

    def _labels(self, metadata: Manifest) -> Iterator[str]:
        yield from _unknown(metadata.get("labels", {}), LABELS)
        yield from _unknown(metadata.get("annotations", {}), ())

    def _selected(self, labels: Mapping[str, str]) -> Iterator[str]:
        yield from _unknown(labels, LABELS)
        if not labels.keys() & FOREIGN and not self._matching(labels):
            yield f"{dict(labels)} selects nothing"

    def _matching(self, labels: Mapping[str, str]) -> list[Manifest]:
        return [pods for pods in self._pods if labels.items() <= pods["metadata"]["labels"].items()]

    def _ports(self, labels: Mapping[str, str], ports: Iterable[str]) -> Iterator[str]:
        declared = {
            port["name"]
            for pods in self._matching(labels)
            for one in pods["spec"]["containers"]
            for port in one.get("ports", [])
        }
        yield from _unknown(ports, declared)

    def _policy(self, spec: Manifest) -> Iterator[str]:
        named = {port["port"] for rule in spec.get("ingress", []) for port in rule.get("ports", [])}
        yield from self._ports(spec["podSelector"]["matchLabels"], named)
        if ("ingress" in spec) > ("Ingress" in spec["policyTypes"]) or ("egress" in spec) > (
            "Egress" in spec["policyTypes"]
        ):
            yield "has rules of a type that it does not name"
        for rule in spec.get("egress", []):
            named = {port["port"] for port in rule.get("ports", []) if isinstance(port["port"], str)}
            for peer in rule["to"] if named else []:
                yield from self._ports(peer["podSelector"]["matchLabels"], named)
        for block in _blocks(spec):
            for cidr in (block["cidr"], *block.get("except", [])):
                try:
                    ipaddress.ip_network(cidr)
                except ValueError:
                    yield f"{cidr} is no network"

    def _scaled(self, spec: Manifest) -> Iterator[str]:
        yield from _unknown({spec["scaleTargetRef"]["name"]}, self._names("Deployment"))
        for trigger in spec["triggers"]:
            yield from _unknown(trigger["metadata"], KAFKA_TRIGGER)
            yield from _unknown(
                {"bootstrapServers", "consumerGroup", "topic", "lagThreshold", "offsetResetPolicy", "tls"},
                trigger["metadata"],
            )
            yield from _unknown({"excludePersistentLag", "ensureEvenDistributionOfPartitions"}, trigger["metadata"])
            yield from _unknown({trigger["authenticationRef"]["name"]}, self._names("TriggerAuthentication"))

    def _workload(self, one: Manifest) -> Iterator[str]:
        template = one["spec"]["template"]
        yield from self._labels(template["metadata"])
        if (
            one["kind"] != "Job"
            and not one["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        ):
            yield "its selector does not match its pods"
        if one["kind"] == "StatefulSet":
            yield from _unknown({one["spec"]["serviceName"]}, self._names("Service"))
        pod = template["spec"]
        yield from _unknown({pod["serviceAccountName"]}, self._names("ServiceAccount"))
        yield from _unknown({v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}, self._secrets)
        claims = set()
        for claim in one["spec"].get("volumeClaimTemplates", []):
            claims.add(claim["metadata"]["name"])
            yield from self._labels(claim["metadata"])
            yield from _unknown({"storage"}, claim["spec"]["resources"]["requests"])
        for container in pod["containers"]:
            yield from self._container(container, pod, claims)

    def _container(self, container: Manifest, pod: Manifest, claims: set[str]) -> Iterator[str]:
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        yield from _unknown({mount["name"] for mount in container["volumeMounts"]}, volumes)
        if not re.search(r"(:(?!latest)[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"]):
            yield f"{container['image']} has no tag, or one that changes its meaning"
        for amounts in container["resources"].values():
            yield from _unknown(amounts, RESOURCES)
        ports = {port["name"] for port in container.get("ports", [])}
        probes = [probe for name, probe in container.items() if name.endswith("Probe")]
        asked = [probe.get("httpGet") or probe.get("tcpSocket") for probe in probes if "exec" not in probe]
        yield from _unknown({one["port"] for one in asked}, ports)
        told = given(self._all, container)
        files = self._files(container, pod)
        named_files = re.findall(r"/run/secrets/[\w./-]+", " ".join(map(str, told.values())))
        for path in named_files if container["name"] not in WITHOUT_FILES else []:
            if path != told.get("MLC_SECRETS_DIR") and path not in files:
                yield f"{path}: no file of a secret that is mounted"
        if (known := FOREIGN_IMAGES.get(container["name"])) is not None:
            yield from (f"{name} is no variable of {container['name']}" for name in told if not name.startswith(known))
            return
        folder = f"{told.get('MLC_SECRETS_DIR')}/MLC_"
        named = frozenset(path.rpartition("/")[2] for path in files if path.startswith(folder))
        process = "admin" if container["name"] == "migrate" else container["name"]
        yield from variables.problems(process, told, files=named)

    def _files(self, container: Manifest, pod: Manifest) -> set[str]:
        """The path of every file of a secret, as the container sees it."""
        secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
        found = set()
        for mount in container["volumeMounts"]:
            if (secret := secrets.get(mount["name"])) is not None:
                keys = self._secrets.get(secret["secretName"], set())
                items = {item["path"] for item in secret.get("items", []) if item["key"] in keys}
                found |= {f"{mount['mountPath']}/{name}" for name in (items if "items" in secret else keys)}
        return found


def given(manifests: Iterable[Manifest], container: Manifest) -> dict[str, Any]:
    """The variables of a container; its own count more than those of a ConfigMap."""
    found: dict[str, Any] = {}
    maps = {one["metadata"]["name"]: one["data"] for one in manifests if one["kind"] == "ConfigMap"}
    for source in container.get("envFrom", []):
        found |= maps.get(source["configMapRef"]["name"], {})
    return found | {variable["name"]: variable["value"] for variable in container.get("env", [])}


def _secrets(manifests: list[Manifest]) -> dict[str, set[str]]:
    """Every Secret that is there in the end, with its keys."""
    users = {one["metadata"]["name"]: USERS for one in manifests if one["kind"] == "KafkaUser"}
    outside = {
        one["spec"]["target"]["name"]: {entry["secretKey"] for entry in one["spec"]["data"]}
        for one in manifests
        if one["kind"] == "ExternalSecret"
    }
    own = {one["metadata"]["name"]: set(one["data"]) for one in manifests if one["kind"] == "Secret"}
    return {**(STRIMZIS if users else {}), **users, **outside, **own}


def _blocks(node: Any) -> Iterator[Manifest]:
    """Every block of addresses."""
    if isinstance(node, dict):
        if "ipBlock" in node:
            yield node["ipBlock"]
        node = list(node.values())
    for value in node if isinstance(node, list) else []:
        yield from _blocks(value)


def _selectors(node: Any) -> Iterator[Mapping[str, str]]:
    """Every map of labels that something is found by."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "matchLabels" or (key == "selector" and not {"matchLabels"} & value.keys()):
                yield value
            elif key != "template":
                yield from _selectors(value)
            else:
                yield from _selectors(value.get("spec"))
    elif isinstance(node, list):
        for value in node:
            yield from _selectors(value)


def _unknown(names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    lacking = sorted(set(names) - set(known))
    if lacking:
        yield f"{', '.join(lacking)}: not known, or not there"
