"""Decide what counts as a gap in a flow's deliveries, where it ends, and when it is caught up with. Pure.

In: what the owner of the company, ingest, and this service know. Out: the flow's entry, as it is from now on.

After a failed delivery Pipedrive may ban the webhook for half an hour, and nobody is told: a gap lasts so long beyond
the last failure. It is caught up with when it is over; one that stays open, every hour. Too much is harmless: what
did not change costs NetSuite nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from ml_connector.common.asking import TOLD_EVERY_S, AtTheDoor
from ml_connector.common.catch_up import CatchUp, Gap, Heard
from ml_connector.common.deliveries import Deliveries

UNHEARD_MS: Final = 6 * int(TOLD_EVERY_S * 1000)  # shorter absences are bridged by Pipedrive's retries
PORTION_MS: Final = 60 * 60_000  # an open gap is caught up with in such parts
GROWS_MS: Final = 60_000  # is kept once it has grown by so much


class Trouble(NamedTuple):
    """`to_ms`: until then events may have got lost because of it, also if that is still to come."""

    from_ms: int
    to_ms: int
    why: str
    open: bool = False


class Seen(NamedTuple):
    """What is known of a flow. `doors`: what each ingest says."""

    deliveries: Deliveries | None
    doors: Sequence[AtTheDoor]
    heard: Heard


def troubles_of(seen: Seen, now_ms: int, ban_ms: int) -> list[Trouble]:
    """`ban_ms`: how long Pipedrive may deliver nothing after a delivery has failed."""
    heard = seen.heard
    found = [] if seen.deliveries is None else [*_at_pipedrive(seen.deliveries, ban_ms)]
    for door in seen.doors:
        if door.unavailable_ms is not None:
            first_ms, last_ms = door.unavailable_ms
            found.append(Trouble(first_ms, last_ms + ban_ms, "ingest could not store deliveries"))
    if heard.down_from_ms:
        found.append(Trouble(heard.down_from_ms, heard.down_to_ms + ban_ms, "no ingest ran"))
    if heard.up_ms and now_ms - heard.up_ms > UNHEARD_MS:
        found.append(Trouble(heard.up_ms, now_ms, "no ingest runs", open=True))
    return found


def _at_pipedrive(deliveries: Deliveries, ban_ms: int) -> Iterable[Trouble]:
    if deliveries.bad_from_ms:
        ended_ms = deliveries.bad_to_ms
        banned_to_ms = deliveries.failed_ms + ban_ms if deliveries.failed_ms >= deliveries.bad_from_ms else 0
        until_ms = max(ended_ms or deliveries.looked_ms, banned_to_ms)
        yield Trouble(deliveries.bad_from_ms, until_ms, deliveries.why, open=not ended_ms)
    if deliveries.retried_from_ms:
        why = "Pipedrive had to deliver events twice or more"
        yield Trouble(deliveries.retried_from_ms, deliveries.retried_to_ms + ban_ms, why)


def heard_after(before: Heard, began_ms: Sequence[int], at_ms: int) -> Heard:
    """`began_ms`: since when each ingest takes deliveries that has been heard by `at_ms`."""
    if not began_ms or at_ms <= before.up_ms:
        return before
    first_ms = min(began_ms)
    if before.up_ms and first_ms - before.up_ms > UNHEARD_MS:
        return Heard(at_ms, before.up_ms, first_ms)
    return msgspec.structs.replace(before, up_ms=at_ms)


def with_troubles(before: CatchUp, troubles: Iterable[Trouble]) -> CatchUp:
    """The gap grows by what is not dealt with yet."""
    new = [one for one in troubles if one.to_ms > before.seen_ms]
    if not new:
        return before if before.gap is None else msgspec.structs.replace(before, gap=_closed(before.gap))
    gap = before.gap
    from_ms = max(before.seen_ms, min(one.from_ms for one in new))
    to_ms = max(one.to_ms for one in new)
    if gap is not None:
        from_ms, to_ms = min(gap.from_ms, from_ms), max(gap.to_ms, to_ms)
    why = "; ".join(dict.fromkeys(one.why for one in new))
    grown = Gap(from_ms, to_ms, any(one.open for one in new), why)
    return msgspec.structs.replace(before, gap=grown)


def _closed(gap: Gap) -> Gap:
    """What told of it tells of it no more: its process is gone."""
    return msgspec.structs.replace(gap, open=False)


def is_worth_keeping(before: CatchUp, after: CatchUp) -> bool:
    if before.gap is None or after.gap is None:
        return before.gap != after.gap
    grown_ms = after.gap.to_ms - before.gap.to_ms
    return before.gap.open != after.gap.open or before.gap.from_ms != after.gap.from_ms or grown_ms >= GROWS_MS


def is_due(before: CatchUp, troubles: Iterable[Trouble], now_ms: int) -> bool:
    """Whether anything of a flow without a run under way is to be kept or begun."""
    after = with_troubles(before, troubles)
    return due_to_ms(after.gap, now_ms) is not None or is_worth_keeping(before, after)


def due_to_ms(gap: Gap | None, now_ms: int) -> int | None:
    """Up to when the gap is to be caught up with now; None: not yet."""
    if gap is None:
        return None
    if not gap.open and now_ms >= gap.to_ms:
        return gap.to_ms
    return now_ms if gap.open and now_ms - gap.from_ms >= PORTION_MS else None
