"""Which flows of an account are halted, and why it (or a record type of it) is suspended.

The rules are in `protect.py`; here their state is kept in `netsuite.observed`, for the next owner and for operators.
A halt ends when a person resumes the flow or applies a new version of it; a suspension ends by itself.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from ml_connector.common import keys
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import TryLater
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Standing
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.protect import Flood, signature

log = get_logger()

SEND_AGAIN_S = 1.0
WINDOW = 100  # endings of a flow that its ratio of rejections is taken of
FLOODING = frozenset({"map", "write"})  # stages at which the flow may be at fault, not the record


class Standings:
    """Of one account."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._floods: dict[str, Flood] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """The next owner finds out by itself."""
        for sending in self._sending:
            sending.cancel()

    # -- flows -------------------------------------------------------------------------------------------------------

    def halted(self, live: LiveFlow) -> bool:
        """Whether the flow was halted and nobody has resumed it since."""
        key = keys.flow_key(live.flow.flow)
        standing = self._tools.store.standing(key)
        if standing is None:
            return False
        if live.resumed_at_ms <= standing.at_ms:
            return True
        self._flood(live.flow.flow).reset()
        self._keep(key, None)
        log.info("flow_resumed", flow=live.flow.flow)
        return False

    def floods(self, flow: str, ending: Ending) -> bool:
        """Count an ending; True: the flow halts here, and this ending must not be recorded."""
        flood = self._flood(flow)
        if ending.outcome == "written":
            flood.written()
        if ending.outcome != "dead_lettered" or ending.stage not in FLOODING:
            return False
        if self._tools.store.standing(keys.flow_key(flow)) is not None:
            return True
        if not flood.rejected(signature(ending.code, ending.reason)):
            return False
        self._set(keys.flow_key(flow), "halted", f"{self._tools.settings.flood_run} records in a row: {ending.code}")
        log.error("flow_halted", flow=flow, code=ending.code)
        return True

    def _flood(self, flow: str) -> Flood:
        if flow not in self._floods:
            settings = self._tools.settings
            self._floods[flow] = Flood(run=settings.flood_run, ratio=settings.flood_ratio, window=WINDOW)
        return self._floods[flow]

    # -- accounts and record types -----------------------------------------------------------------------------------

    def of(self, key: str) -> Standing | None:
        return self._tools.store.standing(key)

    def suspend(self, key: str, reason: str) -> None:
        log.warning("suspended", subject=key, reason=reason)
        self._set(key, "suspended", reason)

    def resume(self, key: str) -> None:
        """Nothing when it was not suspended."""
        if self._tools.store.standing(key) is not None:
            log.info("resumed", subject=key)
            self._keep(key, None)

    def _set(self, key: str, state: Literal["suspended", "halted"], reason: str) -> None:
        self._keep(key, Standing(state=state, reason=reason, at_ms=self._tools.clock.now_ms()))

    def _keep(self, key: str, standing: Standing | None) -> None:
        self._tools.store.put_standing(key, standing)
        sending = asyncio.create_task(self._send(key, standing))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, key: str, standing: Standing | None) -> None:
        """Until the broker has it, or something newer is to be sent: a halt that nobody sees is resumed by nobody."""
        while self._tools.store.standing(key) is standing:
            try:
                await self._tools.messages.standing(standing, key)
            except TryLater as error:
                log.warning("standing_not_kept", subject=key, problem=str(error))
                await self._tools.clock.sleep(SEND_AGAIN_S)
            else:
                return
