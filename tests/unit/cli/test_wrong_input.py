"""What a new user gets wrong: a line or two that say what, where and what to do; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml_connector.cli.main import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in which nothing runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLC_KAFKA_BOOTSTRAP_SERVERS", "MLC_ADMIN_URL", "MLC_UP_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLC_ADMIN_TOKEN", "token")
    Path("event.json").write_text("{}")
    Path("binary").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("send . --flow acme-eu", "mlc: . cannot be used (Is a directory): name another file\n"),
        ("send event.json --flow ../x", "mlc: ../x is no name of a flow: `mlc flows list` shows them\n"),
        ("send event.json --flow x --url x", "mlc: --url x is no URL: write it as http://127.0.0.1:8080\n"),
        ("send event.json --flow x", "(in the folder of a running `mlc up` nothing needs to be set)\n"),
        ("tail nothing", "mlc: nothing is no topic of ours: use one of pipedrive.events"),
        ("topics show", "mlc: MLC_KAFKA_BOOTSTRAP_SERVERS: Field required (in the folder of"),
        ("sandbox netsuite --port 99999", "Invalid value for '--port'"),
        ("up --data-dir event.json", "Invalid value for '--data-dir'"),
        ("vault key --name a:b", "mlc: --name a:b: the id of a key has no colon, comma or space\n"),
        ("webhooks rotate acme-eu --key binary", "mlc: binary is no text in UTF-8\n"),
        ("secrets set flow/acme-eu webhook-hmac --file binary", "mlc: binary is no text in UTF-8\n"),
    ],
)
def test_it_is_said_plainly(command: str, said: str) -> None:
    ran = CliRunner().invoke(app, command.split())

    assert isinstance(ran.exception, SystemExit), ran.exception
    assert (ran.exit_code, said in ran.stderr) == (2, True), ran.stderr
