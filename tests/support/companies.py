"""Several companies, each with an account of its own, in the whole product: edits go in, NetSuite's log is the judge."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives import serialization

from ml_connector.cli.accounting import Account, recompute
from ml_connector.cli.demo.play import settled
from ml_connector.cli.demo.vendors import PipedriveHands
from ml_connector.cli.publishing import TopicWriter
from ml_connector.cli.reading import read_topic
from ml_connector.cli.stack import Stack
from ml_connector.common import topics
from ml_connector.common.kafka.partition import partition_for
from ml_connector.common.vault import Vault
from ml_connector.common.wire import Desired, Outcome
from support.judging import Evidence, Violation, judge
from support.writing import PARTITIONS, until

SLOTS: Final = 5
OBJECTS: Final = 12  # organizations of one company; each has a deal


class Company:
    """One of them. Names of its objects carry a version, which the judge finds again in what NetSuite was sent."""

    def __init__(self, stack: Stack, http: httpx2.AsyncClient, number: int, name: str, account: str) -> None:
        self.name = name
        self.account = account
        self.company_id = str(number)
        self.token = f"token-{name}"
        self._stack = stack
        self._http = http
        self._hands = PipedriveHands(http, stack.urls["pipedrive"], self.token)
        self._versions: Counter[str] = Counter()
        self.rate = 1.0  # edits a second
        self.edits = 0

    async def open(self, ingest_url: str) -> None:
        """The stand-ins know it, a flow and its credentials are in the topics, its changes go to `ingest_url`."""
        pipedrive, netsuite = (self._stack.urls[side] for side in ("pipedrive", "netsuite"))
        company = {"company": self.name, "company_id": self.company_id, "api_token": self.token}
        await self._post(f"{pipedrive}/_sandbox/companies", company)
        names = {"client_id": f"client-{self.name}", "certificate_id": f"certificate-{self.name}"}
        account = {"account": self.account, "concurrency_limit": SLOTS, "public_key_pem": self._public_key_pem()}
        await self._post(f"{netsuite}/_sandbox/accounts", {**account, **names})
        await asyncio.to_thread(self._write_topics, names)
        url = f"{ingest_url}/webhooks/pipedrive/{self.name}"
        subscription = {"subscription_url": url, "event_action": "*", "event_object": "*", "name": "ml-connector"}
        made = await self._post(f"{pipedrive}/v1/webhooks", subscription, {"x-api-token": self.token})
        signing = {"secret": self._stack.signing_key}
        await self._post(f"{pipedrive}/_sandbox/webhooks/{made['data']['id']}/signing", signing)
        await self._hands.learn()

    def _write_topics(self, names: dict[str, str]) -> None:
        kafka = {"bootstrap.servers": self._stack.bootstrap}
        writer = TopicWriter(kafka, prefix="", vault=Vault.from_text(self._stack.vault_key))
        keys = {"keys": [{"id": "dev", "secret": self._stack.signing_key}]}
        m2m = {**names, "private_key_pem": self._stack.private_key_pem, "algorithm": "ES256"}
        writer.secret(f"flow/{self.name}", "webhook-hmac", "sandbox", keys)
        writer.secret(f"pipedrive/{self.name}", "api-token", "sandbox", {"token": self.token})
        writer.secret(f"netsuite/{self.account}", "oauth2-m2m", "sandbox", m2m)
        document = self._stack.flow_document()
        document["flow"] = document["pipedrive"]["company"] = self.name
        document["netsuite"].update(account=self.account, concurrency=SLOTS)
        writer.flow(document, by="a test")

    def _public_key_pem(self) -> str:
        key = serialization.load_pem_private_key(self._stack.private_key_pem.encode(), password=None)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    async def _post(self, url: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        answer = (await self._http.post(url, json=body, headers=headers)).raise_for_status()
        return answer.json() if answer.content else None

    # -- a sales team at work ----------------------------------------------------------------------------------------

    async def work(self, chance: random.Random) -> None:
        """Its objects, then edits of them, until cancelled."""
        for number in range(OBJECTS):
            await self._create("organization", f"o{number}", {})
            await self._create("deal", f"d{number}", {"org_id": {"$ref": f"o{number}"}})
        while True:
            await self._edit(chance.choice(list(self._versions)))
            await asyncio.sleep(1 / self.rate)  # their pace, not a wait for something

    async def _create(self, entity: str, ref: str, more: dict[str, Any]) -> None:
        self._hands.expect(ref)
        await self._do("create", entity, ref, more)

    async def _edit(self, ref: str) -> None:
        await self._do("update", "organization" if ref.startswith("o") else "deal", ref, {})
        self.edits += 1

    async def _do(self, op: str, entity: str, ref: str, more: dict[str, Any]) -> None:
        self._versions[ref] += 1
        title = {"name" if entity == "organization" else "title": f"{ref} v{self._versions[ref]}"}
        await self._hands.do(
            {"op": op, "entity": entity, "ref": ref, "body": {**title, **more}, "custom": {}, "delivery": ""}
        )


class Companies:
    """All of them: one in each partition, on both sides."""

    def __init__(self, stack: Stack, http: httpx2.AsyncClient) -> None:
        self._stack = stack
        self._http = http
        self.all = [Company(stack, http, *place) for place in one_in_each_partition()]

    async def open(self, ingest_url: str) -> None:
        await self._post_settings()
        for company in self.all:
            await company.open(ingest_url)

    async def _post_settings(self) -> None:
        url = f"{self._stack.urls['netsuite']}/_sandbox/settings"
        (await self._http.post(url, json={"keep_bodies": True})).raise_for_status()

    # -- what came of it ---------------------------------------------------------------------------------------------

    async def settle(self, *, within_s: float) -> dict[str, Account]:
        """Until every change was delivered and nothing waits; the sums."""
        quiet = await self._get("pipedrive", "quiet", timeout_s=within_s)
        assert quiet["pending"] == 0
        accounts: dict[str, Account] = {}

        async def nothing_waits() -> bool:
            accounts.update(await asyncio.to_thread(recompute, {"bootstrap.servers": self._stack.bootstrap}))
            return settled(accounts)

        await until(nothing_waits, within_s=within_s)
        return accounts

    async def deliveries(self) -> list[dict[str, Any]]:
        """Every attempt, as the Pipedrive stand-in saw it."""
        found: list[dict[str, Any]] = await self._get("pipedrive", "deliveries")
        return found

    async def lost(self) -> list[str]:
        found: list[str] = await self._get("pipedrive", "lost")
        return found

    async def log(self) -> list[dict[str, Any]]:
        """NetSuite's."""
        found: list[dict[str, Any]] = (await self._get("netsuite", "log"))["entries"]
        return found

    async def judged(self) -> list[Violation]:
        log = await self.log()
        states, outcomes = await asyncio.to_thread(self._read)
        found: list[Violation] = []
        for company in self.all:
            account = company.account
            kinds = ("customer", "contact", "opportunity")
            held = {kind: await self._get("netsuite", f"records/{account}/{kind}") for kind in kinds}
            evidence = Evidence(
                log=[line for line in log if line["account"] == account],
                records={account: held},
                states=[state for state in states if state.account == account],
                outcomes=[one for one in outcomes if one.record_key.startswith(f"{account.lower()}/")],
                slots=SLOTS,
            )
            found += judge(evidence)
        return found

    def _read(self) -> tuple[list[Desired], list[Outcome]]:
        kafka = {"bootstrap.servers": self._stack.bootstrap}
        desired = [one.value for one in read_topic(kafka, topics.DESIRED.name) if one.value is not None]
        audit = [one for one in read_topic(kafka, topics.AUDIT.name) if one.value is not None]
        told = [Outcome.decode(one.value or b"") for one in audit if (one.key or b"").endswith(b"/outcome")]
        # A resolver that is cut off before it commits emits again: what was superseded is superseded once more, under
        # the same key, of which compaction keeps one.
        outcomes = list({(one.cause, one.record_key, one.outcome): one for one in told}.values())
        return [Desired.decode(value) for value in desired], outcomes

    async def _get(self, side: str, path: str, **query: Any) -> Any:
        url = f"{self._stack.urls[side]}/_sandbox/{path}"
        return (await self._http.get(url, params=query, timeout=120)).raise_for_status().json()


def pause_s(log: Sequence[dict[str, Any]], account: str, began_ms: float, ended_ms: float) -> float:
    """The longest time between two writes of an account that began then."""
    writes = [line["start_ms"] for line in log if line["account"] == account and line["record_type"]]
    within = sorted(at_ms for at_ms in writes if began_ms <= at_ms <= ended_ms)
    return max((b - a for a, b in itertools.pairwise([began_ms, *within, ended_ms])), default=0.0) / 1000


def now_ms() -> float:
    return time.time_ns() / 1e6


def one_in_each_partition() -> list[tuple[int, str, str]]:
    """Company id, company, account."""
    found: dict[int, tuple[int, str, str]] = {}
    for number in itertools.count(6_000_001):
        company, account = f"company-{number}", f"{number}_SB1"
        partition = partition_for(account.encode(), PARTITIONS)
        if partition == partition_for(company.encode(), PARTITIONS):
            found.setdefault(partition, (number, company, account))
        if len(found) == PARTITIONS:
            break
    return list(found.values())
