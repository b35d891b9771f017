"""A key that is added to the file is taken without a restart; a file that went wrong takes no key away."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_connector.common import logs
from ml_connector.common.clock import ManualClock
from ml_connector.common.credentials import ApiToken
from ml_connector.common.directory import Directory
from ml_connector.common.errors import InvalidSettings, SecretUnreadable
from ml_connector.common.settings import Settings
from ml_connector.common.vault import SecretEntry, Vault, new_key
from ml_connector.common.vault_keys import LOOK_S, VaultKeys

K1, K2 = new_key("k1"), new_key("k2")
OWNER = "pipedrive/acme"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.write_text(K1)
    return made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(file: Path, clock: ManualClock) -> VaultKeys:
    return VaultKeys(settings(file), clock)


@pytest.fixture
def directory(file: Path, clock: ManualClock) -> Directory:
    return Directory(settings(file), clock)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    to = io.StringIO()
    logs.configure("test", to=to)
    yield to


def settings(file: Path) -> Settings:
    return Settings.load(kafka_bootstrap_servers="127.0.0.1:1", vault_keys_file=file)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def entry(key: str, *, owner: str = OWNER, version: int = 1) -> SecretEntry:
    vault = Vault.from_text(key)
    return vault.encrypt(owner, ApiToken.NAME, "sandbox", version=version, value={"token": f"of {owner}"})


def opened(directory: Directory, owner: str = OWNER) -> str:
    return directory.secret(ApiToken, owner=owner, environment="sandbox").token


@contextmanager
def followed(directory: Directory) -> Iterator[None]:
    task = asyncio.ensure_future(directory.follow_keys())
    yield
    task.cancel()


async def until_it_sleeps(clock: ManualClock) -> None:
    async with asyncio.timeout(10):
        while not clock.sleepers:  # noqa: ASYNC110  a thread reads the file meanwhile
            await asyncio.sleep(0.001)


def test_new_first_key_is_the_active_one(keys: VaultKeys, file: Path) -> None:
    assert not keys.look()
    file.write_text(f"{K2}\n{K1}\n")

    assert keys.look() and not keys.look()
    assert (keys.vault.active, keys.vault.ids) == ("k2", ("k2", "k1"))


@pytest.mark.parametrize(
    "wrong",
    [b"", b"\n", b"k2:CANARY", "k2:CANARY\u00e9".encode(), K2.encode()[:-9], b"\xff\xfe", None],
    ids=["empty", "blank", "no base64", "not ASCII", "cut", "no text", "gone"],
)
def test_file_that_is_bad_changes_nothing_and_is_told_once(
    keys: VaultKeys, file: Path, logged: io.StringIO, wrong: bytes | None
) -> None:
    before = keys.vault
    if wrong is None:
        file.unlink()
    else:
        file.write_bytes(wrong)

    assert [keys.look(), keys.look(), keys.fresh() is before] == [False, False, True]
    [line] = map(json.loads, logged.getvalue().splitlines())
    assert line["event"] == "vault_keys_kept" and "MLC_VAULT_KEYS" in line["problem"]
    assert "CANARY" not in logged.getvalue() and K2[3:20] not in logged.getvalue()

    file.write_text(K2)
    assert keys.fresh().active == "k2"
    file.write_bytes(b"")
    keys.look()
    assert logged.getvalue().count("vault_keys_kept") == 2


@pytest.mark.parametrize("text", ["", "k1:CANARY", None])
def test_service_without_keys_does_not_start(file: Path, clock: ManualClock, text: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)

    with pytest.raises(InvalidSettings, match="MLC_VAULT_KEYS") as error:
        VaultKeys(settings(file), clock)
    assert "CANARY" not in str(error.value)


def test_entry_of_an_unknown_key_has_the_file_read_at_once(directory: Directory, file: Path) -> None:
    file.write_text(f"{K1}\n{K2}")
    sealed = entry(K2)

    directory._on_secret(sealed.key, sealed)

    assert opened(directory) == f"of {OWNER}"


async def test_what_failed_opens_once_the_key_is_there(directory: Directory, file: Path, clock: ManualClock) -> None:
    """And whoever waits for it is told; what was open is not opened again."""
    told: list[str] = []
    for sealed in (entry(K1, owner="pipedrive/open"), entry(K2)):
        directory._on_secret(sealed.key, sealed)
    before = directory.secret(ApiToken, owner="pipedrive/open", environment="sandbox")
    with pytest.raises(SecretUnreadable, match="'k2'"):
        opened(directory)
    directory.on_secret(lambda owner: told.append(f"{owner or 'any'}: {opened(directory)}"))

    with followed(directory):
        await until_it_sleeps(clock)
        write(file, f"{K1}\n{K2}")
        clock.advance(LOOK_S - 0.1)
        with pytest.raises(SecretUnreadable):
            opened(directory)
        clock.advance(0.1)
        await until_it_sleeps(clock)

    assert told == [f"any: of {OWNER}"]
    assert directory.secret(ApiToken, owner="pipedrive/open", environment="sandbox") is before


async def test_what_is_open_stays_open_when_its_key_goes_too_early(
    directory: Directory, file: Path, clock: ManualClock
) -> None:
    sealed = entry(K1)
    directory._on_secret(sealed.key, sealed)
    assert opened(directory)

    with followed(directory):
        await until_it_sleeps(clock)
        write(file, K2)
        clock.advance(LOOK_S)
        await until_it_sleeps(clock)

    assert opened(directory)
    made = directory.sealed(ApiToken(token="t"), owner=OWNER, environment="sandbox", version=2)
    assert made.kek == "k2"


def test_keys_of_the_environment_are_as_at_the_start(clock: ManualClock) -> None:
    made = VaultKeys(Settings.load(kafka_bootstrap_servers="127.0.0.1:1", vault_keys=K1), clock)

    assert not made.look() and made.fresh().active == "k1"
