"""Encrypt and open credentials (DESIGN section 7).

AES-256-GCM. Each entry has a data key of its own, wrapped by a key-encryption key (KEK) that never leaves the
process's environment. Owner, name, environment and version are bound as associated data: an entry that is
copied to another place does not open there. What belongs to a NetSuite account has the account's environment, whatever
an entry says of itself. Never: logs, I/O.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ml_connector.common.codec import Wire
from ml_connector.common.errors import BadInput, InvalidSettings, KeyMissing, SecretUnreadable
from ml_connector.common.flows import Environment, environment_of, is_account

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # NIST SP 800-38D: 96 bits; each data key encrypts exactly one message


class SecretEntry(Wire, frozen=True):
    """One encrypted credential. In `connector.secrets` under `<owner>/<name>`."""

    owner: str  # "flow/<flow>", "pipedrive/<company>" or "netsuite/<account>"
    name: str  # "webhook-hmac", "webhook-basic", "api-token", "oauth2", "oauth2-m2m", ...
    environment: Environment
    version: int
    kek: str
    wrapped_key: str  # base64 of nonce + AES-GCM(KEK, data key)
    ciphertext: str  # base64 of nonce + AES-GCM(data key, JSON)

    @property
    def key(self) -> str:
        return secret_key(self.owner, self.name)

    def binding(self) -> bytes:
        """What the ciphertexts are bound to; a list, so that no part can leak into its neighbour."""
        return msgspec.json.encode([self.owner, self.name, self.environment, self.version])


def secret_key(owner: str, name: str) -> str:
    return f"{owner}/{name}"


def flow_of(owner: str) -> str | None:
    """The flow whose secret it is; None: a company's or an account's."""
    kind, _, name = owner.partition("/")
    return name if kind == "flow" else None


class Vault:
    """Opens what any of its keys wrapped; encrypts with the first."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise InvalidSettings("MLC_VAULT_KEYS: at least one key is needed; `mlc vault key` makes one")
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._active = next(iter(keys))

    @property
    def active(self) -> str:
        """The id of the key that encrypts."""
        return self._active

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @classmethod
    def from_text(cls, text: str) -> Vault:
        """`<id>:<base64>` separated by commas or line ends. Raises InvalidSettings without quoting a key."""
        parts = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
        return cls(dict(_read_key(part, number) for number, part in enumerate(parts, start=1)))

    def encrypt(
        self, owner: str, name: str, environment: Environment, *, version: int, value: Mapping[str, Any]
    ) -> SecretEntry:
        """`value` as JSON under a fresh data key. Raises BadInput for an account of the other environment."""
        problem = _mismatch(owner, environment)
        if problem:
            raise BadInput(f"{secret_key(owner, name)}: {problem}")
        entry = SecretEntry(
            owner=owner,
            name=name,
            environment=environment,
            version=version,
            kek=self._active,
            wrapped_key="",
            ciphertext="",
        )
        data_key = AESGCM.generate_key(bit_length=256)
        return msgspec.structs.replace(
            entry,
            wrapped_key=_seal(self._keys[self._active], data_key, entry.binding()),
            ciphertext=_seal(AESGCM(data_key), msgspec.json.encode(value), entry.binding()),
        )

    def decrypt(self, entry: SecretEntry, *, owner: str, name: str, environment: Environment) -> dict[str, Any]:
        """The value, if the entry was made for exactly this owner, name and environment; else SecretUnreadable."""
        wanted = msgspec.structs.replace(entry, owner=owner, name=name, environment=environment)
        problem = _mismatch(owner, environment)
        if problem:
            raise SecretUnreadable(f"{wanted.key}: {problem}")
        kek = self._key_of(wanted)
        try:
            data_key = _open(kek, entry.wrapped_key, wanted.binding())
            value = msgspec.json.decode(_open(AESGCM(data_key), entry.ciphertext, wanted.binding()))
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SecretUnreadable(
                f"{wanted.key}: not encrypted for {environment} by key {entry.kek!r}, or damaged"
            ) from error
        if not isinstance(value, dict):
            raise SecretUnreadable(f"{wanted.key}: not an object")
        return value

    def rewrap(self, entry: SecretEntry) -> SecretEntry:
        """The same version and ciphertext, its data key under the active key. Raises SecretUnreadable."""
        kek = self._key_of(entry)
        try:
            data_key = _open(kek, entry.wrapped_key, entry.binding())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SecretUnreadable(f"{entry.key}: not wrapped by key {entry.kek!r}, or damaged") from error
        wrapped = _seal(self._keys[self._active], data_key, entry.binding())
        return msgspec.structs.replace(entry, kek=self._active, wrapped_key=wrapped)

    def _key_of(self, entry: SecretEntry) -> AESGCM:
        kek = self._keys.get(entry.kek)
        if kek is None:
            raise KeyMissing(f"{entry.key}: encrypted with key {entry.kek!r}, which MLC_VAULT_KEYS does not have")
        return kek


def new_key(name: str) -> str:
    """A new key-encryption key in the form that MLC_VAULT_KEYS wants."""
    return f"{name}:{base64.b64encode(AESGCM.generate_key(bit_length=256)).decode()}"


def _mismatch(owner: str, environment: Environment) -> str:
    """Why nothing of this owner can be for this environment; empty if it can."""
    kind, _, account = owner.partition("/")
    if kind != "netsuite":
        return ""
    if not is_account(account):
        return f"{account!r} is not how NetSuite writes an account id (1234567, 1234567_SB1)"
    found = environment_of(account)
    return "" if found == environment else f"account {account} is a {found} account, not {environment}"


def _read_key(part: str, number: int) -> tuple[str, bytes]:
    name, separator, encoded = part.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        key = b""
    if not separator or not name or len(key) != KEY_BYTES:
        raise InvalidSettings(f"MLC_VAULT_KEYS: key {number} is not `<id>:<base64 of {KEY_BYTES} bytes>`")
    return name, key


def _seal(cipher: AESGCM, plain: bytes, binding: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + cipher.encrypt(nonce, plain, binding)).decode()


def _open(cipher: AESGCM, sealed: str, binding: bytes) -> bytes:
    raw = base64.b64decode(sealed, validate=True)
    return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], binding)
