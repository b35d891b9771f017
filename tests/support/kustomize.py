"""Build an overlay: by the `kubectl` or `kustomize` that is here, else by one that Go makes of a pinned version."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from typer.testing import CliRunner

from ml_connector.cli.main import app

ROOT: Final = Path(__file__).parent.parent.parent
DEPLOY: Final = ROOT / "deploy" / "k8s"
MODULE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
OWN: Final = ROOT / ".tools" / "bin" / "kustomize"
INSTALL_DEADLINE_S: Final = 600.0
# What an installation must say, and what the tests' one says.
DATABASE: Final = ("SET-ME.the-network-of-PostgreSQL", "10.20.30.0/24")


class Refused(Exception):
    """kustomize's own words."""


def build(folder: Path) -> list[dict[str, Any]]:
    """The resources of a folder with a kustomization. Raises Refused."""
    done = subprocess.run([*_program(), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())
    return [one for one in YAML(typ="safe").load_all(done.stdout) if one is not None]


def prepared(folder: Path) -> Path:
    """A copy of deploy/k8s in which is done what docs/kubernetes.md says to do before it is applied."""
    copied = folder / "k8s"
    shutil.copytree(DEPLOY, copied)
    keys = copied / "overlays" / "local" / "keys"
    done = CliRunner().invoke(app, ["trial", "keys", str(keys), "--database", "mlc@postgres:5432/mlc"])
    assert done.exit_code == 0, done.output
    network = copied / "overlays" / "production" / "network.yaml"
    network.write_text(network.read_text().replace(*DATABASE))
    return copied


@functools.cache
def built(overlay: str) -> tuple[dict[str, Any], ...]:
    """The resources of an overlay of the prepared copy."""
    with tempfile.TemporaryDirectory(prefix="mlc-kustomize-") as folder:
        return tuple(build(prepared(Path(folder)) / "overlays" / overlay))


@functools.cache
def _program() -> tuple[str, ...]:
    for name, command in (("kustomize", ("kustomize", "build")), ("kubectl", ("kubectl", "kustomize"))):
        if shutil.which(name) and _is_new(name):
            return command
    if not OWN.exists():
        go = shutil.which("go")
        assert go is not None, "no kubectl, no kustomize and no Go to make one: install one of them"
        environment = {"GOBIN": str(OWN.parent)}
        subprocess.run(
            [go, "install", MODULE], check=True, env={**os.environ, **environment}, timeout=INSTALL_DEADLINE_S
        )
    return str(OWN), "build"


def _is_new(name: str) -> bool:
    """Kustomize 5 is strict about fields, and knows `labels`."""
    command = [name, "version", *(["--client", "--output=json"] if name == "kubectl" else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        version = json.loads(done.stdout)["kustomizeVersion"] if name == "kubectl" else done.stdout
    except (ValueError, KeyError):
        return False
    found = re.search(r"v(\d+)\.", version)
    return found is not None and int(found[1]) >= 5
