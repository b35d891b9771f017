"""Somebody asks whether the Pipedrive side of a flow is well: the resolver answers in `connector.replies`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ml_connector.common.asking import Finding
from ml_connector.common.vault import Vault, new_key
from support.resolving import COMPANY_ID, Resolving
from support.writing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEAD_PORT = "http://127.0.0.1:9"
ENTITIES = ("organization", "deal")


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vault") / "keys"


def write(keys_file: Path, *keys: str) -> None:
    keys_file.write_text("\n".join(keys))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resolving(keys_file: Path) -> AsyncIterator[Resolving]:
    one = Resolving(MLC_PROBE_FIRST_S="60", MLC_VAULT_KEYS_FILE=str(keys_file))
    write(keys_file, one.stack.vault_key)
    async with one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def acme(resolving: Resolving) -> AsyncIterator[Acme]:
    """A company of its own for each test, all of whose stages are mapped and whose events come to us."""
    acme = Acme(resolving)
    await resolving.company(acme.name)
    stages = await resolving.pipedrive(acme.name, "GET", "/api/v2/stages")
    acme.document["stages"] = {str(stage["id"]): "10" for stage in stages}
    for entity in ENTITIES:
        await acme.subscribe(entity)
    yield acme


class Acme:
    """Its flow is applied by `check`."""

    def __init__(self, resolving: Resolving) -> None:
        self.resolving = resolving
        self.name = f"acme-{uuid.uuid4().hex[:8]}"
        fields = {"companyName": "data.name"}
        self.document: dict[str, Any] = resolving.flow(self.name, fields, company_id=str(COMPANY_ID))
        deal = {"title": "data.title", "entityStatus": "stage_status"}
        self.document["entities"]["deal"] = {"record": "opportunity", "fields": deal}

    async def subscribe(self, entity: str) -> None:
        url = f"https://in.example/webhooks/pipedrive/{self.name}"
        body = {"subscription_url": url, "event_action": "*", "event_object": entity, "name": entity}
        await self.resolving.pipedrive(self.name, "POST", "/api/v1/webhooks", body)

    async def check(self) -> dict[str, Finding]:
        """The flow is followed before the request is."""
        self.resolving.flows([self.document])
        await self.resolving.followed(self.name, company=self.name)
        return await self.resolving.check(self.name, company=self.name)

    def not_ok(self, found: dict[str, Finding]) -> dict[str, str]:
        return {name: one.result for name, one in found.items() if one.result != "ok"}


async def test_all_is_well(acme: Acme) -> None:
    found = await acme.check()

    assert acme.not_ok(found) == {}, found
    assert len(found) == 9
    assert found["address"].took_ms < 10_000


async def test_unknown_stage_is_named_with_those_alike(acme: Acme) -> None:
    acme.document["stages"]["Partners/Qualified"] = "11"

    found = await acme.check()

    assert acme.not_ok(found) == {"stages": "failed"}, found
    assert "'Partners/Qualified'; did you mean" in found["stages"].says


async def test_wrong_token_skips_what_needs_it(resolving: Resolving) -> None:
    acme = Acme(resolving)
    await resolving.company(acme.name, api_token="another")

    found = await acme.check()

    assert found["authentication"].result == "failed"
    assert "does not accept the credential" in found["authentication"].says
    assert found["address"].result == "ok"
    assert {found[name].result for name in ("company", "fields", "stages", "webhook")} == {"skipped"}


async def test_dead_address_is_answered_at_once(acme: Acme) -> None:
    acme.document["pipedrive"]["base_url"] = DEAD_PORT

    found = await acme.check()

    assert (found["credentials"].result, found["address"].result) == ("ok", "failed")
    assert found["budget"].result == "ok"
    assert "no connection" in found["address"].says


async def test_unknown_flow_is_answered(acme: Acme) -> None:
    found = await acme.resolving.check("nobody", company=acme.name)

    assert acme.not_ok(found) == {"credentials": "failed"}


async def test_key_that_is_added_to_the_file_opens_what_was_sealed_with_it_without_a_restart(
    acme: Acme, keys_file: Path
) -> None:
    new, resolving = new_key("next"), acme.resolving
    resolving.vault = Vault.from_text(new)
    before = await acme.check()

    write(keys_file, resolving.stack.vault_key, new)

    async def opened() -> bool:
        return (await resolving.check(acme.name, company=acme.name))["credentials"].result == "ok"

    await until(opened)
    assert before["credentials"].result == "failed"
    assert "next" in before["credentials"].says
    assert acme.not_ok(await resolving.check(acme.name, company=acme.name)) == {}
