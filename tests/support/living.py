"""The whole product on a real broker: changes go into the Pipedrive stand-in, NetSuite is looked at over REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self

import httpx2

from ml_connector.cli.accounting import Account, recompute
from ml_connector.cli.demo.play import settled
from ml_connector.cli.demo.vendors import NetsuiteEyes, PipedriveHands
from ml_connector.cli.reading import newest_by_key, read_topic
from ml_connector.cli.stack import ACCOUNT, COMPANY, COMPANY_ID, Stack, StackOptions
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.kafka.record import Record
from support.allowed_requests import refuse_strays
from support.writing import until

SHORT = {"organization": "org", "person": "person", "deal": "deal"}
KINDS = {"organization": "customer", "person": "contact", "deal": "opportunity"}


class Living:
    """`async with Living() as living:`; everything runs."""

    def __init__(self, options: StackOptions | None = None) -> None:
        self.stack = Stack(options or StackOptions())
        self._http = httpx2.AsyncClient(timeout=30)
        self._number = 0

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        self.hands = PipedriveHands(self._http, self.stack.urls["pipedrive"], self.stack.api_token)
        await self.hands.learn()
        self._eyes = NetsuiteEyes(self._http, self.stack.urls["netsuite"], self.stack.private_key_pem)
        await self._eyes.log_in()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._http.aclose()
        try:
            await refuse_strays(self.stack.urls, pipedrive_too=False)  # the hands are ours
        finally:
            await self.stack.__aexit__(*error)

    @property
    def kafka(self) -> dict[str, str]:
        return {"bootstrap.servers": self.stack.bootstrap}

    # -- in Pipedrive ------------------------------------------------------------------------------------------------

    async def create(
        self, entity: str, body: Mapping[str, Any], custom: Mapping[str, Any] | None = None, *, delivery: str = ""
    ) -> str:
        """A ref for the new object."""
        self._number += 1
        ref = f"{entity[0]}{self._number}"
        self.hands.expect(ref)
        await self._do("create", entity, ref, body=body, custom=custom or {}, delivery=delivery)
        return ref

    async def update(
        self, ref: str, body: Mapping[str, Any], custom: Mapping[str, Any] | None = None, *, delivery: str = ""
    ) -> None:
        await self._do("update", _entity(ref), ref, body=body, custom=custom or {}, delivery=delivery)

    async def delete(self, ref: str) -> None:
        await self._do("delete", _entity(ref), ref)

    async def merge(self, loser: str, winner: str) -> None:
        await self._do("merge", _entity(loser), loser, winner=winner)

    async def set_terms(self, **terms: Any) -> None:
        """What the company is like where no document says it."""
        company = {"company": COMPANY, "company_id": COMPANY_ID, "api_token": self.stack.api_token, **terms}
        url = f"{self.stack.urls['pipedrive']}/_sandbox/companies"
        (await self._http.post(url, json=company)).raise_for_status()

    async def create_field(self, entity: str, name: str, kind: str = "varchar") -> None:
        body = {"field_name": name, "field_type": kind}
        headers = {"x-api-token": self.stack.api_token}
        url = f"{self.stack.urls['pipedrive']}/api/v2/{entity}Fields"
        (await self._http.post(url, json=body, headers=headers)).raise_for_status()
        await self.hands.learn()

    async def _do(self, op: str, entity: str, ref: str, *, delivery: str = "", **more: Any) -> None:
        await self.hands.do({"op": op, "entity": entity, "ref": ref, "delivery": delivery, **more})

    # -- in NetSuite -------------------------------------------------------------------------------------------------

    def external_id(self, ref: str) -> str:
        return f"pd-{SHORT[_entity(ref)]}-{self.hands.id_of(ref)}"

    async def record(self, ref: str) -> dict[str, Any] | None:
        """What NetSuite holds for this object, references as ids."""
        found = await self._eyes.read(KINDS[_entity(ref)], self.external_id(ref))
        if found is None:
            return None
        return {name: value["id"] if isinstance(value, dict) else value for name, value in found.items()}

    async def writes(self, ref: str) -> int:
        """How often NetSuite changed this record."""
        log = (await self._http.get(f"{self.stack.urls['netsuite']}/_sandbox/log")).json()["entries"]
        return sum(1 for line in log if line["external_id"] == self.external_id(ref) and line["commit_seq"] is not None)

    # -- in the topics -----------------------------------------------------------------------------------------------

    async def settle(self, *, within_s: float = 40.0) -> Account:
        """Until no webhook is under way and nothing waits; the sum."""
        url = f"{self.stack.urls['pipedrive']}/_sandbox/quiet"
        quiet = (await self._http.get(url, params={"timeout_s": within_s})).json()
        assert quiet["pending"] == 0
        accounts: dict[str, Account] = {}

        async def nothing_waits() -> bool:
            accounts.update(await asyncio.to_thread(recompute, self.kafka))
            return settled(accounts)

        await until(nothing_waits, within_s=within_s)
        return accounts[ACCOUNT]

    async def outcomes(self, ref: str) -> list[dict[str, Any]]:
        """Of one object, oldest first."""
        audit = await asyncio.to_thread(newest_by_key, self.kafka, topics.AUDIT.name)
        found = [json.loads(value) for key, value in audit.items() if key.endswith("/outcome")]
        same = [outcome for outcome in found if outcome.get("external_id") == self.external_id(ref)]
        return sorted(same, key=lambda outcome: int(outcome["at_ms"]))

    async def dead_letters(self) -> list[DeadLetter]:
        return [DeadLetter.read(record.value, record.headers) for record in await self.read(topics.DEAD_LETTERS)]

    async def read(self, topic: topics.Topic) -> list[Record]:
        return await asyncio.to_thread(lambda: list(read_topic(self.kafka, topic.name)))


def _entity(ref: str) -> str:
    return {"o": "organization", "p": "person", "d": "deal"}[ref[0]]
