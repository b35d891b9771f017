"""Sandbox and production never mix (DESIGN section 3, rule 8): every way round it that we could think of is closed.

An account id with an `_SB<n>` suffix is a sandbox, any other is production, and the flow says which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ml_connector.common.credentials import ApiToken, NetsuiteM2M
from ml_connector.common.directory import Directory, FlowBook
from ml_connector.common.errors import BadInput, InvalidFlow, SecretUnreadable
from ml_connector.common.flows import ActiveFlow, Environment, FlowVersion, environment_of, is_account, parse_flow
from ml_connector.common.settings import Settings
from ml_connector.common.vault import SecretEntry, Vault, new_key

SANDBOX, PRODUCTION, PREVIEW = "1234567_SB1", "1234567", "1234567_RP"
M2M = {"client_id": "c", "certificate_id": "k", "private_key_pem": "p", "algorithm": "ES256"}

# Accounts that look like the sandbox 1234567_SB1 (or like its production account), and are not written as NetSuite does.
LOOK_ALIKES = [
    "1234567_sb1",
    "1234567_Sb1",
    "1234567-SB1",
    "1234567-sb1",
    "1234567_SB",
    "1234567_SBX",
    "1234567_SB1X",
    "1234567__SB1",
    "1234567_SB1_SB2",
    "1234567_SB1_RP",
    "1234567_SB1 ",
    " 1234567_SB1",
    "1234567 _SB1",
    "1234567_SB1\n",
    "1234567_SB1\x00",
    "1234567_SB1\u200b",  # zero width space
    "1234567_SB\u0661",  # Arabic-Indic one
    "1234567_SB\uff11",  # full-width one
    "1234567_\uff33\uff22\uff11",
    "1234567_\u0405B1",  # Cyrillic dze
    "1234567_S\u03921",  # Greek beta
    "1234567\uff3fSB1",  # full-width low line
    "1234567_SB\u00b9",  # superscript one
    "\u0661234567",
    "1234567_rp",
    "1234567-rp",
    "1234567 ",
    "",
]


def document(
    account: str = SANDBOX, environment: str = "sandbox", base_url: str | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "flow": "acme-eu",
        "environment": environment,
        "pipedrive": {"company": "acme-eu"},
        "netsuite": {"account": account} | ({"base_url": base_url} if base_url is not None else {}),
        "external_ids": "pd",
        "entities": {"organization": {"record": "customer", "fields": {"companyName": "data.name"}}},
        **more,
    }


# -- validation, which apply and load go through as well ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "environment"), [(SANDBOX, "sandbox"), (PRODUCTION, "production"), ("TSTDRV1234567", "production")]
)
def test_flow_that_says_what_its_account_is(account: str, environment: str) -> None:
    assert parse_flow(document(account, environment)).environment == environment


@pytest.mark.parametrize(
    ("account", "environment"), [(SANDBOX, "production"), (PRODUCTION, "sandbox"), (PREVIEW, "sandbox")]
)
def test_flow_that_says_otherwise_is_refused(account: str, environment: str) -> None:
    with pytest.raises(InvalidFlow, match=f"environment is {environment}, but account {account} is a "):
        parse_flow(document(account, environment))


@pytest.mark.parametrize("environment", ["sandbox", "production"])
@pytest.mark.parametrize("account", LOOK_ALIKES)
def test_account_that_only_looks_like_one_is_refused(account: str, environment: str) -> None:
    """Were `1234567_sb1` taken for production, a flow of a sandbox would be production."""
    with pytest.raises(InvalidFlow, match=r"netsuite\.account: an account id is in capitals"):
        parse_flow(document(account, environment))


@pytest.mark.parametrize("environment", ["Sandbox", "SANDBOX", "sandbox ", "test", "", None, 1, ["sandbox"]])
def test_environment_is_one_of_two_words(environment: Any) -> None:
    with pytest.raises(InvalidFlow, match="environment: Input should be 'sandbox' or 'production'"):
        parse_flow(document(environment=environment))


def test_release_preview_is_production_as_any_account_without_sb() -> None:
    """What Oracle makes of `_RP` is unconfirmed (docs/unproven.md); the rule knows one suffix."""
    flow = parse_flow(document(PREVIEW, "production"))

    assert (environment_of(PREVIEW), flow.netsuite.url) == (
        "production",
        "https://1234567-rp.suitetalk.api.netsuite.com",
    )


NETSUITE = "suitetalk.api.netsuite.com"


@pytest.mark.parametrize(
    ("account", "environment", "url"),
    [
        (SANDBOX, "sandbox", f"https://1234567.{NETSUITE}"),
        (SANDBOX, "sandbox", f"https://1234567-sb2.{NETSUITE}"),
        (SANDBOX, "sandbox", f"https://1234567-sb11.{NETSUITE}"),
        (SANDBOX, "sandbox", f"https://7654321-sb1.{NETSUITE}"),
        (SANDBOX, "sandbox", f"https://1234567-rp.{NETSUITE}"),
        (SANDBOX, "sandbox", f"https://1234567_sb1.{NETSUITE}"),  # no such host
        (SANDBOX, "sandbox", f"https://1234567.{NETSUITE}:443"),
        (SANDBOX, "sandbox", f"https://1234567.{NETSUITE}/1234567-sb1"),
        (SANDBOX, "sandbox", f"https://x.1234567-sb1.{NETSUITE}"),
        (SANDBOX, "sandbox", "https://1234567.restlets.api.netsuite.com"),
        (SANDBOX, "sandbox", "https://1234567.SuiteTalk.API.NetSuite.com"),
        (SANDBOX, "sandbox", "https://rest.netsuite.com"),
        (SANDBOX, "sandbox", "https://system.netsuite.com"),
        (SANDBOX, "sandbox", "https://netsuite.com"),
        (SANDBOX, "sandbox", "https://1234567.gateway.example"),
        (SANDBOX, "sandbox", "https://netsuite-1234567.gateway.example"),
        (SANDBOX, "sandbox", "https://gateway.1234567.example"),
        (PRODUCTION, "production", f"https://1234567-sb1.{NETSUITE}"),
        (PRODUCTION, "production", f"https://1234567-SB1.{NETSUITE}"),
        (PRODUCTION, "production", f"https://1234567-rp.{NETSUITE}"),
        (PRODUCTION, "production", f"https://7654321.{NETSUITE}"),
        (PRODUCTION, "production", "https://1234567-sb1.gateway.example"),
        (PRODUCTION, "production", "https://1234567_sb1.gateway.example"),
        (PREVIEW, "production", f"https://1234567.{NETSUITE}"),
        (PREVIEW, "production", f"https://1234567-sb1.{NETSUITE}"),
    ],
)
def test_base_url_that_names_another_account_is_refused(account: str, environment: str, url: str) -> None:
    with pytest.raises(InvalidFlow, match=r"netsuite: base_url names \S+, but account"):
        parse_flow(document(account, environment, url))


@pytest.mark.parametrize(
    "url",
    [
        f"https://1234567.{NETSUITE}.",
        f"https://1234567-sb1.{NETSUITE}@1234567.{NETSUITE}",
        f"https://1234567.{NETSUITE}#1234567-sb1.{NETSUITE}",
        f"https://1234567.{NETSUITE} ",
        f"https://1234567\u2011sb1.{NETSUITE}",  # a non-breaking hyphen
        f"https://\uff11234567.{NETSUITE}",
        "https://1234567.suitetalk.api.n\u0435tsuite.com",  # Cyrillic ie
        f"http://1234567-sb1.{NETSUITE}",
    ],
)
def test_base_url_that_hides_where_it_leads_is_refused(url: str) -> None:
    with pytest.raises(InvalidFlow, match=r"netsuite\.base_url: "):
        parse_flow(document(base_url=url))


@pytest.mark.parametrize(
    ("account", "url"),
    [
        (SANDBOX, f"https://1234567-sb1.{NETSUITE}"),
        (SANDBOX, f"https://1234567-SB1.{NETSUITE.upper()}"),
        (SANDBOX, "https://1234567-sb1.gateway.example/netsuite"),
        (SANDBOX, "https://netsuite.gateway.example"),
        (SANDBOX, "https://gateway2.123456789012.eu-1.cloud.example"),
        (SANDBOX, "https://vpce-01234567abc.cloud.example"),
        (SANDBOX, "http://127.0.0.1:12345"),
        (SANDBOX, "https://10.20.30.40:12345"),
        (PRODUCTION, f"https://1234567.{NETSUITE}"),
        (PRODUCTION, "https://ns-1234567.gateway.example"),
        (PREVIEW, f"https://1234567-rp.{NETSUITE}"),
        ("TSTDRV1234567", f"https://tstdrv1234567.{NETSUITE}"),
        ("TSTDRV1234567", "https://tstdrv1234567.gateway.example"),
    ],
)
def test_base_url_of_the_account_itself_or_of_a_gateway(account: str, url: str) -> None:
    assert parse_flow(document(account, environment_of(account), url)).netsuite.url == url


# -- load: somebody has edited the topic ----------------------------------------------------------------------------------


def version(number: int = 1, of: str = "acme-eu", **changes: Any) -> bytes:
    return FlowVersion(flow=of, version=number, document=document(**changes), applied_at_ms=1, applied_by="x").encode()


def book(*messages: tuple[str, bytes]) -> FlowBook:
    found = FlowBook()
    for key, value in (("acme-eu/v1", version()), ("acme-eu", ActiveFlow(flow="acme-eu", version=1).encode())):
        found.fold(key, value)
    assert found.problems == {}
    for key, value in messages:
        found.fold(key, value)
    return found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("acme-eu/v1", version(environment="production"), id="environment"),
        pytest.param("acme-eu/v1", version(account=PRODUCTION), id="account"),
        pytest.param("acme-eu/v1", version(account=PRODUCTION, environment="production"), id="both"),
        pytest.param("acme-eu/v2", version(2, account=PRODUCTION, environment="production"), id="both, as a new one"),
        pytest.param("acme-eu/v2", version(2, account="7654321_SB1"), id="another sandbox"),
        pytest.param("acme-eu/v2", version(2, external_ids="other"), id="prefix"),
        pytest.param("acme-eu/v2", version(2, pipedrive={"company": "other"}), id="company"),
        pytest.param("acme-eu/v1", version(base_url=f"https://1234567.{NETSUITE}"), id="base URL"),
        pytest.param("acme-eu/v1", version(account="1234567_sb1", environment="production"), id="lower case"),
        pytest.param("acme-eu/v2", version(1), id="another version's key"),
        pytest.param("acme-eu/v2", version(2, of="acme-us"), id="copied from another flow"),
        pytest.param("acme-eu/vx", version(), id="no version at all"),
        pytest.param("acme-eu/v\u0661", version(), id="a digit of another script"),
        pytest.param("acme-eu/v01", version(), id="a second key of one version"),
    ],
)
def test_edited_version_is_refused_and_the_one_before_stays(key: str, value: bytes) -> None:
    found = book((key, value))
    live = found.live("acme-eu")

    assert live is not None
    assert (live.flow.netsuite.account, live.flow.environment, live.flow.netsuite.base_url) == (
        SANDBOX,
        "sandbox",
        None,
    )
    assert list(found.problems) == [key]


def test_version_of_another_flow_does_not_pass_under_a_copied_key() -> None:
    """The envelope says `acme-eu`, the document inside is that of the production flow."""
    inside = document(PRODUCTION, "production") | {"flow": "acme-live"}
    copied = FlowVersion(flow="acme-eu", version=1, document=inside, applied_at_ms=1, applied_by="x")
    found = FlowBook()

    found.fold("acme-eu/v1", copied.encode())
    found.fold("acme-eu", ActiveFlow(flow="acme-eu", version=1).encode())

    assert found.live("acme-eu") is None
    assert "acme-live" in found.problems["acme-eu/v1"]


# -- the vault: somebody has copied ciphertext ------------------------------------------------------------------------------

KEYS = new_key("k1")
VAULT = Vault.from_text(KEYS)


def entry(owner: str, environment: Environment) -> SecretEntry:
    return VAULT.encrypt(owner, NetsuiteM2M.NAME, environment, version=1, value=M2M)


def opened(found: SecretEntry, owner: str, environment: Environment) -> dict[str, Any]:
    return VAULT.decrypt(found, owner=owner, name=NetsuiteM2M.NAME, environment=environment)


@pytest.mark.parametrize(
    ("account", "environment"), [(SANDBOX, "production"), (PRODUCTION, "sandbox"), (PREVIEW, "sandbox")]
)
def test_vault_seals_nothing_for_the_other_environment(account: str, environment: Environment) -> None:
    with pytest.raises(BadInput, match=f"account {account} is a "):
        entry(f"netsuite/{account}", environment)


@pytest.mark.parametrize("environment", ["sandbox", "production"])
@pytest.mark.parametrize("account", LOOK_ALIKES)
def test_vault_seals_nothing_for_a_look_alike(account: str, environment: Environment) -> None:
    assert not is_account(account)
    with pytest.raises(BadInput, match="is not how NetSuite writes an account id"):
        entry(f"netsuite/{account}", environment)


@pytest.mark.parametrize("environment", ["sandbox", "production"])
@pytest.mark.parametrize("owner", [f"netsuite/{name}" for name in (SANDBOX, PRODUCTION, PREVIEW, "1234567_sb1")])
def test_production_credential_opens_for_its_own_account_alone(owner: str, environment: Environment) -> None:
    sealed = entry(f"netsuite/{PRODUCTION}", "production")
    relabelled = msgspec.structs.replace(sealed, owner=owner, environment=environment)
    itself = (owner, environment) == (f"netsuite/{PRODUCTION}", "production")

    for copied in (sealed, relabelled):
        if itself:
            assert opened(copied, owner, environment) == M2M
        else:
            with pytest.raises(SecretUnreadable):
                opened(copied, owner, environment)


def test_vault_does_not_open_what_a_forger_with_the_key_sealed_for_the_wrong_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule holds at opening too, not only where we seal."""
    with monkeypatch.context() as patched:
        patched.setattr("ml_connector.common.vault._mismatch", lambda *_: "")
        forged = entry(f"netsuite/{SANDBOX}", "production")

    with pytest.raises(SecretUnreadable, match="is a sandbox account, not production"):
        opened(forged, f"netsuite/{SANDBOX}", "production")


