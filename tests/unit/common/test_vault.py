"""A secret opens for its owner, name, environment and version, and nowhere else."""

from __future__ import annotations

import base64
import io
import json

import msgspec
import pytest

from ml_connector.common import logs
from ml_connector.common.credentials import ApiToken, WebhookHmac
from ml_connector.common.errors import InvalidSettings, SecretUnreadable
from ml_connector.common.vault import SecretEntry, Vault, new_key

VAULT = Vault({"k1": b"1" * 32})
OWNER, NAME = "flow/acme-eu", "webhook-hmac"
VALUE = {"keys": [{"id": "a", "secret": "CANARY-7f3a"}]}


def entry() -> SecretEntry:
    return VAULT.encrypt(OWNER, NAME, "sandbox", version=1, value=VALUE)


def test_what_was_encrypted_comes_back() -> None:
    assert VAULT.decrypt(entry(), owner=OWNER, name=NAME, environment="sandbox") == VALUE


def test_entry_shows_nothing_of_its_value() -> None:
    sealed = entry()

    assert b"CANARY" not in sealed.encode()
    assert entry().ciphertext != sealed.ciphertext  # a fresh data key and nonce each time


@pytest.mark.parametrize(
    "moved", [{"owner": "flow/other"}, {"name": "webhook-basic"}, {"environment": "production"}, {"version": 2}]
)
def test_entry_that_was_copied_elsewhere_does_not_open(moved: dict[str, str]) -> None:
    copied = msgspec.structs.replace(entry(), **moved)

    with pytest.raises(SecretUnreadable):
        VAULT.decrypt(copied, owner=copied.owner, name=copied.name, environment=copied.environment)


def test_entry_does_not_open_for_somebody_else() -> None:
    with pytest.raises(SecretUnreadable):
        VAULT.decrypt(entry(), owner=OWNER, name=NAME, environment="production")


@pytest.mark.parametrize("member", ["wrapped_key", "ciphertext"])
def test_any_flipped_byte_closes_it(member: str) -> None:
    raw = bytearray(base64.b64decode(getattr(entry(), member)))
    raw[len(raw) // 2] ^= 1
    damaged = msgspec.structs.replace(entry(), **{member: base64.b64encode(raw).decode()})

    with pytest.raises(SecretUnreadable):
        VAULT.decrypt(damaged, owner=OWNER, name=NAME, environment="sandbox")


def test_old_key_still_opens_and_the_first_encrypts() -> None:
    rotated = Vault({"k2": b"2" * 32, "k1": b"1" * 32})

    assert rotated.decrypt(entry(), owner=OWNER, name=NAME, environment="sandbox") == VALUE
    assert rotated.encrypt(OWNER, NAME, "sandbox", version=2, value=VALUE).kek == "k2"


def test_rewrapped_entry_opens_without_the_old_key_and_is_the_same_version() -> None:
    old = entry()

    anew = Vault({"k2": b"2" * 32, "k1": b"1" * 32}).rewrap(old)

    assert Vault({"k2": b"2" * 32}).decrypt(anew, owner=OWNER, name=NAME, environment="sandbox") == VALUE
    assert msgspec.structs.replace(anew, kek="k1", wrapped_key=old.wrapped_key) == old
    with pytest.raises(SecretUnreadable, match="'k2'"):
        VAULT.decrypt(anew, owner=OWNER, name=NAME, environment="sandbox")


@pytest.mark.parametrize(
    "moved", [{"owner": "flow/other"}, {"name": "webhook-basic"}, {"environment": "production"}, {"version": 2}]
)
def test_rewrapping_gives_no_entry_another_place(moved: dict[str, str]) -> None:
    """Neither one that was copied before, nor one that is copied after."""
    both = Vault({"k2": b"2" * 32, "k1": b"1" * 32})
    with pytest.raises(SecretUnreadable):
        both.rewrap(msgspec.structs.replace(entry(), **moved))

    copied = msgspec.structs.replace(both.rewrap(entry()), **moved)
    with pytest.raises(SecretUnreadable):
        both.decrypt(copied, owner=copied.owner, name=copied.name, environment=copied.environment)


def test_what_another_key_wrapped_is_not_rewrapped() -> None:
    for stranger in (Vault({"k2": b"2" * 32}), Vault({"k1": b"2" * 32})):
        with pytest.raises(SecretUnreadable, match="flow/acme-eu/webhook-hmac"):
            stranger.rewrap(entry())


@pytest.mark.parametrize(
    "text",
    ["", "k1", "k1:abc", "k1:" + base64.b64encode(b"short").decode(), ":" + new_key("x")[2:]],
    ids=["empty", "no key", "no base64", "too short", "no id"],
)
def test_key_that_is_none_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        Vault.from_text(text)

    assert "MLC_VAULT_KEYS" in str(error.value)
    assert text[3:] == "" or text[3:] not in str(error.value)


def test_credentials_never_show_their_values() -> None:
    shown = (
        repr(WebhookHmac.read(VALUE)) + repr(WebhookHmac.read(VALUE).keys) + repr(ApiToken.read({"token": "CANARY"}))
    )

    assert "CANARY" not in shown


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"keys": []},
        {"keys": [{"id": "a"}]},
        {"keys": VALUE["keys"] * 2},
        {"keys": VALUE["keys"] * 3},
        {"token": "CANARY"},
    ],
)
def test_value_of_the_wrong_shape_is_refused_without_being_quoted(value: dict[str, object]) -> None:
    with pytest.raises(SecretUnreadable) as error:
        WebhookHmac.read(value)

    assert "CANARY" not in str(error.value)


def test_log_drops_fields_that_are_not_listed() -> None:
    """A body, a token, a name: what has no listed field cannot get in."""
    to = io.StringIO()
    logs.configure("test", to=to)

    logs.get_logger().info("something", flow="acme-eu", body="CANARY", token="CANARY")
    try:
        raise ValueError("CANARY in a text of somebody else")
    except ValueError as error:
        logs.get_logger().error("failed", exc_info=error)

    first, second = (json.loads(line) for line in to.getvalue().splitlines())
    assert first["flow"] == "acme-eu"
    assert sorted(first["dropped_fields"]) == ["body", "token"]
    assert second["error"] == "ValueError"
    assert "CANARY" not in to.getvalue()
