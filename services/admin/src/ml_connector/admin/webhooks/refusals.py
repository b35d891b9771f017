"""What doctor learns from ingest: does it run, and which deliveries of the flow did it refuse?

Pipedrive does not sign what it delivers. Who expects that finds out here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from ml_connector.admin.webhooks.ingests import Ingests
from ml_connector.common.asking import AtTheDoor, CheckResult, Finding, Refused, Why
from ml_connector.common.clock import Clock
from ml_connector.common.directory import LiveFlow

RECENT_MS: Final = 3_600_000  # what is older may have been mended
_SAYS: Final[dict[Why, str]] = {
    "unsigned": "without a signature",
    "basic_instead": "with HTTP Basic and without a signature",
    "signature": "with a wrong signature",
    "no_basic": "without HTTP Basic",
    "basic": "with a wrong user or password",
    "address": "from an address that is not in allow_from",
    "no_secret": "without the secret",
    "secret": "with another secret",
}
_RELAY: Final = (
    "Pipedrive itself does not sign, it only offers HTTP Basic: put a relay that signs in front of ingest "
    "(docs/connecting.md, Webhooks), or let pipedrive.webhook.verify be basic"
)
_FIXES: Final[dict[Why, str]] = {
    "unsigned": _RELAY,
    "basic_instead": _RELAY,
    "signature": "give the relay the key of webhook-hmac, as the flow has it (docs/connecting.md, Webhooks)",
    "no_basic": "install the webhooks anew (`mlc webhooks install`), after removing those that have no user",
    "basic": "give the webhooks the user and password of the flow: `mlc webhooks rotate`",
    "address": "name the sender's network in pipedrive.webhook.allow_from, and our proxies in MLC_TRUSTED_PROXIES",
    "no_secret": "only pushes of NetSuite have one",
    "secret": "only pushes of NetSuite have one",
}


class Refusals:
    """Two or three looks; none blocks."""

    def __init__(self, ingests: Ingests, clock: Clock) -> None:
        self._ingests = ingests
        self._clock = clock

    def look(self, live: LiveFlow) -> list[Finding]:
        if live.flow.pipedrive.events == "none":
            return [Finding("ingest.deliveries", "skipped", "the flow takes none (pipedrive.events is none)")]
        heard = self._ingests.live()
        if not heard:
            return [self._nobody(), Finding("ingest.deliveries", "skipped", "no ingest is known that would tell")]
        count = f"{len(heard)} {'processes' if len(heard) > 1 else 'process'} of ingest"
        doors = [one.flows[live.flow.flow] for one in heard if live.flow.flow in one.flows]
        found = [Finding("ingest.live", "ok", f"{count} can be heard"), refusals_of(doors, self._clock.now_ms())]
        return [*found, *_unfinished(live.flow.flow, doors)]

    def _nobody(self) -> Finding:
        if self._ingests.unheard_s:
            says = "the admin service has just been started, and has not heard of any yet"
            return Finding("ingest.live", "skipped", says, f"ask again in {self._ingests.unheard_s:.0f} s")
        fix = "see that an ingest is ready (/readyz) and works with the same Kafka, then ask again"
        return Finding("ingest.live", "failed", "no ingest can be heard: no delivery arrives", fix)


def _unfinished(flow: str, doors: Iterable[AtTheDoor]) -> list[Finding]:
    keys = sorted({key for door in doors for key in door.keys})
    if not keys:
        return []
    says = f"a key is being replaced, and more than one is good: {', '.join(keys)}"
    fix = f"`mlc webhooks rotate {flow}` goes on with it, with --finish it ends it"
    return [Finding("ingest.keys", "warning", says, fix)]


def refusals_of(doors: Iterable[AtTheDoor], now_ms: int) -> Finding:
    """Failed when the newest delivery of all was refused; a warning when good ones have come since."""
    doors = list(doors)
    refused = [one for door in doors for one in door.refused if now_ms - one.last_ms < RECENT_MS]
    if not refused:
        return Finding("ingest.deliveries", "ok", "none was refused in the last hour")
    last = max(refused, key=lambda one: one.last_ms)
    accepted_ms = max(door.accepted_ms for door in doors)
    since = f"the last at {moment(last.last_ms)}; "
    since += f"one was accepted at {moment(accepted_ms)}" if accepted_ms else "none was accepted"
    says = f"refused since ingest was started: {', '.join(_counted(refused))}; {since}"
    result: CheckResult = "warning" if accepted_ms > last.last_ms else "failed"
    return Finding("ingest.deliveries", result, says, _FIXES[last.why])


def _counted(refused: Iterable[Refused]) -> list[str]:
    """Over all processes, the most frequent first."""
    counts: dict[Why, int] = {}
    for one in refused:
        counts[one.why] = counts.get(one.why, 0) + one.count
    return [f"{count} {_SAYS[why]}" for why, count in sorted(counts.items(), key=lambda pair: -pair[1])]


def moment(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_ms / 1000))
