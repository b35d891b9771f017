"""What is secret may come as files: MLC_SECRETS_DIR."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_connector.common.errors import InvalidSettings
from ml_connector.common.settings import Settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLC_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("MLC_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_file_gives_what_the_environment_does_not(folder: Path) -> None:
    (folder / "MLC_VAULT_KEYS").write_text("k:AAAA\n")

    assert Settings.load().vault_key_text() == "k:AAAA"


def test_environment_wins_over_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "MLC_TOPIC_PREFIX").write_text("file.")
    monkeypatch.setenv("MLC_TOPIC_PREFIX", "env.")

    assert Settings.load().topic_prefix == "env."


def test_folder_that_is_not_there_is_told_by_the_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLC_SECRETS_DIR", str(folder / "nowhere"))

    with pytest.raises(InvalidSettings, match=r"MLC_SECRETS_DIR: .*nowhere is no folder"):
        Settings.load()


def test_wrong_value_in_a_file_is_told_by_the_variable_and_not_quoted(folder: Path) -> None:
    (folder / "MLC_PARTITIONS").write_text("s3cret")

    with pytest.raises(InvalidSettings, match="MLC_PARTITIONS: Input should be a valid integer") as refused:
        Settings.load()
    assert "s3cret" not in str(refused.value)
