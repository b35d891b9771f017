"""What the parts know of whether Pipedrive's deliveries arrive. What becomes of it: `admin/catchup`."""

from __future__ import annotations

from typing import Final

from ml_connector.common.codec import Wire

EPISODE_MS: Final = 60 * 60_000  # after so long without trouble, the next one is another


class Deliveries(Wire, frozen=True):
    """Of one flow, as its company's owner sees them. In `pipedrive.state`, key: `deliveries_key`. 0: never.

    The webhooks as Pipedrive lists them: all was well at `well_ms`; the last trouble began after `bad_from_ms` and was
    over at `bad_to_ms` (0: it is not); at `failed_ms` the last delivery was one that failed. Events that came at the
    second try or later: since `retried_from_ms`, the last of them at `retried_to_ms`.
    """

    flow: str
    looked_ms: int = 0
    well_ms: int = 0
    bad_from_ms: int = 0
    bad_to_ms: int = 0
    failed_ms: int = 0
    why: str = ""  # of the last trouble
    retried_from_ms: int = 0
    retried_to_ms: int = 0


def deliveries_key(company: str, flow: str) -> str:
    return f"{company}/deliveries/{flow}"
