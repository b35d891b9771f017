"""The keys of a flow's webhooks while one replaces the other. Pure, but for chance.

In: a credential's value, opened. Out: what it shall be; None leaves it. Of two keys the last is the new one.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from ml_connector.admin.replay.control import Conflict
from ml_connector.common.credentials import LIVE_KEYS, WebhookBasic, WebhookHmac
from ml_connector.common.errors import BadInput

Proof = Literal["basic", "hmac-sha256"]

CREDENTIALS: Final[dict[Proof, str]] = {"basic": WebhookBasic.NAME, "hmac-sha256": WebhookHmac.NAME}


def proof_of(verify: str, wanted: Proof | None) -> Proof:
    """Whose key is meant. Raises BadInput."""
    usual: list[Proof] = [proof for proof in CREDENTIALS if verify in {proof, "both"}]
    if wanted is not None and wanted not in usual:
        raise BadInput(f"deliveries to this flow carry no {wanted}: pipedrive.webhook.verify is {verify}")
    if wanted is None and len(usual) > 1:
        raise BadInput("deliveries to this flow carry both: say which proof, basic or hmac-sha256")
    return wanted or usual[0]


def ids_of(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The old one first."""
    return tuple(key["id"] for key in value["keys"])


def begun(value: Mapping[str, Any], proof: Proof, secret: str) -> dict[str, Any] | None:
    """With a new key behind the one that is there; two stay. `secret`: the new signing key, which its relay must have.

    Raises BadInput, Conflict.
    """
    keys: Sequence[Mapping[str, str]] = value["keys"]
    if proof == "basic" and secret:
        raise BadInput("the new user and password are made here, since Pipedrive alone needs them: give no key")
    if len(keys) == LIVE_KEYS:
        if secret and not _same(keys[-1]["secret"], secret):
            raise Conflict(f"key {keys[-1]['id']} is replacing another already: go on with it, or finish that first")
        return None
    if proof == "hmac-sha256" and not secret:
        raise BadInput("give the new signing key, as the relay will have it (mlc: --key FILE, or --ask)")
    if secret and _same(keys[0]["secret"], secret):
        raise BadInput("this is the key that is there already: give a new one")
    return {**value, "keys": [*keys, _made(proof, secret)]}


def ended(value: Mapping[str, Any], new: str) -> dict[str, Any] | None:
    """With the new key alone. Raises Conflict when another one has come since."""
    if ids_of(value)[-1] != new:
        raise Conflict("somebody has stored another key meanwhile: look at it, then ask again")
    return {**value, "keys": [value["keys"][-1]]} if len(value["keys"]) > 1 else None


def _made(proof: Proof, secret: str) -> dict[str, str]:
    """An id is never given twice: a webhook's name and ingest's word only have the id."""
    name = f"k-{secrets.token_hex(6)}"
    if proof == "basic":
        return {"id": name, "user": f"mlc-{secrets.token_hex(4)}", "password": secrets.token_urlsafe(32)}
    return {"id": name, "secret": secret}


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
