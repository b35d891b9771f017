"""mlc trial keys: made once, for whom they are."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
from typer.testing import CliRunner

from ml_connector.cli.main import app
from ml_connector.cli.tokens import make_token
from ml_connector.common.vault import Vault

DATABASE = "mlc@postgres:5432/mlc"


def made(folder: Path) -> str:
    done = CliRunner().invoke(app, ["trial", "keys", str(folder), "--database", DATABASE])
    assert done.exit_code == 0, done.output
    return done.output


def test_each_key_fits_its_counterpart(tmp_path: Path) -> None:
    made(tmp_path)

    Vault.from_text((tmp_path / "vault/keys").read_text())  # raises for what is no key
    password = (tmp_path / "postgres/password").read_text()
    url = (tmp_path / "admin/MLC_ADMIN_DATABASE_URL").read_text()
    assert url == f"postgresql+psycopg://mlc:{password}@postgres:5432/mlc"
    [key] = json.loads((tmp_path / "admin/jwks.json").read_text())["keys"]
    pem = (tmp_path / "operator/admin-key.pem").read_text()
    token = make_token(pem, issuer="i", audience="a", subject="s", roles=["viewer"], lifetime_s=60, now_s=2_000_000_000)
    claims = jwt.decode(
        token, jwt.PyJWK(key).key, ["ES256"], audience="a", options={"verify_nbf": False, "verify_iat": False}
    )
    assert claims["sub"] == "s"


def test_second_time_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    assert made(tmp_path) == "all keys are there\n"

    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert len(before) == 5


def test_only_their_user_reads_them(tmp_path: Path) -> None:
    """But PostgreSQL's password: its image has another user."""
    made(tmp_path)

    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()
    }
    assert modes.pop("postgres/password") == 0o444
    assert set(modes.values()) == {0o400}
