"""Which of two states of one record is newer. Pure.

A generation is `(source_version, revision)`, compared in that order (DESIGN section 3).
"""

from __future__ import annotations

import msgspec

# An event stamped further ahead than this is refused: it would supersede every real edit until then.
FUTURE_TOLERANCE_MS = 5 * 60 * 1000

# The Date header of a REST answer has whole seconds and may be set before the state was read.
REST_READ_SLACK_MS = 5_000


class Generation(msgspec.Struct, frozen=True, order=True, array_like=True):
    """`source_version` in ms since the epoch; `revision` 0, or what a replay gave it."""

    source_version: int
    revision: int = 0

    def __str__(self) -> str:
        return f"{self.source_version}.{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Generation:
        """The reverse of `str`; raises ValueError."""
        version, _, revision = text.partition(".")
        return cls(int(version), int(revision))


def of_rest_read(*, date_ms: int, took_ms: int) -> Generation:
    """The generation of a state read through REST: too low is harmless, too high loses an edit."""
    return Generation(date_ms - took_ms - REST_READ_SLACK_MS)


def of_replay(original: Generation, *, now_ms: int) -> Generation:
    """A replay is newer than any other revision of the same source state."""
    return Generation(original.source_version, max(now_ms, original.revision + 1))


def is_from_the_future(source_version: int, *, arrived_at_ms: int) -> bool:
    return source_version > arrived_at_ms + FUTURE_TOLERANCE_MS
