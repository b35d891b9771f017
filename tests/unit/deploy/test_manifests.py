"""deploy/k8s: what kustomize makes of it is what Kubernetes and the operators take, and what our services need."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ml_connector.cli import rendering
from ml_connector.common import topics
from support.dockerfile import stages
from support.draining import drains_s
from support.kustomize import DATABASE, DEPLOY, ROOT, Refused, build, built, prepared
from support.manifests import Manifest, given, name_of, pods_of, problems

OVERLAYS = ("local", "trial", "production")
SERVICES = ("ingest", "resolver", "netsuite-writer", "admin")


def find(kind: str, name: str, overlay: str = "production") -> Manifest:
    return next(one for one in built(overlay) if (one["kind"], one["metadata"]["name"]) == (kind, name))


def keys_of(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            yield from keys_of(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from keys_of(value, (*path, number))


def misspelt(document: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[f"{path[-1]}x"] = place.pop(path[-1])
    return changed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_is_right(overlay: str) -> None:
    assert problems(list(built(overlay))) == []


def test_production_is_refused_until_it_says_where_its_database_is() -> None:
    raw = build(DEPLOY / "overlays" / "production")

    assert problems(raw) == [f"NetworkPolicy/database: {DATABASE[0]} is no network"]


@pytest.mark.parametrize("overlay", ["trial", "production"])
def test_misspelt_key_is_refused_wherever_it_stands(overlay: str) -> None:
    """The trial holds all of the local overlay. One topic and one user stand for the others: they are made by one function."""
    manifests = list(built(overlay))
    rendered: set[str] = set()
    accepted, tried = [], 0
    for number, one in enumerate(manifests):
        if one["kind"].startswith("Kafka") and one["kind"] in rendered:
            continue
        rendered.add(one["kind"])
        for path in keys_of(one):
            changed = [*manifests[:number], misspelt(one, path), *manifests[number + 1 :]]
            tried += 1
            if not problems(changed):
                accepted.append((name_of(one), path))

    assert tried > 700
    assert accepted == []


def test_misspelt_key_of_a_kustomization_is_refused(tmp_path: Path) -> None:
    """What a base makes is judged in an overlay: alone it lacks what it needs."""
    yaml = YAML(typ="safe")
    folder = prepared(tmp_path)
    accepted, tried = [], 0
    for file in sorted(folder.rglob("kustomization.yaml")):
        text = file.read_text()
        document = yaml.load(text)
        overlay = file.parent if file.parent.parent.name == "overlays" else folder / "overlays" / "production"
        seen = set()
        for path in keys_of(document):
            kind = tuple(part for part in path if not isinstance(part, int))
            if kind in seen or "pairs" in kind[:-1]:  # the pairs are labels: checked in what is built
                continue
            seen.add(kind)
            tried += 1
            with file.open("w") as out:
                yaml.dump(misspelt(document, path), out)
            try:
                if not problems(build(overlay)):
                    accepted.append((str(file.relative_to(folder)), path))
            except Refused:
                pass
        file.write_text(text)

    assert problems(build(folder / "overlays" / "production")) == []
    assert tried > 50
    assert accepted == []


def test_topics_and_rights_are_those_that_mlc_prints() -> None:
    made = {
        "topics.yaml": rendering.topics_text("kafka", prefix="", partitions=48, replicas=3),
        "users.yaml": rendering.users_text("kafka", prefix=""),
    }

    for name, text in made.items():
        assert (DEPLOY / "base" / name).read_text() == text, f"mlc topics render {name[:-5]} > deploy/k8s/base/{name}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_partitions_are_told_alike_to_services_and_broker(overlay: str) -> None:
    common = next(
        one for one in built(overlay) if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("common")
    )
    count = int(common["data"]["MLC_PARTITIONS"])

    made = {one["metadata"]["name"]: one["spec"]["partitions"] for one in built(overlay) if one["kind"] == "KafkaTopic"}
    if overlay == "production":  # elsewhere the Job `topics` makes them, of MLC_PARTITIONS
        assert made == {topic.name: topic.partitions(count) for topic in topics.ALL}
    for name in ("resolver", "netsuite-writer"):
        assert find("Deployment", name, overlay)["spec"].get("replicas", 1) <= count
    if overlay == "production":
        assert find("ScaledObject", "resolver")["spec"]["maxReplicaCount"] <= count


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_confined(overlay: str) -> None:
    """As the Pod Security Standard `restricted` demands of all pods of the namespace, and more."""
    templates = [pods for one in built(overlay) if (pods := pods_of(one)) is not None]
    for pod in (one["spec"] for one in templates):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        assert all(volume.keys() <= {"name", "emptyDir", "secret"} for volume in pod["volumes"])
        assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
    assert len(templates) == {"local": 8, "trial": 9, "production": 5}[overlay]


@pytest.mark.parametrize("name", SERVICES)
def test_workload_has_its_policies(name: str) -> None:
    pods = find("Deployment", name)["spec"]["template"]
    labels = pods["metadata"]["labels"].items()

    budgets = [one for one in built("production") if one["kind"] == "PodDisruptionBudget"]
    assert [one["metadata"]["name"] for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= labels] == [
        name
    ]
    spread = {
        one["topologyKey"]: one["labelSelector"]["matchLabels"].items() <= labels
        for one in pods["spec"]["topologySpreadConstraints"]
    }
    assert spread == {"topology.kubernetes.io/zone": True, "kubernetes.io/hostname": True}


@pytest.mark.parametrize("name", SERVICES)
def test_probes_never_ask_whether_the_broker_answers(name: str) -> None:
    [container] = find("Deployment", name)["spec"]["template"]["spec"]["containers"]

    paths = {
        probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", SERVICES)
def test_grace_period_is_longer_than_the_service_takes_to_drain(overlay: str, name: str) -> None:
    pod = find("Deployment", name, overlay)["spec"]["template"]["spec"]
    waits_s = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)

    assert pod["terminationGracePeriodSeconds"] > waits_s + drains_s(name, given(built(overlay), pod["containers"][0]))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", SERVICES)
def test_container_is_asked_where_its_process_listens_and_given_a_volume_where_it_writes(
    overlay: str, name: str
) -> None:
    container = find("Deployment", name, overlay)["spec"]["template"]["spec"]["containers"][0]
    environment = {**image_variables(), **given(built(overlay), container)}

    listens = {"http": int(environment["MLC_HTTP_PORT"])}
    if "MLC_METRICS_PORT" in environment:
        listens["metrics"] = int(environment["MLC_METRICS_PORT"])
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == listens
    assert environment["MLC_HTTP_HOST"] == "0.0.0.0"  # noqa: S104  of a pod, which policies guard
    writes = {environment["HOME"], *([environment["MLC_STORE_DIR"]] if name == "netsuite-writer" else [])}
    assert {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == writes


def image_variables() -> dict[str, str]:
    """What the Dockerfile sets for every service."""
    targets = stages((ROOT / "Dockerfile").read_text())
    set_ = [step.rest for step in targets["base"].steps if step.instruction == "ENV"]
    return dict(pair.split("=", 1) for line in set_ for pair in line.split())


def test_nothing_is_public_but_webhooks_and_the_page_of_oauth() -> None:
    public = {
        (match["method"], match["path"]["type"], match["path"]["value"])
        for one in built("production")
        if one["kind"] == "HTTPRoute"
        for rule in one["spec"]["rules"]
        for match in rule["matches"]
    }

    assert public == {
        ("POST", "PathPrefix", "/webhooks/pipedrive/"),
        ("POST", "PathPrefix", "/webhooks/netsuite/"),
        ("GET", "Exact", "/v1/pipedrive/callback"),
    }


def test_no_secret_stands_in_a_manifest() -> None:
    """Those of the local overlay are made of files that are made when they are needed, and that git ignores."""
    assert not [name_of(one) for one in built("production") if one["kind"] == "Secret"]
    assert not [file for file in DEPLOY.rglob("*.yaml") if "kind: Secret" in file.read_text()]
    assert "/deploy/k8s/overlays/local/keys/" in (ROOT / ".gitignore").read_text().splitlines()
    assert [name_of(one) for one in built("local") if one["kind"] == "Secret"] != []
