"""What people do to one account of a running writer: records made by hand, flows applied and resumed, states looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from ml_connector.cli.publishing import TopicWriter
from ml_connector.common import topics
from ml_connector.common.keys import RecordType
from ml_connector.common.vault import Vault
from ml_connector.common.wire import Standing
from support.own_account import Line, OwnAccount, sort_of
from support.writing import Writing, until

EUROPE: Final = {"subsidiary": {"type": "subsidiary", "id": "2"}}  # as NetSuite keeps it


async def put(own: OwnAccount, kind: RecordType, *, external_id: str | None = None, **fields: Any) -> str:
    """A record that somebody made in NetSuite's pages; its internal id."""
    row = {"externalId": external_id, "fields": {**EUROPE, **fields}}
    await own.writing._post(f"records/{own.account}/{kind}", [row])
    return str(max(int(record["id"]) for record in await records(own, kind)))


async def records(own: OwnAccount, kind: RecordType) -> list[dict[str, Any]]:
    return (await own.writing.records(own.account))[kind]


async def record(own: OwnAccount, kind: RecordType, external_id: str) -> dict[str, Any]:
    (found,) = [one for one in await records(own, kind) if one["externalId"] == external_id]
    return found


async def match_queries(own: OwnAccount) -> list[Line]:
    return [line for line in await own.log() if sort_of(line) == "query" and "externalid IS NULL" in line["body"]]


async def standing(own: OwnAccount, key: str) -> Standing | None:
    """What an operator sees in `netsuite.observed`. None: never there, or a tombstone."""
    found = None
    for message in await own.writing.read(topics.OBSERVED):
        if message.key == key.encode():
            found = None if message.value is None else Standing.decode(message.value)
    return found


async def has_tombstone(own: OwnAccount, key: str) -> bool:
    values = [one.value for one in await own.writing.read(topics.OBSERVED) if one.key == key.encode()]
    return bool(values) and values[-1] is None


async def until_standing(own: OwnAccount, key: str, *, there: bool = True, within_s: float = 30.0) -> None:
    async def as_wished() -> bool:
        return (await standing(own, key) is not None) is there

    await until(as_wished, within_s=within_s)


async def no_more_faults(own: OwnAccount) -> None:
    """Of any account."""
    url = own.writing.stack.urls["netsuite"]
    (await own.writing._http.delete(f"{url}/_sandbox/faults")).raise_for_status()


async def renewals(own: OwnAccount) -> int:
    """How often anybody has asked for a token."""
    return sum(1 for line in await own.writing.log() if line["path"].endswith("/oauth2/v1/token"))


async def until_asked(own: OwnAccount, *, times: int, within_s: float = 30.0) -> None:
    """NetSuite had so many requests of this account."""

    async def so_many() -> bool:
        return len(await own.log()) >= times

    await until(so_many, within_s=within_s)


async def stats(own: OwnAccount) -> dict[str, int]:
    found: dict[str, dict[str, int]] = await own.writing._get("stats")
    return found[own.account]


async def waiting(own: OwnAccount) -> int:
    """Live keys of `netsuite.desired` of this account's own states."""
    live = await own.writing.live_keys()
    return sum(1 for key in live if key.startswith(f"{own.account.lower()}/"))


async def resume(own: OwnAccount) -> None:
    """`mlc flows resume`."""
    await asyncio.to_thread(_publisher(own).pause, own.flow, paused=False)


async def apply(own: OwnAccount, document: Mapping[str, Any]) -> int:
    """`mlc flows apply`; the version."""
    return await asyncio.to_thread(_publisher(own).flow, document, by="test")


async def opened(
    writing: Writing, name: str, *, slots: int = 5, facts: Mapping[str, Any] | None = None, **changes: Any
) -> OwnAccount:
    """An account of its own whose flow has these changes; `facts`: of the account at NetSuite."""
    return await OwnAccount.open(writing, name, slots=slots, changes=changes, **(facts or {}))


async def beside(own: OwnAccount, flow: str, *, prefix: str, **changes: Any) -> OwnAccount:
    """Another flow of the same account; give its states external ids with this prefix."""
    other = OwnAccount(own.writing, own.account.removesuffix("_SB1"), slots=own.slots)
    other.flow = flow
    await own.writing.add_flow(other.document(external_ids=prefix, **changes))
    return other


def _publisher(own: OwnAccount) -> TopicWriter:
    return TopicWriter(own.writing.kafka, prefix="", vault=Vault.from_text(own.writing.stack.vault_key))
