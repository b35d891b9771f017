"""Replace the key that deliveries to a flow carry, while they go on.

The credential is the state: with two keys a rotation is under way. Whatever stops a run, the next one goes on:

1. the new key is stored beside the old one;
2. every ingest that lives says that it believes it (`ingests.py`);
3. HTTP Basic: the resolver makes the webhooks anew with it, each before its old one goes. Signed: the relay gets it;
4. a run that is told to finish removes the old key, once Pipedrive has sent for the last time what began with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, select

from ml_connector.admin.acts import record_act
from ml_connector.admin.changing import LEVEL_S, Level, Said, alone
from ml_connector.admin.checks import Flows
from ml_connector.admin.database import Database
from ml_connector.admin.replay.control import Conflict
from ml_connector.admin.secrets.change import Place, Secrets
from ml_connector.admin.tables import act, act_target
from ml_connector.admin.webhooks.ask import FlowWebhooks
from ml_connector.admin.webhooks.ingests import LIVE_S, Ingests
from ml_connector.admin.webhooks.keys import CREDENTIALS, Proof, begun, ended, ids_of, proof_of
from ml_connector.common import topics
from ml_connector.common.addresses import host_of
from ml_connector.common.asking import AtTheDoor, Subscribed, Webhooks
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.errors import BadInput, TryLater
from ml_connector.common.wire import Act, ActKind

ACKNOWLEDGED_S: Final = LIVE_S + 5  # one that was killed is not waited for any more by then
LOOK_S: Final = 0.05
IN_USE: Final = "in use"

Amend = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


class NotAcknowledged(TryLater):
    """An ingest does not believe the new key yet."""


class Rotate(NamedTuple):
    """What somebody wants. `secret`: the new signing key; `url`, `relay`: as at install, if the webhooks need it."""

    flow: str
    proof: Proof | None = None
    secret: str = ""
    url: str = ""
    relay: bool = False
    finish: bool = False


class Rotated(NamedTuple):
    """How far it is. `key`, `old_key`: their ids; `finish_at_ms`: from then on the old key may go."""

    proof: Proof
    step: Literal["overlapping", "finished"]
    key: str
    old_key: str = ""
    finish_at_ms: int | None = None
    ingests: tuple[str, ...] = ()
    subscribed: Subscribed = Subscribed()


@dataclass(frozen=True, slots=True)
class Parts:
    """What this works with. `publish` writes what has been committed."""

    flows: Flows
    secrets: Secrets
    webhooks: FlowWebhooks
    ingests: Ingests
    database: Database
    level: Level
    publish: Callable[[], Awaitable[bool]]


class WebhookRotation:
    """Raises NotFound, BadInput, Conflict, NotAcknowledged, NoAnswer; then the old key is still good."""

    def __init__(self, parts: Parts, clock: Clock, *, old_key_s: float) -> None:
        """`old_key_s`: how long the old key stays after the new one is in use."""
        self._parts = parts
        self._clock = clock
        self._old_key_ms = int(old_key_s * 1000)

    async def run(self, asked: Rotate, said: Said) -> Rotated:
        if asked.url:
            host_of(asked.url.rstrip("/"))
        live = await asyncio.to_thread(self._parts.flows.active, asked.flow)
        if live.flow.pipedrive.events == "none":
            raise BadInput(
                f"flow {asked.flow} takes no webhooks (pipedrive.events is none): there is no key to replace"
            )
        proof = proof_of(live.flow.pipedrive.webhook.verify, asked.proof)
        place = Place(f"flow/{asked.flow}", CREDENTIALS[proof])
        ids = await self._change(place, lambda value: None if asked.finish else begun(value, proof, asked.secret), said)
        if len(ids) == 1:
            return Rotated(proof, "finished", ids[0])
        overlapping = await self._overlap(asked, proof, ids, said)
        return await self._finish(place, overlapping, said) if asked.finish else overlapping

    async def until_believed(self, flow: str, said: Said) -> None:
        """Before webhooks are made in another way: they get the newest key. Raises NotAcknowledged."""
        live = await asyncio.to_thread(self._parts.flows.active, flow)
        if live.flow.pipedrive.webhook.verify == "hmac-sha256":
            return
        try:
            ids = await self._change(Place(f"flow/{flow}", CREDENTIALS["basic"]), lambda _: None, said)
        except BadInput:
            return  # no such credential, or no vault to open it: the resolver says what it lacks
        if len(ids) > 1:
            await self._acknowledged(flow, f"basic:{ids[-1]}")

    async def _overlap(self, asked: Rotate, proof: Proof, ids: tuple[str, ...], said: Said) -> Rotated:
        """Both keys are good, and the new one is given out. Once that is done, finishing asks Pipedrive nothing."""
        old, new = ids
        key = f"{proof}:{new}"
        ingests = await self._acknowledged(asked.flow, key)
        in_use_ms = await self._noted_ms(asked.flow, key)
        subscribed = Subscribed()
        if proof == "basic" and not (asked.finish and in_use_ms):
            renew = Webhooks(flow=asked.flow, url=asked.url, relay=asked.relay, renew=new)
            subscribed = await self._parts.webhooks.ask(renew)
        if not in_use_ms or subscribed.created or subscribed.removed:
            in_use_ms = await self._note(asked.flow, key, said)
        return Rotated(proof, "overlapping", new, old, in_use_ms + self._old_key_ms, ingests, subscribed)

    async def _finish(self, place: Place, now: Rotated, said: Said) -> Rotated:
        at_ms = now.finish_at_ms or 0
        if self._clock.now_ms() < at_ms:
            at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_ms / 1000 + 1))
            raise Conflict(f"the old key stays until {at}, for what Pipedrive may send again: finish after that")
        await self._change(place, lambda value: ended(value, now.key), said)
        return now._replace(step="finished", finish_at_ms=None)

    async def _change(self, place: Place, amend: Amend, said: Said) -> tuple[str, ...]:
        """The ids of the keys that are there then."""
        found: tuple[str, ...] = ()

        def change(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
            nonlocal found
            made = amend(value)
            found = ids_of(value if made is None else made)
            return made

        await self._parts.secrets.amend(place, change, said)
        await self._parts.publish()
        return found

    async def _acknowledged(self, flow: str, key: str) -> tuple[str, ...]:
        """All that live, by name, once each believes the key. Raises NotAcknowledged."""
        deadline = Deadline.after(self._clock, ACKNOWLEDGED_S)
        while True:
            live = self._parts.ingests.live()
            lacking = [one.instance for one in live if key not in one.flows.get(flow, AtTheDoor()).keys]
            if live and not lacking and not self._parts.ingests.unheard_s:
                return tuple(one.instance for one in live)
            if deadline.expired:
                who = f"ingest {', '.join(lacking)} has not taken the new key" if live else "no ingest can be heard"
                raise NotAcknowledged(f"{who}: the old key stays good, no webhook was changed. Ask again to go on")
            await self._clock.sleep(LOOK_S)

    async def _note(self, flow: str, key: str, said: Said) -> int:
        """That it is in use from now on: what the webhooks carried until now may be sent again."""
        now_ms = self._clock.now_ms()
        detail = {"key": key, "step": IN_USE}

        def note(connection: Connection) -> None:
            what: ActKind = "webhooks.rotate"
            record_act(connection, what, by=said.by, now_ms=now_ms, reason=said.reason, targets=[flow], detail=detail)

        await alone(self._parts.database, note)
        await self._parts.publish()
        return now_ms

    async def _noted_ms(self, flow: str, key: str) -> int:
        """Since when it is in use; 0: it is not, as far as anybody noted."""
        await self._parts.level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.AUDIT)
        wanted = select(act.c.value).join(act_target, act_target.c.act_id == act.c.act_id)
        wanted = wanted.where(act_target.c.target == flow, act.c.act == "webhooks.rotate")

        def look() -> int:
            with self._parts.database.read() as connection:
                acts = [Act.decode(value) for value in connection.scalars(wanted)]
            return max((one.at_ms for one in acts if one.detail == {"key": key, "step": IN_USE}), default=0)

        return await asyncio.to_thread(look)
