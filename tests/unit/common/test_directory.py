"""Who is told of a change, and of which: a thousand companies change their token every hour."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.common.credentials import ApiToken
from ml_connector.common.directory import Directory
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.flows import ActiveFlow, Flow, FlowVersion
from ml_connector.common.settings import Settings
from ml_connector.common.vault import Vault, flow_of, new_key

KEY = new_key("k1")
DOCUMENT: dict[str, Any] = {
    "environment": "sandbox", "pipedrive": {"company": "acme"}, "external_ids": "pd",
    "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
}  # fmt: skip


class Told:
    """A directory, and what it told."""

    def __init__(self) -> None:
        self.directory = Directory(Settings.load(kafka_bootstrap_servers="127.0.0.1:1", vault_keys=KEY))
        self.flows: list[Flow] = []
        self.owners: list[str] = []
        self.directory.on_flow(self.flows.append)
        self.directory.on_secret(self.owners.append)

    def apply(self, name: str, account: str, *, version: int = 1) -> None:
        document = {**DOCUMENT, "flow": name, "netsuite": {"account": account}}
        applied = FlowVersion(flow=name, version=version, document=document, applied_at_ms=0, applied_by="test")
        self.directory._on_flow(f"{name}/v{version}", applied.encode())
        self.directory._on_flow(name, ActiveFlow(flow=name, version=version).encode())

    def names(self, account: str) -> list[str]:
        return sorted(live.flow.flow for live in self.directory.flows_of(account))


@pytest.fixture
def told() -> Told:
    return Told()


def test_flows_are_found_by_their_account_in_any_letters(told: Told) -> None:
    told.apply("a", "1_SB1")
    told.apply("b", "1_SB1")
    told.apply("c", "2_SB1")

    assert (told.names("1_sb1"), told.names("1_SB1"), told.names("2_sb1")) == (["a", "b"], ["a", "b"], ["c"])
    assert told.names("3_SB1") == []
    assert {live.flow.flow for live in told.directory.flows()} == {"a", "b", "c"}


def test_a_flow_is_told_as_it_is_and_when_it_goes_as_it_was(told: Told) -> None:
    told.apply("a", "1_SB1")
    told.apply("a", "1_SB1", version=2)
    told.directory._on_flow("a", None)

    assert [flow.netsuite.account for flow in told.flows] == ["1_SB1"] * len(told.flows)
    assert (told.names("1_SB1"), told.directory.flow("a"), told.owners) == ([], None, [])
    told.apply("a", "1_SB1", version=2)
    assert told.names("1_SB1") == ["a"]


def test_what_never_was_a_flow_is_told_to_nobody(told: Told) -> None:
    told.directory._on_flow("a", ActiveFlow(flow="a", version=1).encode())
    told.directory._on_flow("b/v1", b"no flow")

    assert told.flows == []
    assert list(told.directory.problems) == ["b/v1"]


def test_a_secret_is_told_by_its_owner(told: Told) -> None:
    owners = ["pipedrive/acme", "flow/acme", "netsuite/1_SB1"]
    for owner in owners:
        entry = Vault.from_text(KEY).encrypt(owner, ApiToken.NAME, "sandbox", version=1, value={"token": "t"})
        told.directory._on_secret(entry.key, entry)

    assert (told.owners, told.flows) == (owners, [])
    assert [flow_of(owner) for owner in (*owners, "")] == [None, "acme", None, None]


class _Unscanned(dict[Any, Any]):
    """Nobody goes through all of it."""

    def __iter__(self) -> Any:
        raise AssertionError("all credentials were looked at")


def test_a_changed_secret_is_opened_anew_in_each_environment_and_no_other_is_looked_at(told: Told) -> None:
    vault = Vault.from_text(KEY)
    told.directory._opened = _Unscanned()

    def store(company: str, version: int) -> None:
        value = {"token": f"{company}-{version}"}
        entry = vault.encrypt(f"pipedrive/{company}", ApiToken.NAME, "sandbox", version=version, value=value)
        told.directory._on_secret(entry.key, entry)

    def opened(company: str) -> ApiToken:
        return told.directory.secret(ApiToken, owner=f"pipedrive/{company}", environment="sandbox")

    store("a", 1)
    store("b", 1)
    before = opened("b")
    assert opened("a").token == "a-1"
    with pytest.raises(SecretUnreadable):
        told.directory.secret(ApiToken, owner="pipedrive/a", environment="production")

    store("a", 2)

    assert opened("a").token == "a-2" and opened("b") is before
    assert ("pipedrive/a/api-token", "production") not in told.directory._opened
