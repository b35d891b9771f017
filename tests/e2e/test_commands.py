"""Every other command of the README, against a running stack, as its own process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from ml_connector.cli.stack import ACCOUNT, ADMIN, ALL, COMPANY, FLOW, StackOptions
from ml_connector.common.asking import TOLD_EVERY_S
from support.living import Living
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MLC = str(Path(sys.executable).parent / "mlc")
EXAMPLE = Path(__file__).parents[1] / "data" / "pipedrive" / "webhook-v2-official" / "organization.create.json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def living() -> AsyncIterator[Living]:
    async with Living(StackOptions(processes=ALL)) as one:
        yield one


async def mlc(living: Living, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**living.stack.commands_environment(), "PATH": "/usr/bin:/bin"}
    return await asyncio.to_thread(
        lambda: subprocess.run(
            [MLC, *arguments], capture_output=True, text=True, env=environment, input=stdin, check=False, timeout=60
        )
    )


async def test_send_posts_a_signed_body_that_becomes_a_record(living: Living) -> None:
    """Pipedrive's own published example, byte for byte."""
    done = await mlc(living, "send", str(EXAMPLE), "--flow", FLOW)
    account = await living.settle()

    assert (done.returncode, done.stdout.strip()) == (0, "204 No Content"), done.stderr
    assert account.outcomes["written"] == 1


async def test_send_to_an_unknown_flow_says_so(living: Living) -> None:
    done = await mlc(living, "send", str(EXAMPLE), "--flow", "nope")

    assert (done.returncode, done.stderr) == (2, "mlc: flow nope has no webhook-hmac secret: is its name right?\n")


async def test_accounting_prints_the_sum(living: Living) -> None:
    await living.create("organization", {"name": "Counted"})
    await living.settle()

    plain = await mlc(living, "accounting")
    machine = await mlc(living, "accounting", "--json")

    sums = json.loads(machine.stdout)[ACCOUNT]
    assert (plain.returncode, machine.returncode) == (0, 0), plain.stderr
    assert sums["balanced"] and sums["accepted"] == sums["written"] >= 1
    assert "accepted" in plain.stdout


async def test_tail_prints_readable_messages_but_no_secret(living: Living) -> None:
    flows = await mlc(living, "tail", "connector.flows", "--from-beginning", "--count", "1", "--json")
    secrets = await mlc(living, "tail", "connector.secrets", "--from-beginning", "--count", "3")

    assert json.loads(flows.stdout)["value"]["flow"] == FLOW
    assert secrets.stdout.count("(encrypted)") == 3
    assert "ciphertext" not in secrets.stdout


async def test_flow_is_applied_with_the_next_version_or_refused_with_lines(living: Living, tmp_path: Path) -> None:
    text = resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    tokens = f"oauth_url: '{living.stack.urls['pipedrive']}/oauth/token'"  # as the company's other flow
    good.write_text(
        text.replace("flow: acme-eu", "flow: acme-us")
        .replace("external_ids: pd", "external_ids: us")
        .replace("{company: acme-eu, ", f"{{company: acme-eu, {tokens}, ")
    )
    bad.write_text(
        text.replace("title: cut(data.title, 99)", "title: cut(data.title").replace("flow: acme-eu", "flow: x")
    )
    line = 1 + text.splitlines().index("      title: cut(data.title, 99)")

    first, again = await mlc(living, "flows", "apply", str(good)), await mlc(living, "flows", "apply", str(good))
    good.write_text(good.read_text().replace("cut(data.title, 99)", "cut(data.title, 98)"))
    second = await mlc(living, "flows", "apply", str(good))
    refused = await mlc(living, "flows", "apply", str(bad))
    listed = await mlc(living, "flows", "list")

    assert (first.stdout, second.stdout) == (
        "flow acme-us: version 1 is active\n",
        "flow acme-us: version 2 is active\n",
    ), first.stderr
    assert "nothing is changed" in again.stdout
    assert refused.returncode == 2
    assert f"{bad}:{line}: entities.deal.fields.title: Failed to parse" in refused.stderr
    assert "acme-eu" in listed.stdout and "acme-us" in listed.stdout


async def test_what_show_prints_can_be_applied_again(living: Living, tmp_path: Path) -> None:
    shown = await mlc(living, "flows", "show", FLOW)
    file = tmp_path / "shown.yaml"
    file.write_text(shown.stdout)

    assert "nothing is changed" in (await mlc(living, "flows", "apply", str(file))).stdout


async def test_identity_of_a_flow_never_changes(living: Living, tmp_path: Path) -> None:
    text = resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()
    moved, clash = tmp_path / "moved.yaml", tmp_path / "clash.yaml"
    moved.write_text(text.replace("1234567_SB1", "7654321_SB1"))
    clash.write_text(text.replace("flow: acme-eu", "flow: other").replace("external_ids: pd", "external_ids: PD"))

    assert "never changes in a flow's life" in (await mlc(living, "flows", "apply", str(moved))).stderr
    assert "uses 'pd' already" in (await mlc(living, "flows", "apply", str(clash))).stderr


async def test_doctor_looks_at_a_flow_from_one_end_to_the_other(living: Living) -> None:
    told = await mlc(living, "doctor", FLOW, "--json")
    read = await mlc(living, "doctor", FLOW)
    unknown = await mlc(living, "doctor", "nope")

    results = {one["check"]: one["result"] for one in json.loads(told.stdout)["findings"]}
    assert (told.returncode, read.returncode, unknown.returncode) == (0, 0, 2), read.stdout
    assert results["flow.active"] == results["flow.running"] == "ok"
    assert results["pipedrive.authentication"] == results["netsuite.authentication"] == "ok"
    assert "failed" not in results.values()
    assert "netsuite.authentication" in read.stdout


