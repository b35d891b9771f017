"""Which calls NetSuite may still be executing, and when a record must be asserted again (DESIGN rule 3). Pure.

A call whose answer never came may be executed later than a newer one. Once the quiet time is over it cannot be any
more: if another generation was written meanwhile, the newest state is asserted again, so the record ends at the newest.
"""

from __future__ import annotations

import msgspec

from ml_connector.common.generation import Generation
from ml_connector.common.wire import Attempt, Desired, Doubt, Member, Observed


def attempt_of(
    source: Desired | Member,
    record: str,
    generation: Generation,
    *,
    owner: str,
    at_ms: int,
    doubts: tuple[Doubt, ...] = (),
) -> Attempt:
    """A call of this record that is about to be made; `source` says which Pipedrive object it is."""
    return Attempt(
        record_key=record,
        flow=source.flow,
        entity=source.entity,
        source_id=source.source_id,
        company=source.company,
        generation=generation,
        at_ms=at_ms,
        owner=owner,
        doubts=doubts,
    )


def restored(attempt: Attempt, now_ms: int) -> Attempt:
    """An attempt found open by a new owner: its call may have been made, and its answer is lost."""
    if not attempt.open:
        return attempt
    return unanswered(attempt, now_ms)


def unanswered(attempt: Attempt, now_ms: int) -> Attempt:
    """The attempt's own call is in doubt. It may have begun long after its announcement, when a slot was free."""
    doubts = (*attempt.doubts, Doubt(attempt.generation, now_ms))
    return msgspec.structs.replace(attempt, open=False, doubts=doubts)


def joined(attempt: Attempt, known: Attempt | None, now_ms: int) -> Attempt:
    """An attempt of somebody else, beside what is in doubt already."""
    others = known.doubts if known is not None else ()
    found = restored(attempt, now_ms)
    return msgspec.structs.replace(found, doubts=(*others, *(one for one in found.doubts if one not in others)))


def settled(attempt: Attempt) -> Attempt | None:
    """What stays after the record's call was settled: unanswered ones, whatever they carried.

    Also those of the settled state: they harm as soon as a newer one is written before their quiet time is over.
    """
    return msgspec.structs.replace(attempt, open=False) if attempt.doubts else None


def contested(attempt: Attempt, at_ms: int) -> Attempt:
    """After an equal generation was written: nothing is certain until the object was read again."""
    return msgspec.structs.replace(attempt, open=False, doubts=(*attempt.doubts, Doubt(Generation(0), at_ms)))


def quiet_at_ms(attempt: Attempt, quiet_ms: int) -> int:
    """When none of the unanswered calls can be executed any more."""
    return max((doubt.at_ms for doubt in attempt.doubts), default=attempt.at_ms) + quiet_ms


def must_assert_again(attempt: Attempt, observed: Observed | None) -> bool:
    """Whether something else than the unanswered state was settled since."""
    return observed is not None and any(doubt.generation != observed.generation for doubt in attempt.doubts)
