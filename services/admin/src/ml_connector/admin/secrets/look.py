"""Which credentials there are, and which flows need them. Never their values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from ml_connector.admin.database import Database
from ml_connector.admin.flows.look import Known, find_all
from ml_connector.admin.tables import act, act_target, secret
from ml_connector.common.credentials import ApiToken, OAuthClient, OAuthGrant, WebhookBasic, WebhookHmac
from ml_connector.common.flows import Environment, NetsuiteSide, PipedriveSide, Webhook
from ml_connector.common.vault import secret_key
from ml_connector.common.wire import Act, ActKind

_CHANGES: Final[tuple[ActKind, ...]] = ("secret.set", "secret.delete")
_PROOFS: Final = {
    "hmac-sha256": (WebhookHmac.NAME,),
    "basic": (WebhookBasic.NAME,),
    "both": (WebhookHmac.NAME, WebhookBasic.NAME),
}
_LOGINS: Final = {"api-token": (ApiToken.NAME,), "oauth2": (OAuthClient.NAME, OAuthGrant.NAME)}


class Stored(NamedTuple):
    """A credential without what is in it."""

    owner: str
    name: str
    environment: Environment
    version: int
    kek: str
    used_by: tuple[str, ...]  # flows

    @property
    def key(self) -> str:
        return secret_key(self.owner, self.name)


class Use(NamedTuple):
    """What the active version of a flow needs."""

    flow: str
    environment: Environment
    owners: frozenset[str]
    keys: frozenset[str]


class SecretLooks:
    """Each method blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Stored]:
        """By key."""
        with self._database.read() as connection:
            found = users_by_key(uses(connection))
            rows = connection.execute(select(secret).where(secret.c.value.is_not(None)).order_by(secret.c.key))
            return [
                Stored(row.owner, row.name, row.environment, row.version, row.kek, tuple(found[row.key]))
                for row in rows
            ]


def uses(connection: Connection) -> list[Use]:
    return [use_of(known) for known in find_all(connection)]


def users_by_key(found: Iterable[Use]) -> Mapping[str, Sequence[str]]:
    """Of each credential the flows that need it."""
    flows: dict[str, list[str]] = defaultdict(list)
    for one in found:
        for key in one.keys:
            flows[key].append(one.flow)
    return flows


def users(found: Sequence[Use], key: str) -> tuple[str, ...]:
    """The flows that need it."""
    return tuple(one.flow for one in found if key in one.keys)


def use_of(known: Known) -> Use:
    """From the document as it stands: also one that this release would not take any more."""
    document = known.version.document
    pipedrive, netsuite = document["pipedrive"], document["netsuite"]
    flow, company, account = known.version.flow, pipedrive["company"], netsuite["account"]
    owners = (f"flow/{flow}", f"pipedrive/{company}", f"netsuite/{account}")
    names = [(owners[0], name) for name in _proofs(pipedrive)]
    names += [(owners[1], name) for name in _LOGINS[pipedrive.get("auth", PipedriveSide.model_fields["auth"].default)]]
    names.append((owners[2], netsuite.get("auth", NetsuiteSide.model_fields["auth"].default)))
    return Use(flow, document["environment"], frozenset(owners), frozenset(secret_key(*one) for one in names))


def stored_version(connection: Connection, key: str) -> int:
    """0: there is none."""
    wanted = select(secret.c.version).where(secret.c.key == key, secret.c.value.is_not(None))
    return connection.scalar(wanted) or 0


def highest_version(connection: Connection, key: str) -> int:
    """That was ever given. The row goes when it is deleted; the acts stay."""
    given = [connection.scalar(select(secret.c.version).where(secret.c.key == key)) or 0]
    about = act_target.c.act_id == act.c.act_id
    wanted = select(act.c.value).join(act_target, about).where(act_target.c.target == key, act.c.act.in_(_CHANGES))
    given += [int(Act.decode(value).detail.get("version", 0)) for value in connection.scalars(wanted)]
    return max(given)


def _proofs(pipedrive: Mapping[str, Any]) -> tuple[str, ...]:
    if pipedrive.get("events") == "none":
        return ()
    return _PROOFS[pipedrive.get("webhook", {}).get("verify", Webhook().verify)]