async def test_doctor_finds_that_pipedrive_itself_delivers_to_a_signed_flow(living: Living) -> None:
    async with httpx2.AsyncClient(auth=("pipedrive", "a password")) as pipedrive:
        url = f"{living.stack.urls['ingest']}/webhooks/pipedrive/{FLOW}"
        refused = await pipedrive.post(url, content=EXAMPLE.read_bytes())
    told: dict[str, Any] = {}

    async def is_told() -> bool:
        done = await mlc(living, "doctor", FLOW, "--json")
        told.update({one["check"]: one for one in json.loads(done.stdout)["findings"]}, code=done.returncode)
        return bool(told["ingest.deliveries"]["result"] == "failed")

    await until(is_told, within_s=3 * TOLD_EVERY_S)

    assert refused.status_code == 401
    assert (told["code"], told["ingest.live"]["result"]) == (1, "ok")
    assert "1 with HTTP Basic and without a signature" in told["ingest.deliveries"]["says"]
    assert "Pipedrive itself does not sign" in told["ingest.deliveries"]["fix"]


async def test_secret_comes_from_a_file_and_fits_its_environment(living: Living, tmp_path: Path) -> None:
    file = tmp_path / "token.json"
    file.write_text('{"token": "CANARY"}')
    file.chmod(0o644)
    arguments = ["secrets", "set", "pipedrive/acme-us", "api-token", "--file", str(file)]

    stored = await mlc(living, *arguments, "--environment", "sandbox")
    mixed = await mlc(
        living, "secrets", "set", "netsuite/1", "oauth2-m2m", "--environment", "sandbox", "--file", str(file)
    )
    wrong = await mlc(
        living, "secrets", "set", "flow/x", "webhook-hmac", "--environment", "sandbox", "--file", str(file)
    )
    listed = await mlc(living, "secrets", "list")

    assert stored.stdout == "pipedrive/acme-us/api-token: version 1 stored for sandbox\n"
    assert "can be read by others" in stored.stderr
    assert "account 1 is a production account" in mixed.stderr
    assert wrong.returncode == 2 and "webhook-hmac: it may only hold keys" in wrong.stderr
    assert "CANARY" not in stored.stdout + mixed.stderr + wrong.stderr + listed.stdout
    assert "pipedrive/acme-us/api-token" in listed.stdout


async def test_environment_follows_from_the_flow_and_stdin_is_read(living: Living) -> None:
    key = json.dumps({"keys": [{"id": "k2", "secret": "CANARY"}]})

    stored = await mlc(living, "secrets", "set", f"flow/{FLOW}", "webhook-basic", "--file", "-", stdin=basic())
    needed = await mlc(living, "secrets", "delete", f"flow/{FLOW}", "webhook-hmac")
    gone = await mlc(living, "secrets", "delete", f"flow/{FLOW}", "webhook-basic")
    again = await mlc(living, "secrets", "set", f"flow/{FLOW}", "webhook-basic", "--file", "-", stdin=basic())
    wrong = await mlc(living, "secrets", "set", f"flow/{FLOW}", "webhook-basic", "--file", "-", stdin=key)

    assert stored.stdout == f"flow/{FLOW}/webhook-basic: version 1 stored for sandbox\n", stored.stderr
    assert needed.returncode == 2 and f"needed by flow {FLOW}" in needed.stderr
    assert gone.stdout == f"flow/{FLOW}/webhook-basic: version 1 deleted\n"
    assert again.stdout == f"flow/{FLOW}/webhook-basic: version 2 stored for sandbox\n"
    assert wrong.returncode == 2 and "CANARY" not in wrong.stderr


def basic() -> str:
    return json.dumps({"keys": [{"id": "k1", "user": "u", "password": "p"}]})


async def test_connect_prints_an_address_at_once_and_ends_when_somebody_agreed(living: Living) -> None:
    urls, client = living.stack.urls, {"client_id": "c", "client_secret": "CANARY"}
    callback = f"{urls[ADMIN]}/v1/pipedrive/callback"
    owner = f"pipedrive/{COMPANY}"
    await mlc(living, "secrets", "set", owner, "oauth2-client", "--file", "-", stdin=json.dumps(client))
    environment = {**living.stack.commands_environment(), "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        MLC, "pipedrive", "connect", COMPANY, "--wait", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None

    async with asyncio.timeout(60), httpx2.AsyncClient(follow_redirects=True) as browser:
        address = (await process.stdout.readline()).decode().strip()
        assert address.startswith("http"), (await process.communicate())[1].decode()
        app = {**client, "redirect_uri": callback, "scopes": ["base"]}
        await browser.post(f"{urls['pipedrive']}/_sandbox/companies/{COMPANY}/apps", json=app)
        page = await browser.get(address)
        out, err = await process.communicate()

    assert (page.status_code, "<h1>Connected</h1>" in page.text) == (200, True), page.text
    assert (process.returncode, out.decode()) == (0, f"{COMPANY} is connected: {owner}/oauth2 has version 1\n"), err
    assert "CANARY" not in (out + err).decode() + page.text


async def test_topics_are_shown_and_made_once(living: Living) -> None:
    again, shown = await mlc(living, "topics", "apply"), await mlc(living, "topics", "show")
    other = await mlc(living, "topics", "apply", "--replication-factor", "0")

    assert again.stdout == "made 0 topics, 13 were there\n"
    assert "netsuite.desired" in shown.stdout and "missing" not in shown.stdout
    assert other.returncode == 2
