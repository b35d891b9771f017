"""docker-compose.yml says what the Compose specification allows, and what our services understand."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from support import composing, variables
from support.dockerfile import stages
from support.draining import STEPS, drains_s

ROOT = composing.ROOT
FILE = composing.read()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SCHEMA = jsonschema_rs.validator_for(json.loads((ROOT / "deploy/schemas/compose-spec.json").read_text()))
# Values of these are free: names of variables, volumes and the like. Each has a test of its own below.
FREE = frozenset({"environment", "depends_on", "services", "volumes", "configs", "options"})


def keys_of(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key whose spelling matters."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not path or path[-1] not in FREE:
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
    place[path[-1][:-1] + "_x"] = place.pop(path[-1])
    return changed


def without_anchors() -> dict[str, Any]:
    """`x-...` are what others are made of."""
    return {name: value for name, value in FILE.items() if not name.startswith("x-")}


def test_file_is_what_the_specification_allows() -> None:
    assert [f"{list(error.instance_path)}: {error.message}" for error in SCHEMA.iter_errors(FILE)] == []


def test_misspelt_key_is_refused_wherever_it_stands() -> None:
    document = without_anchors()
    paths = list(keys_of(document))

    accepted = [path for path in paths if SCHEMA.is_valid(misspelt(document, path))]

    assert len(paths) > 250
    assert accepted == []


@pytest.mark.parametrize(
    "name", [name for name in OURS if name in {*variables.MODULES, "topics", "flow", "mlc", "migrate"}]
)
def test_variables_are_settings_of_the_service_and_none_is_lacking(name: str) -> None:
    process = "admin" if name == "migrate" else name
    given = OURS[name].get("environment", {})
    files = frozenset({"MLC_ADMIN_DATABASE_URL"}) if process == "admin" else frozenset()

    assert variables.problems(process, given, files=files) == []


def test_wrong_variable_would_be_noticed() -> None:
    assert variables.problems("ingest", {"MLC_KAFKA_BOOTSTRAP_SERVER": "k"}) == [
        "MLC_KAFKA_BOOTSTRAP_SERVER is no setting of ingest",
        "ingest lacks MLC_KAFKA_BOOTSTRAP_SERVERS",
        "ingest lacks one of MLC_VAULT_KEYS, MLC_VAULT_KEYS_FILE",
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_container_is_confined(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys()
    assert name in {"kafka"} or service["user"].partition(":")[0].isdigit()  # Kafka's image has a user of its own
    assert service.get("logging", {}).get("options", {}).keys() <= {"max-size", "max-file"}  # of the driver json-file
    assert all(published.startswith("127.0.0.1:") for published in service.get("ports", []))


@pytest.mark.parametrize("name", STEPS)
def test_grace_period_is_longer_than_the_service_takes_to_drain(name: str) -> None:
    grace_s = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))

    assert grace_s > drains_s(name, SERVICES[name]["environment"])


def test_what_is_named_is_there() -> None:
    targets = stages((ROOT / "Dockerfile").read_text())
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            job = SERVICES[other].get("restart") == "no"
            healthy = "healthcheck" in SERVICES[other] or "HEALTHCHECK" in str(_steps(targets, SERVICES[other]))
            assert (how["condition"] == "service_completed_successfully") == job, (name, other)
            assert how["condition"] != "service_healthy" or healthy, (name, other)
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in FILE["volumes"], (name, mount)
        for config in service.get("configs", []):
            assert (ROOT / FILE["configs"][config["source"]]["file"]).is_file()
        shared = re.match(r"service:(.+)", service.get("network_mode", ""))
        assert shared is None or shared[1] in SERVICES
        if "build" in service:
            target = service["build"]["target"]
            assert target in targets
            assert service["image"] == f"ml-connector/{target}"


def _steps(targets: dict[str, Any], service: dict[str, Any]) -> list[str]:
    name, found = service.get("build", {}).get("target", ""), []
    while name in targets:
        found += [step.instruction for step in targets[name].steps]
        name = targets[name].base
    return found


def test_no_secret_stands_in_the_file_or_in_an_environment() -> None:
    text = composing.FILE.read_text()

    assert not re.search(r"(?i)(password|secret|token): (?!/)\S", text)
    for service in SERVICES.values():
        assert (
            not {"MLC_VAULT_KEYS", "MLC_ADMIN_DATABASE_URL", "POSTGRES_PASSWORD"}
            & service.get("environment", {}).keys()
        )


def test_pipelines_of_the_collector_name_what_it_declares() -> None:
    """Not more than that: nothing here runs it."""
    config = YAML(typ="safe").load((ROOT / "deploy/compose/otel-collector.yaml").read_text())

    for pipeline in config["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= config[part].keys()
    assert set(config["service"]["extensions"]) <= config["extensions"].keys()
    assert config["exporters"]["otlp/traces"]["endpoint"].partition(":")[0] in SERVICES
