"""Store a credential, change one, delete one. A value comes in, is checked and encrypted; it never leaves this service
again.

Each is one transaction: the table, the act, and the messages that tell of both. Before it the tables must hold all
that the topic holds: a version is part of what a ciphertext is bound to, and must never be given twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, select, update

from ml_connector.admin.acts import record_act
from ml_connector.admin.changing import LEVEL_S, Level, Said, alone
from ml_connector.admin.database import Database
from ml_connector.admin.fold.reading import put
from ml_connector.admin.fold.secrets import secret_row
from ml_connector.admin.outbox import put_message
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.secrets.look import Stored, Use, highest_version, stored_version, users, uses
from ml_connector.admin.tables import secret
from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.credentials import KINDS
from ml_connector.common.errors import BadInput, SecretUnreadable
from ml_connector.common.flows import Environment, environment_of, is_account
from ml_connector.common.vault import SecretEntry, Vault, secret_key
from ml_connector.common.wire import ActKind

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")

T = TypeVar("T")


class Place(NamedTuple):
    """Whose a credential is, and which."""

    owner: str  # as in SecretEntry
    name: str

    @property
    def key(self) -> str:
        return secret_key(self.owner, self.name)

    def refuse_wrong(self) -> None:
        """Raises BadInput."""
        kind = KINDS.get(self.name)
        if kind is None:
            raise BadInput(f"{self.name} is no credential of ours: use one of {', '.join(KINDS)}")
        of, _, who = self.owner.partition("/")
        if of != kind.OWNER:
            raise BadInput(f"{self.name} belongs to an owner {kind.OWNER}/..., not {self.owner}")
        if of == "netsuite" and not is_account(who):
            raise BadInput(f"{who!r} is not how NetSuite writes an account id (1234567, 1234567_SB1)")
        if of != "netsuite" and not _NAME.match(who):
            raise BadInput(f"{who!r} is no name: small letters, digits and hyphens")


class Secrets:
    """All raise BadInput, Conflict, and TryLater while the topics are not read to their ends."""

    def __init__(self, database: Database, level: Level, vault: Callable[[], Vault] | None, clock: Clock) -> None:
        self._database = database
        self._level = level
        self._vault = vault
        self._clock = clock

    async def set(
        self, place: Place, value: Mapping[str, Any], said: Said, environment: Environment | None = None
    ) -> Stored:
        """Without an `environment` it is that of the account, or of the flows that use it."""
        vault = await vault_now(self._vault)
        place.refuse_wrong()
        if place.owner.startswith("netsuite/"):
            environment_for(place, (), environment)  # of two mistakes the worse one is told first
        await asyncio.to_thread(_check, place, value)

        def change(connection: Connection, now_ms: int) -> Stored:
            _refuse_unexpected(stored_version(connection, place.key), said)
            where = environment_for(place, uses(connection), environment)
            version = highest_version(connection, place.key) + 1
            return _store(
                connection, vault.encrypt(place.owner, place.name, where, version=version, value=value), said, now_ms
            )

        return await self._change(place, change)

    async def amend(
        self, place: Place, amend: Callable[[dict[str, Any]], Mapping[str, Any] | None], said: Said
    ) -> None:
        """What stands there by now becomes what `amend` makes of it; None leaves it. Raises NotFound."""
        vault = await vault_now(self._vault)

        def change(connection: Connection, now_ms: int) -> None:
            entry = _stored(connection, place)
            value = amend(_opened(vault, entry))
            if value is not None:
                _check(place, value)
                version = highest_version(connection, place.key) + 1
                _store(
                    connection,
                    vault.encrypt(place.owner, place.name, entry.environment, version=version, value=value),
                    said,
                    now_ms,
                )

        await self._change(place, change)

    async def delete(self, place: Place, said: Said, *, force: bool = False) -> Stored:
        """What an active flow needs only by `force`. Raises NotFound."""

        def change(connection: Connection, now_ms: int) -> Stored:
            entry = _stored(connection, place)
            _refuse_unexpected(entry.version, said)
            used_by = users(uses(connection), place.key)
            if used_by and not force:
                raise Conflict(f"{place.key} is needed by flow {', '.join(used_by)}, which would stop: force says so")
            connection.execute(update(secret).where(secret.c.key == place.key).values(value=None))
            _tell(connection, place, None)
            _note(connection, "secret.delete", place, entry.version, said, now_ms)
            return _shown(entry, used_by)

        return await self._change(place, change)

    async def _change(self, place: Place, change: Callable[[Connection, int], T]) -> T:
        deadline = Deadline.after(self._clock, LEVEL_S)
        await self._level.until_level(deadline, of=topics.SECRETS)
        if not await asyncio.to_thread(self._has, place):  # then only the acts say which versions there were
            await self._level.until_level(deadline, of=topics.AUDIT)
        return await alone(self._database, lambda connection: change(connection, self._clock.now_ms()))

    def _has(self, place: Place) -> bool:
        with self._database.read() as connection:
            return stored_version(connection, place.key) > 0


async def vault_now(vault: Callable[[], Vault] | None) -> Vault:
    """With the keys that its file holds by now. Raises Conflict."""
    if vault is None:
        raise Conflict("the admin service has no key to encrypt with: set MLC_VAULT_KEYS there, as for the others")
    return await asyncio.to_thread(vault)


def _stored(connection: Connection, place: Place) -> SecretEntry:
    value = connection.scalar(select(secret.c.value).where(secret.c.key == place.key))
    if value is None:
        raise NotFound(f"there is no {place.key}")
    return SecretEntry.decode(value)


def _opened(vault: Vault, entry: SecretEntry) -> dict[str, Any]:
    """Raises Conflict."""
    try:
        return vault.decrypt(entry, owner=entry.owner, name=entry.name, environment=entry.environment)
    except SecretUnreadable as error:
        raise Conflict(f"{error}: set it anew, or give the admin service that key") from error


def _store(connection: Connection, entry: SecretEntry, said: Said, now_ms: int) -> Stored:
    place = Place(entry.owner, entry.name)
    put(connection, secret, [secret_row(entry)])
    _tell(connection, place, entry.encode())
    _note(connection, "secret.set", place, entry.version, said, now_ms)
    return _shown(entry, users(uses(connection), entry.key))


def _shown(entry: SecretEntry, used_by: tuple[str, ...]) -> Stored:
    return Stored(entry.owner, entry.name, entry.environment, entry.version, entry.kek, used_by)


def _check(place: Place, value: Mapping[str, Any]) -> None:
    """No text of an error holds anything of the value."""
    try:
        KINDS[place.name].read(dict(value))
        msgspec.json.encode(value)
    except SecretUnreadable as error:
        raise BadInput(str(error)) from error
    except (ValueError, RecursionError):  # half of a surrogate pair; nested without end
        raise BadInput(f"{place.name}: there is something in it that JSON in UTF-8 cannot say") from None


def environment_for(place: Place, found: Sequence[Use], wanted: Environment | None) -> Environment:
    """Raises BadInput."""
    of, _, account = place.owner.partition("/")
    by: dict[Environment, str] = {one.environment: f"flow {one.flow}" for one in found if place.owner in one.owners}
    if of == "netsuite":
        by = {environment_of(account): f"account {account}"}
    if wanted is None:
        if len(by) != 1:
            why = "flows of both environments use it" if by else "no flow uses it yet"
            raise BadInput(f"{place.key}: {why}: say for which environment it is, sandbox or production")
        return next(iter(by))
    if by and wanted not in by:
        other, who = next(iter(by.items()))
        raise BadInput(f"{place.key}: {who} is a {other} {who.partition(' ')[0]}, not {wanted}")
    return wanted


def _refuse_unexpected(now: int, said: Said) -> None:
    if said.expect is not None and said.expect != now:
        is_there = f"version {now} is stored" if now else "none is stored"
        raise Conflict(f"{is_there}, not version {said.expect}: look at it, then ask again")


def _tell(connection: Connection, place: Place, value: bytes | None) -> None:
    put_message(connection, topics.SECRETS, partition_key=place.key, key=place.key, value=value)


def _note(connection: Connection, what: ActKind, place: Place, version: int, said: Said, now_ms: int) -> None:
    record_act(
        connection,
        what,
        by=said.by,
        now_ms=now_ms,
        reason=said.reason,
        targets=[place.key],
        detail={"version": version},
    )
