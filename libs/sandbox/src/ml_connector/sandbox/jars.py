"""Apache Kafka's jars, and an archive of its classes with which it starts in half of the time; both are kept in the
user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

KAFKA_VERSION: Final = "4.3.1"
JAVA_AT_LEAST: Final = 17
MAVEN_DEADLINE_S: Final = 600.0
_MADE: Final = "classes.jsa"

_POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
 <groupId>ml-connector</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
 <dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
 </dependencies></project>
"""


class BrokerFailed(Exception):
    """No broker could be started; the text says why and what to do."""


@dataclass(frozen=True)
class Java:
    """`build`: tells one Java from another, whose archives it does not read."""

    path: str
    build: str

    @property
    def _archive(self) -> Path:
        return _folder().with_name(f"{_folder().name}-java-{self.build}.jsa")

    def archived(self) -> list[str]:
        """The option to start with the archive; none while there is none."""
        return [f"-XX:SharedArchiveFile={self._archive}"] if self._archive.exists() else []

    def archiving(self, home: Path) -> list[str]:
        """While there is none: the option to leave an archive in `home` when it ends in order."""
        return [] if self._archive.exists() else [f"-XX:ArchiveClassesAtExit={home / _MADE}"]

    def keep_archive(self, home: Path) -> None:
        """For the brokers to come, if the one that ended in `home` left one."""
        made = home / _MADE
        if not made.exists():
            return
        beside = self._archive.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):  # the next one starts slowly, too
            shutil.move(made, beside)
            beside.replace(self._archive)


@cache
def java() -> Java | None:
    """One of at least 17, from JAVA_HOME or the path."""
    home = os.environ.get("JAVA_HOME")
    for path in (f"{home}/bin/java" if home else None, shutil.which("java")):
        if path and Path(path).exists():
            done = subprocess.run([path, "-version"], capture_output=True, check=False)
            found = re.search(r'version "(\d+)[^"]*"', done.stderr.decode())
            if found and int(found[1]) >= JAVA_AT_LEAST:
                build = hashlib.sha256(done.stderr).hexdigest()[:12]
                return Java(path, build)
    return None


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path(os.environ.get("HOME") or tempfile.gettempdir()) / ".cache")
    return Path(base) / "ml-connector" / f"kafka-{KAFKA_VERSION}"


def ready() -> bool:
    return _folder().is_dir()


def jars(say: Callable[[str], None]) -> Path:
    """The folder of the broker's jars; fetched once, put in place by a rename, so that two may do it at once."""
    folder = _folder()
    if folder.is_dir():
        return folder
    say(f"fetching Apache Kafka {KAFKA_VERSION} (44 MB, once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="fetch-", dir=folder.parent))
    (work / "pom.xml").write_text(_POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, check=False, timeout=MAVEN_DEADLINE_S)
        if done.returncode != 0:
            raise BrokerFailed(f"Maven could not fetch Apache Kafka: {done.stdout.decode(errors='replace')[-500:]}")
        (work / "jars").rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else somebody else was faster
            raise BrokerFailed(f"cannot keep Kafka's jars in {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder
