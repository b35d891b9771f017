"""Secrets that are looked for wherever nothing of them may be: as they are, and in the forms that software makes of them."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

LEAST = 12  # characters; less would be found by chance


class Canaries:
    """By name, what must appear nowhere. Of a text of several lines each long line counts."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._forms: dict[str, frozenset[bytes]] = {}
        self.plant(secrets)

    def plant(self, secrets: Mapping[str, str]) -> None:
        """More of them: some are made on the way."""
        found = {name: frozenset(_forms(value)) for name, value in secrets.items()}
        short = [name for name, forms in found.items() if not forms]
        assert not short, f"too short to be looked for: {short}"
        self._forms |= found

    def found_in(self, data: bytes) -> set[str]:
        return {name for name, forms in self._forms.items() if any(form in data for form in forms)}


def _forms(value: str) -> Iterator[bytes]:
    for line in value.splitlines():
        if len(line) >= LEAST and not line.startswith("-----"):
            yield line.encode()
            yield line.encode().hex().encode()
            yield urllib.parse.quote(line, safe="").encode()
            yield urllib.parse.quote_plus(line).encode()
            yield json.dumps(line)[1:-1].encode()
            yield from _in_base64(line.encode())


def _in_base64(value: bytes) -> Iterator[bytes]:
    """Also in the middle of something longer, as in HTTP Basic: what depends on the neighbours is left out."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + value)
        inner = whole[4 if before else 0 : -4]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def of_files(folder: Path, leave_out: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    """Every file below the folder; one that goes meanwhile is none."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in leave_out:
            try:
                yield str(path.relative_to(folder)), path.read_bytes()
            except FileNotFoundError:
                continue
