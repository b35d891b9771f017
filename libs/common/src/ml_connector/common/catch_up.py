"""What of a flow's events got lost, as far as anybody can know, and what was done about it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ml_connector.common.codec import Wire

ACTOR: Final = "catch-up"  # who has begun these syncs, in the audit

# What changed is read; then what is gone is searched for; what is missing is asked for, one by one.
Phase = Literal["changes", "search", "gone", "done", "failed"]


class Gap(msgspec.Struct, frozen=True):
    """Deliveries may have been lost in this time. `open`: they still may; it grows."""

    from_ms: int
    to_ms: int
    open: bool
    why: str


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """Catching up with one gap. `changes`, `gone`: the syncs. `known` records, of which `missing` are in no list."""

    run_id: str
    from_ms: int
    to_ms: int
    why: str
    began_ms: int
    phase: Phase
    changes: str = ""
    gone: str = ""
    known: int = 0
    missing: int = 0
    tokens: int = 0  # of the search
    ended_ms: int = 0
    problem: str = ""  # why it failed, or what it waits for


class CatchUp(Wire, frozen=True):
    """Of one flow. In `connector.jobs`, key: `catch_up_key`; of two the one with the higher `version` counts.

    Whatever was lost before `seen_ms` is caught up with, or a run is under way that does.
    """

    flow: str
    version: int = 0
    seen_ms: int = 0
    gap: Gap | None = None
    runs: tuple[Run, ...] = ()  # the last ones, oldest first


class Heard(Wire, frozen=True):
    """Whether an ingest ran. In `connector.jobs`, key: `HEARD_KEY`.

    Up to `up_ms` one did, but for the last time that none did: from `down_from_ms` to `down_to_ms`. 0: never.
    """

    up_ms: int = 0
    down_from_ms: int = 0
    down_to_ms: int = 0


HEARD_KEY: Final = "heard/ingest"


def catch_up_key(flow: str) -> str:
    return f"catch-up/{flow}"