# -- the directory: what a service gets ---------------------------------------------------------------------------------------


@pytest.fixture
def directory() -> Directory:
    return Directory(Settings.load(kafka_bootstrap_servers="127.0.0.1:1", vault_keys=KEYS))


def copied_under(account: str, environment: Environment) -> Callable[[SecretEntry], SecretEntry]:
    return lambda sealed: msgspec.structs.replace(sealed, owner=f"netsuite/{account}", environment=environment)


def test_service_gets_no_production_credential_for_its_sandbox_flow(directory: Directory) -> None:
    sealed = entry(f"netsuite/{PRODUCTION}", "production")
    for copied in (sealed, copied_under(SANDBOX, "sandbox")(sealed), copied_under(SANDBOX, "production")(sealed)):
        directory._on_secret(f"netsuite/{SANDBOX}/{NetsuiteM2M.NAME}", copied)

        with pytest.raises(SecretUnreadable):
            directory.secret(NetsuiteM2M, owner=f"netsuite/{SANDBOX}", environment="sandbox")


def test_credential_of_one_company_is_for_one_environment(directory: Directory) -> None:
    """A Pipedrive company has no suffix that tells: its credential is bound to what it was set for."""
    sealed = VAULT.encrypt("pipedrive/acme-eu", ApiToken.NAME, "production", version=1, value={"token": "t"})
    directory._on_secret(sealed.key, sealed)

    assert directory.secret(ApiToken, owner="pipedrive/acme-eu", environment="production").token == "t"
    with pytest.raises(SecretUnreadable):
        directory.secret(ApiToken, owner="pipedrive/acme-eu", environment="sandbox")


def test_edited_flow_never_reaches_a_service(directory: Directory) -> None:
    directory._on_flow("acme-eu/v1", version(environment="production"))
    directory._on_flow("acme-eu", ActiveFlow(flow="acme-eu", version=1).encode())

    assert list(directory.flows()) == []
    assert list(directory.problems) == ["acme-eu/v1"]
