"""Each service works with the rights that its manifest gives it, and uses every one of them.

Apache Kafka's own authorizer judges (tests/support/guarded.py): it refuses what is not granted and writes down what it
was asked. The rights are those of `mlc topics render users`; no list of its own stands here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import pytest_asyncio
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from ml_connector.cli import rendering
from ml_connector.cli.stack import ADMIN, ALL, COMPANY, FLOW, StackOptions
from ml_connector.common import rights, topics
from ml_connector.common.kafka.admin import partition_count
from ml_connector.sandbox.jars import BrokerFailed
from support import guarded
from support.guarded import Guarded
from support.operating import Operating
from support.writing import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

PUSH_SECRET = "a shared secret of thirty-two characters"
REDIRECT = "https://connector.test/callback"
MAPPED = {
    "organization": {"companyName": "data.name"},
    "person": {"firstName": "data.first_name", "lastName": "data.last_name"},
    "deal": {"title": "data.title", "entityStatus": "stage_status"},
}

Use = tuple[str, str, str, str]  # who, kind, name, operation


@pytest.fixture(scope="module")
def kafka() -> Iterator[Guarded]:
    try:
        with guarded.start([*rights.SERVICES, "keda"]) as one, pytest.MonkeyPatch.context() as patch:
            for service in rights.SERVICES:
                one.allow(service, rights.of(service))
            one.allow("keda", rendering.KEDA)
            patch.setitem(os.environ, "KAFKA_BOOTSTRAP_SERVERS", one.plain)
            yield one
    except BrokerFailed as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def work(kafka: Guarded) -> AsyncIterator[Work]:
    environment = {str(service): kafka.environment(service) for service in rights.SERVICES}
    async with (
        Operating(StackOptions(processes=ALL, environment=environment)) as operating,
        httpx2.AsyncClient(timeout=20) as http,
    ):
        made = Work(operating, http)
        yield made
        await made.admin.close()


class Work:
    """A company that goes through all that the product does."""

    def __init__(self, operating: Operating, http: httpx2.AsyncClient) -> None:
        self._stack = operating.stack
        self._http = http
        self.operator = operating.api
        self.admin = operating.api_of(ADMIN, role="admin")

    async def sandbox(self, vendor: str, path: str, body: Any) -> Any:
        answer = await self._http.post(f"{self._stack.urls[vendor]}/_sandbox/{path}", json=body)
        return answer.raise_for_status().json() if answer.content else None

    async def change(self, entity: str, number: int, body: dict[str, Any]) -> None:
        url = f"{self._stack.urls['pipedrive']}/api/v2/{entity}/{number}"
        (await self._http.patch(url, json=body, headers={"x-api-token": self._stack.api_token})).raise_for_status()

    async def connect(self) -> None:
        """The company by OAuth: the resolver gets tokens and keeps them."""
        app = {"client_id": "app", "client_secret": "hush", "redirect_uri": REDIRECT}
        scopes = ["deals:full", "contacts:full", "users:read", "webhooks:full"]
        await self.sandbox("pipedrive", f"companies/{COMPANY}/apps", {**app, "scopes": scopes})
        base = self._stack.urls["pipedrive"]
        asked = await self._http.get(
            f"{base}/oauth/authorize", params={"client_id": "app", "redirect_uri": REDIRECT, "state": "s"}
        )
        code = parse_qs(urlsplit(asked.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        given = (await self._http.post(f"{base}/oauth/token", data=form, auth=("app", "hush"))).json()
        await self.secret(f"pipedrive/{COMPANY}", "oauth2-client", {"client_id": "app", "client_secret": "hush"})
        await self.secret(f"pipedrive/{COMPANY}", "oauth2", {"refresh_token": given["refresh_token"]})

    async def secret(self, owner: str, name: str, value: dict[str, Any]) -> None:
        await self.admin.put(
            f"/secrets/{owner}/{name}", {"value": value, "reason": "a test's", "environment": "sandbox"}
        )

    async def flow(self) -> None:
        document = self._stack.flow_document()
        document["pipedrive"]["auth"] = "oauth2"
        for entity, fields in MAPPED.items():
            document["entities"][entity]["fields"] = fields
        await self.admin.post("/flows", {"document": document, "reason": "a test's"})

    async def push(self) -> None:
        """A script in NetSuite tells of a change."""
        await self.secret(f"flow/{FLOW}", "netsuite-push", {"keys": [{"id": "k", "secret": PUSH_SECRET}]})
        url = f"{self._stack.urls['ingest']}/webhooks/netsuite/{FLOW}"
        body = {"records": [{"type": "customer", "id": "1"}]}

        async def taken() -> bool:
            given = {"x-netsuite-shared-secret": PUSH_SECRET}
            return (await self._http.post(url, json=body, headers=given)).status_code == 204

        await until(taken, within_s=30)

    async def job(self, kind: str, body: dict[str, Any]) -> None:
        """A sync or a reconcile, to its end."""
        made = await self.operator.post(f"/{kind}s", {"flow": FLOW, "reason": "a test's", **body})
        job = made[kind]["id"]

        async def ended() -> bool:
            return (await self.operator.get(f"/{kind}s/{job}"))["state"] in {"done", "failed", "cancelled"}

        await until(ended, within_s=90)

    async def letters(self, count: int) -> list[dict[str, Any]]:
        async def there() -> bool:
            return len(await self.operator.letters()) >= count

        await until(there, within_s=60)
        return await self.operator.letters()


async def test_rights_of_each_service_are_exactly_those_that_it_uses(kafka: Guarded, work: Work) -> None:
    await work.sandbox("pipedrive", f"companies/{COMPANY}/objects", {"organizations": 6, "persons": 4, "deals": 4})
    await work.connect()
    await work.flow()
    await work.change("persons", 1, {"org_id": 1})  # nobody has told of its organization: the writer asks for it
    await work.change("deals", 1, {"title": "Of a stage that nobody has read yet"})  # put aside until stages are read
    await work.change("organizations", 2, {"name": "A" * 200})  # NetSuite takes 83 characters
    await work.change("organizations", 3, {"name": ""})  # a customer must have a name: nothing to map
    letters = await work.letters(2)
    await work.operator.ended((await work.operator.replay({"ids": [one["id"] for one in letters]}))["id"])
    await work.push()
    await work.operator.post(f"/flows/{FLOW}/check")
    await work.job("sync", {"mode": "full"})
    await work.job("reconcile", {})

    async def all_used() -> bool:
        return granted() <= used(kafka)

    try:
        await until(all_used, within_s=60)
    finally:
        unused, refused = sorted(granted() - used(kafka)), [one for one in kafka.asked() if not one.allowed]
        assert (unused, refused) == ([], [])


def granted() -> set[Use]:
    return {
        (service, right.kind, right.name, operation.upper())
        for service in rights.SERVICES
        for right in rights.of(service)
        for operation in right.operations
    }


def used(kafka: Guarded) -> set[Use]:
    """Names of what is granted by their beginning are cut there."""
    prefixes = [right.name for service in rights.SERVICES for right in rights.of(service) if right.prefix]
    return {
        (
            one.user,
            one.kind,
            next((p for p in prefixes if one.kind == "transactionalId" and one.name.startswith(p)), one.name),
            one.operation,
        )
        for one in kafka.asked()
        if one.allowed
    }


async def test_service_without_a_right_is_refused(kafka: Guarded) -> None:
    """So that the test above can fail: ingest may not see what waits for the writer."""
    client = kafka.client("ingest")

    assert await asyncio.to_thread(partition_count, client, "netsuite.desired") == 0
    assert await asyncio.to_thread(partition_count, client, "pipedrive.events") == 4


async def test_keda_sees_the_lag_and_reads_nothing(kafka: Guarded) -> None:
    place, group = TopicPartition(topics.EVENTS.name, 0), rendering.KEDA[1].name
    admin = AdminClient(kafka.client("keda"))

    def look() -> tuple[int, int]:
        newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client declares no types here
        end = admin.list_offsets({place: newest})[place].result(30).offset
        [asked] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [place])]).values()
        return end, asked.result(30).topic_partitions[0].offset

    end, committed = await asyncio.to_thread(look)
    assert 0 <= end - max(committed, 0) < 1000

    reader = Consumer({**kafka.client("keda"), "group.id": group, "enable.auto.commit": False})
    reader.assign([TopicPartition(topics.EVENTS.name, 0, 0)])
    try:
        refused = await asyncio.to_thread(reader.poll, 20)
    finally:
        reader.close()
    error = refused.error() if refused is not None else None
    assert error is not None
    assert error.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
