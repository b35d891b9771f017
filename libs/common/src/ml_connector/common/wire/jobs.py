"""`connector.jobs`: replays and the edited copies that they take."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ml_connector.common.codec import Wire

JobState = Literal["draft", "running", "paused", "cancelled", "done"]

Mapping = Literal["today", "original"]


class ReplayJob(Wire, frozen=True):
    """A replay. In `connector.jobs`, key: its id; of two entries the one with the higher `version` counts."""

    job_id: str
    version: int
    state: JobState
    created_at_ms: int
    changed_at_ms: int
    actor: str
    reason: str
    selection: dict[str, Any]  # as it was asked for
    total: int
    issued: int = 0  # items below this number have been written to their topic
    why: str = ""  # it was paused, if nobody asked for that
    dry_run: bool = False
    mapping: Mapping = "today"
    rate_per_s: float | None = None  # None: as fast as it goes
    stop_after: int | None = None  # pause after so many dead letters
    force: bool = False  # also what failed the same way again and again


class ReplayItem(msgspec.Struct, frozen=True, array_like=True):
    """One dead letter of a replay. `revision` is fixed, so that issuing it twice changes nothing."""

    letter_id: str
    record_key: str
    account: str
    partition: int
    offset: int
    revision: int
    skip: str = ""  # why it is not taken


class ReplayItems(Wire, frozen=True):
    """Some items of a replay, in order. In `connector.jobs`, key: `keys.items_key`.

    One that could not be issued when its turn came is told again alone, with `skip`; key: `keys.skipped_key`.
    """

    job_id: str
    first: int  # the number of the first one
    items: tuple[ReplayItem, ...]


class Edited(Wire, frozen=True):
    """The edited copy of a dead letter's event. In `connector.jobs`, key: `keys.edit_key`."""

    letter_id: str
    version: int
    body: bytes
    at_ms: int
    actor: str
    reason: str
