"""The archive of the broker's classes: written once, read from then on."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_connector.sandbox import jars
from ml_connector.sandbox.jars import Java


def install(folder: Path, build: str) -> None:
    """A Java that only says its version."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"17.0.{build}\" 2025-04-15' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    install(tmp_path / "java", "15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jars.java.cache_clear()
    (tmp_path / "cache" / "ml-connector").mkdir(parents=True)
    yield tmp_path / "cache" / "ml-connector"
    jars.java.cache_clear()


def java() -> Java:
    found = jars.java()
    assert found is not None
    return found


def test_first_broker_writes_what_the_next_one_reads(tmp_path: Path) -> None:
    (option,) = java().archiving(tmp_path)
    before = java().archived()
    Path(option.partition("=")[2]).write_bytes(b"classes")

    java().keep_archive(tmp_path)

    (option,) = java().archived()
    assert before == []
    assert Path(option.partition("=")[2]).read_bytes() == b"classes"
    assert java().archiving(tmp_path) == []


def test_broker_that_was_killed_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    java().keep_archive(tmp_path)

    assert java().archived() == []
    assert not list(cache.iterdir())


def test_another_java_writes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (option,) = java().archiving(tmp_path)
    Path(option.partition("=")[2]).touch()
    java().keep_archive(tmp_path)
    install(tmp_path / "newer", "16")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "newer"))
    jars.java.cache_clear()

    assert java().archived() == []
