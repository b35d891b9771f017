"""`mlc netsuite certificate`: what it makes logs in, and the private key stays in its file."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from typer.testing import CliRunner

from ml_connector.cli import netsuite
from ml_connector.cli.main import app
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.netsuite_writer.netsuite.tokens import Tokens
from ml_connector.sandbox.clock import Clock as SandboxClock
from ml_connector.sandbox.netsuite.accounts import Accounts
from ml_connector.sandbox.netsuite.login import Login
from ml_connector.sandbox.web import Request
from unit.cli.conftest import Ran

DAY_S = 86_400.0
PEM_LINE = 64
IDS = {"client_id": "a-client", "certificate_id": "a-certificate"}
Certify = Callable[..., Ran]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    made = ManualClock()
    monkeypatch.setattr(netsuite, "SystemClock", lambda: made)
    return made


@pytest.fixture
def certify(clock: ManualClock, tmp_path: Path) -> Certify:
    """Run `mlc netsuite certificate`; no line of any private key may be in what it prints."""

    def run(*arguments: object) -> Ran:
        result = CliRunner().invoke(app, ["netsuite", "certificate", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        keys = [key.read_bytes() for key in tmp_path.rglob("*.key") if key.is_file()]
        lines = [line for key in keys for line in key.splitlines() if len(line) == PEM_LINE]
        assert not any(line in result.output.encode() for line in lines)
        assert "PRIVATE KEY" not in result.output
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def pair(certify: Certify, tmp_path: Path) -> Path:
    assert certify("new", "--key", "ec-p256", "-o", tmp_path / "pair").code == 0
    return tmp_path / "pair"


async def log_in(credential: NetsuiteM2M, certificate_pem: str) -> str:
    """The writer's own login, answered by the stand-in's."""
    accounts = Accounts()
    accounts.register({"account": "1234567_SB1", **IDS, "certificate_pem": certificate_pem})
    login = Login(accounts, SandboxClock())

    async def answer(request: httpx2.Request) -> httpx2.Response:
        given = Request(request.method, request.url.path, {}, dict(request.headers), request.content)
        reply = login.token(given)
        return httpx2.Response(reply.status, content=reply.body)

    clock = ManualClock(int(SandboxClock().now_s() * 1000))
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        return await Tokens(http, "https://ns.example", credential=lambda: credential, clock=clock).get()


@pytest.mark.parametrize(
    ("kind", "algorithm", "shown"),
    [("ec-p256", "ES256", "EC secp256r1"), ("rsa-3072", "PS256", "RSA 3072"), ("rsa-4096", "PS256", "RSA 4096")],
)
async def test_what_is_made_logs_in(certify: Certify, tmp_path: Path, kind: str, algorithm: str, shown: str) -> None:
    ran = certify("new", "--key", kind, "-o", tmp_path)

    key, certificate = (tmp_path / name for name in (netsuite.KEY_FILE, netsuite.CERTIFICATE_FILE))
    credential = NetsuiteM2M.read({**IDS, "private_key_pem": key.read_text(), "algorithm": algorithm})
    assert await log_in(credential, certificate.read_text())
    assert f"key          {shown}\n" in ran.out
    assert f"algorithm    {algorithm}\n" in ran.out


@pytest.mark.skipif(shutil.which("jq") is None, reason="the printed command needs jq")
def test_printed_command_makes_the_credential(certify: Certify, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    printed = certify("new", "--key", "ec-p256", "-o", folder).err

    command = re.search(r"^  (jq .*?)\|\n", printed, re.DOTALL | re.MULTILINE)
    assert command is not None
    made = subprocess.run(["bash", "-c", command[1]], capture_output=True, check=True).stdout

    credential = NetsuiteM2M.read(json.loads(made))
    assert credential.private_key_pem == (folder / netsuite.KEY_FILE).read_text()
    assert credential.certificate_pem == (folder / netsuite.CERTIFICATE_FILE).read_text()
    assert "mlc secrets set netsuite/ACCOUNT oauth2-m2m" in printed


def test_certificate_is_good_for_two_years_and_for_nothing_else(pair: Path, clock: ManualClock) -> None:
    made = x509.load_pem_x509_certificate((pair / netsuite.CERTIFICATE_FILE).read_bytes())

    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 730
    assert made.not_valid_before_utc.timestamp() * 1000 == clock.now_ms()
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    made.verify_directly_issued_by(made)


def test_only_the_owner_reads_the_key(pair: Path) -> None:
    assert stat.S_IMODE((pair / netsuite.KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(pair.stat().st_mode) == 0o700


@pytest.mark.parametrize("there", [netsuite.KEY_FILE, netsuite.CERTIFICATE_FILE])
def test_nothing_is_overwritten_and_nothing_half_is_left(certify: Certify, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("of somebody")

    ran = certify("new", "--key", "ec-p256", "-o", tmp_path)

    assert ran.code == 2
    assert f"{there} is there already and is not overwritten" in ran.err
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {there: "of somebody"}


def test_key_is_not_written_through_a_link(certify: Certify, tmp_path: Path) -> None:
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / netsuite.KEY_FILE).symlink_to(tmp_path / "elsewhere")

    assert certify("new", "--key", "ec-p256", "-o", tmp_path / "pair").code == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "missing/below", "/proc/none"])
def test_folder_that_takes_nothing_is_named(certify: Certify, tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").touch()

    ran = certify("new", "--key", "ec-p256", "-o", tmp_path / place)

    assert ran.code == 2
    assert ran.err.startswith(f"mlc: {tmp_path / place} ")
    assert "name another folder" in ran.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--days", "731"), "at most two years, so 1 to 730 days"),
        (("--days", "0"), "1 to 730 days"),
        (("--name", ""), "1 to 64 printable characters"),
        (("--name", "x" * 65), "1 to 64 printable characters"),
        (("--name", "a\nb"), "1 to 64 printable characters"),
        (("--key", "rsa-2048"), "rsa-3072"),
    ],
)
def test_what_netsuite_would_not_take_is_refused(
    certify: Certify, tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    ran = certify("new", *options, "-o", tmp_path)

    assert ran.code == 2
    assert problem in " ".join(ran.err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("later_days", "code", "last"),
    [
        (0, 0, "days left    730"),
        (700, 0, "days left    30"),
        (700.5, 0, "less than 30 days are left: make a new one and upload it before this one ends"),
        (-1, 1, "not valid yet: is this machine's clock right?"),
        (730, 1, "expired 0 days ago: make a new one, upload it, and set the credential again"),
        (731.5, 1, "expired 1 day ago: make a new one, upload it, and set the credential again"),
    ],
)
def test_show_tells_how_long_it_is_good(
    certify: Certify, pair: Path, clock: ManualClock, later_days: float, code: int, last: str
) -> None:
    clock._now_ms += int(later_days * DAY_S * 1000)

    ran = certify("show", pair / netsuite.CERTIFICATE_FILE)

    assert ran.code == code
    assert ran.out.splitlines()[-1] == last


def test_show_says_what_new_said_also_of_der(certify: Certify, tmp_path: Path) -> None:
    told = certify("new", "--name", "Acme [b] connector", "--key", "ec-p256", "-o", tmp_path).out.splitlines()
    pem = (tmp_path / netsuite.CERTIFICATE_FILE).read_bytes()
    (tmp_path / "it.cer").write_bytes(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))

    shown = certify("show", tmp_path / "it.cer").out.splitlines()

    assert shown[:4] == told[2:6]
    assert shown[0] == "subject      CN=Acme [b] connector"


def private_forms(pair: Path) -> dict[str, bytes]:
    pem = (pair / netsuite.KEY_FILE).read_bytes()
    key: Any = load_pem_private_key(pem, password=None)
    locked = BestAvailableEncryption(b"word")
    return {
        "pem": pem,
        "both": (pair / netsuite.CERTIFICATE_FILE).read_bytes() + pem,
        "locked": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked),
        "locked der": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, locked),
        "pkcs1": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"word")),
    }


def test_private_key_is_named_as_one_and_never_quoted(certify: Certify, pair: Path, tmp_path: Path) -> None:
    for form, data in private_forms(pair).items():
        (tmp_path / "given.key").write_bytes(data)

        ran = certify("show", tmp_path / "given.key")

        assert ran.code == 2, form
        assert "holds a private key, which nobody else may have" in ran.err, form


@pytest.mark.parametrize("data", [b"", b"CANARY", b"\x30\x03\x02\x01\x01", b"-----BEGIN CERTIFICATE-----\nCANARY\n"])
def test_other_files_are_no_certificates(certify: Certify, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "given").write_bytes(data)

    ran = certify("show", tmp_path / "given")

    assert ran.code == 2
    assert ran.err == f"mlc: {tmp_path / 'given'} is not an X.509 certificate (PEM or DER)\n"


def test_file_that_cannot_be_read_is_named(certify: Certify, tmp_path: Path) -> None:
    assert certify("show", tmp_path).err == f"mlc: {tmp_path} cannot be read (Is a directory)\n"
    assert certify("show", tmp_path / "none").err == f"mlc: there is no file {tmp_path / 'none'}\n"
