"""The README's second example, command by command: the rejected record is explained, corrected and replayed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.writing import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

MLC = str(Path(sys.executable).parent / "mlc")
README = Path(__file__).parents[2] / "README.md"
SHARE = "0.05"  # of the demo's company; the rejected one comes at its beginning


def commands() -> list[list[str]]:
    """Of the README's block that begins with `mlc demo --stay`."""
    block = re.search(r"```\n(mlc demo --stay.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True)[1:] for line in block[1].splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up_file(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The example's first command, run until it says that it goes on."""
    told = tmp_path_factory.mktemp("up") / "up.json"
    process = await asyncio.create_subprocess_exec(
        MLC, *commands()[0], "--share", SHARE, env={**os.environ, "MLC_UP_FILE": str(told)}, stderr=asyncio.subprocess.PIPE
    )  # fmt: skip

    async def is_told() -> bool:
        assert process.returncode is None, await process.communicate()
        return told.exists() and told.read_text() != ""

    await until(is_told, within_s=120)
    yield told
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 60)
    assert not told.exists()


def told_by(up_file: Path) -> dict[str, str]:
    environment: dict[str, str] = json.loads(up_file.read_text())["environment"]
    return environment


async def run(up_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In another terminal: nothing but `var/up.json` says where everything is."""
    environment = {"PATH": "/usr/bin:/bin", "MLC_UP_FILE": str(up_file)}
    return await asyncio.to_thread(
        lambda: subprocess.run(
            [MLC, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=60
        )
    )


async def test_example_explains_corrects_and_replays_the_rejected_record(up_file: Path) -> None:
    _, listing, show, edit, replay, story = commands()
    listed = await run(up_file, *listing, "--json")
    (letter,) = json.loads(listed.stdout)["letters"]

    def filled(command: list[str]) -> list[str]:
        return [letter["id"] if part == "ID" else part for part in command]

    shown = await run(up_file, *filled(show))
    edited = await run(up_file, *filled(edit))
    replayed = await run(up_file, *filled(replay))
    told = await run(up_file, *filled(story))
    left = await run(up_file, *listing, "--json")

    assert "Invalid email address" in shown.stdout and "NetSuite's answer" in shown.stdout, shown.stderr
    assert "billing@rejected.example" in edited.stdout, edited.stderr
    assert (replayed.returncode, replayed.stdout.split(" is ")[1]) == (0, "done: 1 written\n"), replayed.stderr
    for words in ("dead-lettered at write", "a typo in the e-mail address", "the address is corrected", "written as"):
        assert words in told.stdout
    assert json.loads(left.stdout)["letters"] == []


async def test_wrong_input_gets_one_line_that_says_what_to_do(up_file: Path) -> None:
    unknown = await run(up_file, "dlq", "show", "0" * 12)
    nobody = await run(up_file, "record", "show", "Nobody Ltd")
    nothing = await run(up_file, "dlq", "replay", "--reason", "because")

    assert (unknown.returncode, unknown.stderr) == (2, "mlc: there is no dead letter 000000000000\n")
    assert (nobody.returncode, nobody.stderr) == (
        2,
        "mlc: nothing is known of it: `mlc record list` finds by the beginning of a name\n",
    )
    assert nothing.returncode == 2 and nothing.stderr.startswith("mlc: say which: ids, --group, or filters")


async def test_token_of_a_viewer_may_look_but_not_act(up_file: Path) -> None:
    url = told_by(up_file)["MLC_ADMIN_URL"]
    token = (await run(up_file, "token", "--role", "viewer")).stdout.strip()

    async def as_viewer(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", "MLC_ADMIN_URL": url, "MLC_ADMIN_TOKEN": token}
        return await asyncio.to_thread(
            lambda: subprocess.run([MLC, *arguments], capture_output=True, text=True, env=env, check=False, timeout=60)
        )

    look = await as_viewer("dlq", "list", "--state", "all")
    act = await as_viewer("dlq", "replay", "--state", "open", "--reason", "because")

    assert look.returncode == 0, look.stderr
    assert act.returncode == 1 and "needs the role operator" in act.stderr
    assert token not in look.stdout + look.stderr + act.stdout + act.stderr
