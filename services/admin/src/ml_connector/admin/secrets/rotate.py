"""The vault's key: wrap every credential anew under the active one, and say which keys are needed no more.

Batch by batch, each one transaction: it reads what stands there then, so nothing fresher is overwritten, and what a
kill leaves is found by the next run. Never: the resolver's tokens, which get the active key at each refresh.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select

from ml_connector.admin.acts import record_act
from ml_connector.admin.changing import LEVEL_S, Level, Said
from ml_connector.admin.database import Database, lock_folding
from ml_connector.admin.fold.reading import put
from ml_connector.admin.fold.secrets import secret_row
from ml_connector.admin.outbox import put_message
from ml_connector.admin.secrets.change import vault_now
from ml_connector.admin.tables import outbox, secret
from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.credentials import OAuthToken
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.logs import get_logger
from ml_connector.common.vault import SecretEntry, Vault

log = get_logger()

BATCH: Final = 100  # credentials of one transaction; the folding waits that long


class Rotated(NamedTuple):
    active: str  # the id of the key
    rewrapped: tuple[str, ...]  # credentials by key, `<owner>/<name>`
    unreadable: tuple[str, ...]  # the same; stay as they are


class KeyUse(NamedTuple):
    """One key-encryption key."""

    id: str
    entries: int  # credentials and tokens that it wraps
    tokens: int  # of them the resolver's
    here: bool  # whether this service has it
    removable: bool


class VaultStatus(NamedTuple):
    active: str
    keys: tuple[KeyUse, ...]  # in the order of MLC_VAULT_KEYS, then those that are not there
    untold: int  # changes that the topic does not have yet; until it has them no key is removable


class _Batch(NamedTuple):
    rewrapped: list[str]
    unreadable: list[str]
    last: str | None  # its last key; None: nothing is left after it


class Rotation:
    """Both raise Conflict without a vault, and TryLater while the topics are not read to their ends."""

    def __init__(
        self,
        database: Database,
        level: Level,
        vault: Callable[[], Vault] | None,
        clock: Clock,
        *,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._level = level
        self._vault = vault
        self._clock = clock
        self._batch_size = batch

    async def rotate(self, said: Said) -> Rotated:
        """Stopped anywhere, the next run does what is left. What no key opens is named and left alone."""
        vault = await self._ready()
        rewrapped: list[str] = []
        unreadable: list[str] = []
        after: str | None = ""
        while after is not None:
            batch = await asyncio.to_thread(self._rewrap, vault, after)
            rewrapped += batch.rewrapped
            unreadable += batch.unreadable
            after = batch.last
        done = Rotated(vault.active, tuple(rewrapped), tuple(unreadable))
        await asyncio.to_thread(self._note, done, said)
        return done

    async def status(self) -> VaultStatus:
        vault = await self._ready()
        return await asyncio.to_thread(self._look, vault)

    async def _ready(self) -> Vault:
        vault = await vault_now(self._vault)
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.SECRETS)
        return vault

    def _rewrap(self, vault: Vault, after: str) -> _Batch:
        old = (secret.c.kek != vault.active, secret.c.value.is_not(None), secret.c.name != OAuthToken.NAME)
        wanted = select(secret).where(*old, secret.c.key > after).order_by(secret.c.key).limit(self._batch_size)
        with self._database.write() as connection:
            lock_folding(connection)
            rows = connection.execute(wanted).all()
            entries, unreadable = _wrapped_anew(vault, [row.value for row in rows])
            put(connection, secret, [secret_row(entry) for entry in entries])
            for entry in entries:
                put_message(connection, topics.SECRETS, partition_key=entry.key, key=entry.key, value=entry.encode())
        last = rows[-1].key if len(rows) == self._batch_size else None
        return _Batch([entry.key for entry in entries], unreadable, last)

    def _note(self, done: Rotated, said: Said) -> None:
        detail = {"active": done.active, "rewrapped": len(done.rewrapped), "unreadable": len(done.unreadable)}
        with self._database.write() as connection:
            record_act(
                connection,
                "vault.rotate",
                by=said.by,
                now_ms=self._clock.now_ms(),
                reason=said.reason,
                targets=done.rewrapped,
                detail=detail,
            )
        log.info("vault_rotated", kek=done.active, secrets=len(done.rewrapped))

    def _look(self, vault: Vault) -> VaultStatus:
        with self._database.read() as connection:
            untold = connection.scalar(
                select(func.count()).select_from(outbox).where(outbox.c.topic == topics.SECRETS.name)
            )
            entries, tokens = _counted(connection)
        ids = [*vault.ids, *sorted(entries.keys() - set(vault.ids))]

        def use(key: str) -> KeyUse:
            removable = not (untold or entries[key] or key == vault.active)
            return KeyUse(key, entries[key], tokens[key], key in vault.ids, removable)

        return VaultStatus(vault.active, tuple(use(key) for key in ids), untold or 0)


def _wrapped_anew(vault: Vault, values: list[bytes]) -> tuple[list[SecretEntry], list[str]]:
    """And the keys of those that cannot be."""
    anew: list[SecretEntry] = []
    unreadable: list[str] = []
    for entry in map(SecretEntry.decode, values):
        try:
            anew.append(vault.rewrap(entry))
        except SecretUnreadable as error:
            unreadable.append(entry.key)
            log.warning("secret_unreadable", problem=str(error))
    return anew, unreadable


def _counted(connection: Connection) -> tuple[Counter[str], Counter[str]]:
    """By key id: all that is stored, and the tokens among them."""
    entries: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    wanted = select(secret.c.kek, secret.c.name, func.count().label("entries"))
    for row in connection.execute(wanted.where(secret.c.value.is_not(None)).group_by(secret.c.kek, secret.c.name)):
        entries[row.kek] += row.entries
        tokens[row.kek] += row.entries if row.name == OAuthToken.NAME else 0
    return entries, tokens
