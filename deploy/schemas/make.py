"""Write deploy/schemas/kubernetes.json: what may stand in a manifest, of the kinds that deploy/k8s uses.

    python deploy/schemas/make.py

Reads what each project publishes, from the Go module proxy and Maven Central (Go, Maven and Java 21 needed), at the
versions below. Descriptions and rules in CEL are left out; what an object does not declare is not allowed in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

OUT: Final = Path(__file__).parent / "kubernetes.json"
KUBERNETES: Final = "k8s.io/kubernetes@v1.34.2"
STRIMZI: Final = "1.2.0"
CORE: Final = {
    "v1/ConfigMap": "api.core.v1",
    "v1/Namespace": "api.core.v1",
    "v1/Secret": "api.core.v1",
    "v1/Service": "api.core.v1",
    "v1/ServiceAccount": "api.core.v1",
    "apps/v1/Deployment": "api.apps.v1",
    "apps/v1/StatefulSet": "api.apps.v1",
    "autoscaling/v2/HorizontalPodAutoscaler": "api.autoscaling.v2",
    "batch/v1/Job": "api.batch.v1",
    "networking.k8s.io/v1/NetworkPolicy": "api.networking.v1",
    "policy/v1/PodDisruptionBudget": "api.policy.v1",
}
CUSTOM: Final = {
    "github.com/kedacore/keda/v2@v2.21.0": [
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ],
    "sigs.k8s.io/gateway-api@v1.7.0": ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
    "github.com/external-secrets/external-secrets@v1.3.2": [
        "config/crds/bases/external-secrets.io_externalsecrets.yaml"
    ],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"
    ],
}
STRIMZI_CLASSES: Final = ("topic.KafkaTopic", "user.KafkaUser")
PREFIX: Final = "io.k8s."
META: Final = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
 <groupId>x</groupId><artifactId>x</artifactId><version>1</version><packaging>pom</packaging><dependencies>
  <dependency><groupId>io.strimzi</groupId><artifactId>api</artifactId><version>{STRIMZI}</version></dependency>
  <dependency><groupId>io.strimzi</groupId><artifactId>crd-generator</artifactId><version>{STRIMZI}</version></dependency>
 </dependencies></project>"""


def main() -> None:
    definitions = json.loads((module(KUBERNETES) / "api/openapi-spec/swagger.json").read_text())["definitions"]
    needed: dict[str, Any] = {}
    kinds = {
        kind: {"$ref": keep(f"{place}.{kind.rpartition('/')[2]}", definitions, needed)} for kind, place in CORE.items()
    }
    meta = {"$ref": keep(META, definitions, needed)}
    for crd in crds():
        group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
        for version in crd["spec"]["versions"]:
            if version["served"] and version["name"] in {"v1", "v1alpha1"}:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = meta
                kinds[f"{group}/{version['name']}/{kind}"] = schema
    text = json.dumps({"definitions": needed, "kinds": kinds}, sort_keys=True, separators=(",", ":"))
    OUT.write_text(text.replace('},"', '},\n"') + "\n")


def keep(name: str, definitions: dict[str, Any], needed: dict[str, Any]) -> str:
    """A definition and all that it names; where it is then."""
    if name not in needed:
        needed[name] = {}  # some name themselves
        needed[name] = _kept(strict(definitions[PREFIX + name]), definitions, needed)
    return f"#/definitions/{name}"


def _kept(schema: Any, definitions: dict[str, Any], needed: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_kept(one, definitions, needed) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        return {"$ref": keep(schema["$ref"].removeprefix(f"#/definitions/{PREFIX}"), definitions, needed)}
    return {name: _kept(value, definitions, needed) for name, value in schema.items()}


def strict(schema: Any) -> Any:
    """As JSON Schema, without prose, and closed: an API server prunes or refuses what is not declared."""
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = {name: value for name, value in schema.items() if name in KEPT}
    for name in ("properties", "patternProperties"):
        if name in found:
            found[name] = {key: strict(value) for key, value in found[name].items()}
    for name in ("items", "additionalProperties", "not"):
        if isinstance(found.get(name), dict):
            found[name] = strict(found[name])
    for name in ("allOf", "anyOf", "oneOf"):
        if name in found:  # these only add conditions to what is declared beside them
            found[name] = [
                {**strict(one), "additionalProperties": True} if "properties" in one else strict(one)
                for one in found[name]
            ]
    if "properties" in found and "additionalProperties" not in found and not schema.get(PRESERVE):
        found["additionalProperties"] = False
    return found


PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
KEPT: Final = frozenset(
    """$ref additionalProperties allOf anyOf enum items maxItems maxLength maxProperties maximum minItems minLength
    minProperties minimum not oneOf pattern properties required type""".split()  # noqa: SIM905  read as a list
)


def crds() -> Iterator[dict[str, Any]]:
    for name, files in CUSTOM.items():
        folder = module(name)
        for file in files:
            yield from YAML(typ="safe").load_all((folder / file).read_text())
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "pom.xml").write_text(POM)
        copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"]
        subprocess.run(copy, cwd=work, check=True)
        java = str(Path(os.environ["JAVA_HOME"]) / "bin/java") if "JAVA_HOME" in os.environ else "java"
        for name in STRIMZI_CLASSES:
            made = Path(work) / f"{name}.yaml"
            generate = [java, "-cp", "jars/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml"]
            subprocess.run([*generate, f"io.strimzi.api.kafka.model.{name}={made}"], cwd=work, check=True)
            yield YAML(typ="safe").load(made.read_text())


def module(name: str) -> Path:
    """Where Go keeps it, fetched if it is not there yet; its own need of a newer Go does not matter for reading."""
    done = subprocess.run(["go", "mod", "download", "-json", name], capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    if "Dir" in told:
        return Path(told["Dir"])
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(cache) / name


if __name__ == "__main__":
    main()
