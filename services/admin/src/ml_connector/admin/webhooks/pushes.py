"""What doctor learns from ingest of NetSuite's pushes: does the flow take any, when came the last, what was refused?"""

from __future__ import annotations

from typing import Final

from ml_connector.admin.database import Database
from ml_connector.admin.secrets.look import stored_version
from ml_connector.admin.webhooks.ingests import Ingests
from ml_connector.admin.webhooks.refusals import RECENT_MS, moment
from ml_connector.common.asking import AtTheDoor, Finding, Why
from ml_connector.common.clock import Clock
from ml_connector.common.credentials import NetsuitePush
from ml_connector.common.directory import LiveFlow
from ml_connector.common.vault import secret_key

CHECK: Final = "ingest.pushes"
_FIXES: Final[dict[Why, tuple[str, str]]] = {
    "no_secret": ("without the secret", "let the script send X-NetSuite-Shared-Secret once"),
    "secret": ("with another secret", "give the script the secret that the flow has"),
    "address": ("from an address that is not allowed", "name NetSuite's networks in netsuite.push.allow_from"),
}


class PushLooks:
    """Blocks: a look at the database."""

    def __init__(self, ingests: Ingests, database: Database, clock: Clock) -> None:
        self._ingests = ingests
        self._database = database
        self._clock = clock

    def look(self, live: LiveFlow) -> list[Finding]:
        key = secret_key(f"flow/{live.flow.flow}", NetsuitePush.NAME)
        with self._database.read() as connection:
            if not stored_version(connection, key):
                says = "the flow takes no pushes: changes that are made in NetSuite are only found by polls"
                return [Finding(CHECK, "skipped", says, "to hear of them at once: docs/connecting.md, NetSuite push")]
        heard = [one.flows[live.flow.flow] for one in self._ingests.live() if live.flow.flow in one.flows]
        return [pushes_of(heard, self._clock.now_ms())]


def pushes_of(doors: list[AtTheDoor], now_ms: int) -> Finding:
    """A warning when the newest of all was refused."""
    last_ms = max((door.pushed_ms for door in doors), default=0)
    refused = [one for door in doors for one in door.pushes_refused if now_ms - one.last_ms < RECENT_MS]
    newest = max(refused, key=lambda one: one.last_ms, default=None)
    if newest is not None and newest.last_ms >= last_ms:
        how, fix = _FIXES.get(newest.why, (newest.why, ""))
        return Finding(CHECK, "warning", f"the last push was refused, {how}, at {moment(newest.last_ms)}", fix)
    if not last_ms:
        return Finding(CHECK, "ok", "NetSuite may push changes; none came since ingest was started")
    return Finding(CHECK, "ok", f"NetSuite pushed a change at {moment(last_ms)}, the last one")
