"""Decide what becomes of what was changed in NetSuite, and which changes are worth a look. Pure.

In: differences, what is known of the writing, the flow's policy. Out: which of them are asserted again. A record that
is changed back each time would burn slots for ever: after MOST_ASSERTS in a day it is left as it is, and told.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from ml_connector.common.comparing import Compared, Did, Difference
from ml_connector.common.drift import Policy, is_assertion
from ml_connector.common.wire import Observed

MOST_ASSERTS: Final = 3  # of one record in DAY_MS
DAY_MS: Final = 24 * 3600 * 1000
# What NetSuite pushes of our own write comes while the call is under way, or is settled soon after. A person's edit
# within these seconds, and before we knew that our write had ended, is taken for ours: a reconcile finds it.
OURS_MS: Final = 10_000

UNCLEAR: Final = frozenset({"waiting", "unknown"})


def did(difference: Difference, policy: Policy, observed: Observed | None, now_ms: int) -> Did:
    """What is done about it. Fields that are empty in Pipedrive and were filled by NetSuite are nobody's drift."""
    if policy != "assert" or difference.found in UNCLEAR or difference.causes == ("filled",):
        return "reported"
    return "given_up" if len(recent(observed, now_ms)) >= MOST_ASSERTS else "asserted"


def to_assert(compared: Compared) -> tuple[str, ...]:
    """The ids of Pipedrive whose desired state is to be asserted."""
    return tuple(one.source_id for one in compared.differences if one.did == "asserted")


def recent(observed: Observed | None, now_ms: int) -> tuple[int, ...]:
    """When the record was asserted, within a day."""
    return () if observed is None else tuple(at_ms for at_ms in observed.asserted if now_ms - at_ms < DAY_MS)


def remembered(before: Observed | None, cause: str, *, now_ms: int) -> tuple[int, ...]:
    """`Observed.asserted` after a write by this cause."""
    times = recent(before, now_ms)
    return (*times, now_ms)[-MOST_ASSERTS:] if is_assertion(cause) else times


def is_ours(modified_ms: int, observed: Observed | None) -> bool:
    """Whether a record's last change is our own last write, as far as the times say. `modified_ms` 0: nobody knows."""
    if observed is None or observed.outcome != "written" or not modified_ms:
        return False
    return 0 <= observed.at_ms - modified_ms <= OURS_MS


def moment_ms(text: str | None) -> int:
    """0 for what is no time, or has no zone."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return 0
    return 0 if moment.tzinfo is None else int(moment.timestamp() * 1000)


def with_what_is_done(
    compared: Compared, policy: Policy, observed: dict[str, Observed | None], now_ms: int
) -> Compared:
    """`observed`: by source id."""
    differences = tuple(
        msgspec.structs.replace(one, did=did(one, policy, observed.get(one.source_id), now_ms))
        for one in compared.differences
    )
    return msgspec.structs.replace(compared, differences=differences)
