"""What `docker compose --profile sandbox up` does, done without an engine (tests/support/containers.py)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector.cli.developing import ACCOUNT
from support.composing import Project, project
from support.containers import lacking

pytestmark = pytest.mark.timeout(400)  # a minute on an idle machine: everything is installed, compiled and started

OURS = ("ingest", "resolver", "netsuite-writer", "admin", "pipedrive", "netsuite")


@pytest.fixture(scope="module")
def running() -> Iterator[Project]:
    if problem := lacking():
        pytest.skip(problem)
    with project("sandbox") as one:
        one.up()
        yield one


def ask(running: Project, service: str, code: str) -> str:
    """Run Python in a service's container."""
    done = subprocess.run(
        running.command(service, instead=["python", "-c", code]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_service_is_healthy_and_what_changes_in_pipedrive_arrives_in_netsuite(running: Project) -> None:
    create = """
import json, urllib.request
asked = urllib.request.Request(
    "http://127.0.0.1:8092/api/v2/organizations",
    json.dumps({"name": "Composed Ltd"}).encode(),
    {"x-api-token": "trial", "content-type": "application/json"},
)
print(urllib.request.urlopen(asked, timeout=10).status)
"""
    assert ask(running, "resolver", create) == "200"

    look = f"""
import time, urllib.request
for _ in range(200):
    told = urllib.request.urlopen("http://127.0.0.1:8091/_sandbox/records/{ACCOUNT}/customer", timeout=10).read().decode()
    if "Composed Ltd" in told:
        break
    time.sleep(0.2)
print("Composed Ltd" in told)
"""
    assert ask(running, "netsuite-writer", look) == "True"
    assert set(running.processes) == {"kafka", "postgres", *OURS}
    assert all(process.poll() is None for process in running.processes.values())


def test_operator_asks_the_admin_service_with_the_key_that_the_job_made(running: Project) -> None:
    told = json.loads(running.run("mlc", "record", "show", "Composed Ltd", "--json"))

    assert "written" in json.dumps(told)


def test_what_is_secret_is_read_by_whom_it_is_for(running: Project) -> None:
    """Each container sees its own folders only, and they belong to its user alone."""
    seen = {
        name: ask(
            running,
            name,
            "import os; print(sorted(f'{os.path.basename(d)}/{f}' for d, _, fs in os.walk('/var/lib/ml-connector/keys') for f in fs))",
        )
        for name in ("ingest", "resolver", "netsuite-writer", "admin")
    }

    assert seen["ingest"] == seen["resolver"] == seen["netsuite-writer"] == "['vault/keys']"
    assert seen["admin"] == "['admin/MLC_ADMIN_DATABASE_URL', 'admin/jwks.json', 'vault/keys']"
    readable = {path.stat().st_mode & 0o077 for path in (running._work / "volumes").glob("[!p]*-keys/*")}
    assert readable == {0}


def test_container_runs_as_nobody_in_particular_and_can_write_where_it_must_only(running: Project) -> None:
    code = """
import os, tempfile
denied = []
for place in ("/", "/etc", "/opt/ml-connector", "/usr/local/lib", "/var/lib/ml-connector/keys/vault"):
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError:
        denied.append(place)
tempfile.TemporaryFile(dir="/tmp").close()
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(os.getuid(), os.getgid(), os.getgroups(), len(denied), status["NoNewPrivs"].strip(), int(status["CapBnd"], 16))
"""
    for name in ("ingest", "resolver", "netsuite-writer", "admin"):
        assert ask(running, name, code) == "65532 65532 [] 5 1 0", name


def test_image_holds_what_the_lock_says_and_nothing_to_install_with(running: Project) -> None:
    code = """
from importlib import metadata
print("\\n".join(f"{one.metadata['Name'].lower().replace('_', '-').replace('.', '-')}=={one.version}" for one in metadata.distributions()))
"""
    locked = {
        line.split(" ")[0].lower().replace("_", "-").replace(".", "-")
        for line in (Path(__file__).parents[3] / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    installed = set(ask(running, "ingest", code).split("\n"))
    tools = set(ask(running, "pipedrive", code).split("\n"))

    ours = {one for one in tools if one.startswith("ml-connector-")}
    assert len(ours) == 7
    strangers = {one for one in installed | tools if one.replace(".", "-") not in locked} - ours
    assert not strangers
    names = {one.partition("==")[0] for one in installed}
    assert not names & {
        "pip",
        "uv",
        "setuptools",
        "wheel",
        "pytest",
        "mypy",
        "ml-connector-sandbox",
        "ml-connector-cli",
    }


def test_everything_stops_within_its_grace_period(running: Project) -> None:
    """Last in this module: exit code 0 means that it drained and was not killed."""
    codes = running.down()

    late = {name: (code, running.said(name)[-500:]) for name, code in codes.items() if name in OURS and code != 0}
    assert late == {}
    assert set(codes) >= set(OURS)
