"""Let a company's administrator allow our app, and keep what Pipedrive gives for it.

Two halves: `begin` makes the address where people agree; `finish` is the browser that comes back from there. In between
only the state's hash is kept. What dies after the exchange has lost the grant: nothing else is lost, and asking again
gets another one. The grant is stored as any credential: a new version, under which the resolver's token is void.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from ml_connector.admin.acts import record_act
from ml_connector.admin.changing import LEVEL_S, Level, Said
from ml_connector.admin.connect.exchange import Exchange, NotGranted
from ml_connector.admin.connect.pages import Ending
from ml_connector.admin.connect.place import Side, authorize_url_of, is_granted_by, sides_of, token_url_of
from ml_connector.admin.connect.states import LIFE_MS, Asked, Stale, put_state, take_state
from ml_connector.admin.database import Database
from ml_connector.admin.flows.look import find_all
from ml_connector.admin.replay.control import Conflict
from ml_connector.admin.secrets.change import Place, Secrets, environment_for, vault_now
from ml_connector.admin.secrets.look import stored_version, uses
from ml_connector.admin.tables import secret
from ml_connector.common import topics
from ml_connector.common.clock import Clock, Deadline
from ml_connector.common.credentials import OAuthClient, OAuthGrant
from ml_connector.common.errors import ConnectorError, SecretUnreadable
from ml_connector.common.flows import Environment
from ml_connector.common.logs import get_logger
from ml_connector.common.vault import SecretEntry, Vault

log = get_logger()

CALLBACK: Final = "/v1/pipedrive/callback"
# What a cancelled installation comes back with: by Pipedrive's pages, and by RFC 6749 section 4.1.2.1.
DENIED: Final = frozenset({"user_denied", "access_denied"})


class Begun(NamedTuple):
    authorize_url: str
    expires_at_ms: int
    environment: Environment
    version: int  # of the grant that is stored now; 0: none is

    def __repr__(self) -> str:
        return "Begun(...)"


class Came(NamedTuple):
    """What Pipedrive sent a browser back with: a code, or why there is none."""

    state: str
    code: str
    error: str

    def __repr__(self) -> str:
        return "Came(...)"


class Connects:
    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        *,
        level: Level,
        vault: Callable[[], Vault] | None,
        exchange: Exchange,
        public_url: str | None,
        clock: Clock,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._level = level
        self._vault = vault
        self._exchange = exchange
        self._public_url = public_url
        self._clock = clock

    async def begin(self, company: str, said: Said, environment: Environment | None = None) -> Begun:
        """Raises Conflict with what is missing, BadInput as for a credential, TryLater."""
        if self._public_url is None:
            raise Conflict("set MLC_ADMIN_PUBLIC_URL of the admin service: Pipedrive sends browsers back there")
        place = _place(company)
        place.refuse_wrong()
        vault = await vault_now(self._vault)
        await self._until_level()
        redirect_uri = f"{self._public_url}{CALLBACK}"

        def write() -> Begun:
            with self._database.write() as connection:
                where = environment_for(place, uses(connection), environment)
                token_url = token_url_of(company, sides_of(find_all(connection), company, where))
                asked = Asked(company, where, token_url, redirect_uri, said.by, said.reason)
                return self._open(connection, asked, vault)

        return await asyncio.to_thread(write)

    async def finish(self, came: Came) -> tuple[Ending, str]:
        """How it ended, and for which company (empty when the state is not good)."""
        try:
            asked = await asyncio.to_thread(take_state, self._database, came.state, self._clock.now_ms())
        except SQLAlchemyError as error:
            log.error("pipedrive_not_connected", reason=Ending.not_kept.value, error=type(error).__name__)
            return Ending.not_kept, ""
        if isinstance(asked, Stale):
            log.warning("pipedrive_not_connected", reason=asked.value)
            return Ending(asked.value), ""
        ending = await self._end(asked, came)
        await asyncio.to_thread(self._note_ending, asked, ending)
        return ending, asked.company

    async def _end(self, asked: Asked, came: Came) -> Ending:
        try:
            await self._keep(asked, came)
        except NotGranted as error:
            log.warning("pipedrive_not_connected", company=asked.company, reason=error.ending.value, problem=str(error))
            return error.ending
        except ConnectorError as error:
            log.error("pipedrive_not_connected", company=asked.company, reason="not_kept", problem=str(error))
            return Ending.not_kept
        except SQLAlchemyError as error:  # its text may hold values
            name = type(error).__name__
            log.error("pipedrive_not_connected", company=asked.company, reason="not_kept", error=name)
            return Ending.not_kept
        return Ending.connected

    async def _keep(self, asked: Asked, came: Came) -> None:
        if came.error:
            ending = Ending.denied if came.error in DENIED else Ending.refused
            raise NotGranted(ending, "the browser came back with an error instead of a code")
        vault = await vault_now(self._vault)
        await self._until_level()  # as storing does: a code that is exchanged for nothing is lost
        client = await asyncio.to_thread(self._client_of, asked, vault)
        grant = await self._exchange.grant(asked, came.code, client)
        sides = await asyncio.to_thread(self._sides, asked)
        if not is_granted_by(asked.company, grant.api_domain, token_url=asked.token_url, sides=sides):
            raise NotGranted(Ending.wrong_company, "another company than the one that was asked for")
        said = Said(asked.by, asked.reason)
        stored = await self._secrets.set(_place(asked.company), msgspec.structs.asdict(grant), said, asked.environment)
        log.info("pipedrive_connected", company=asked.company, environment=asked.environment, version=stored.version)

    async def _until_level(self) -> None:
        await self._level.until_level(Deadline.after(self._clock, LEVEL_S), of=topics.SECRETS)

    def _open(self, connection: Connection, asked: Asked, vault: Vault) -> Begun:
        now_ms = self._clock.now_ms()
        authorize_url = authorize_url_of(asked.token_url)
        client = _client(connection, asked, vault)
        state = put_state(connection, asked, now_ms)
        _note(connection, asked, "asked", now_ms)
        query = {"client_id": client.client_id, "redirect_uri": asked.redirect_uri, "state": state}
        version = stored_version(connection, _place(asked.company).key)
        return Begun(f"{authorize_url}?{urlencode(query)}", now_ms + LIFE_MS, asked.environment, version)

    def _client_of(self, asked: Asked, vault: Vault) -> OAuthClient:
        with self._database.read() as connection:
            return _client(connection, asked, vault)

    def _sides(self, asked: Asked) -> list[Side]:
        with self._database.read() as connection:
            return sides_of(find_all(connection), asked.company, asked.environment)

    def _note_ending(self, asked: Asked, ending: Ending) -> None:
        """What was stored has its own act, in the same transaction: without this one it is connected all the same."""
        try:
            with self._database.write() as connection:
                _note(connection, asked, ending.value, self._clock.now_ms())
        except SQLAlchemyError as error:
            log.error("act_not_noted", company=asked.company, reason=ending.value, error=type(error).__name__)


def _client(connection: Connection, asked: Asked, vault: Vault) -> OAuthClient:
    """Raises Conflict."""
    owner, name, where = f"pipedrive/{asked.company}", OAuthClient.NAME, asked.environment
    fix = f"mlc secrets set {owner} {name} --environment {where}"
    value = connection.scalar(select(secret.c.value).where(secret.c.owner == owner, secret.c.name == name))
    if value is None:
        raise Conflict(f"the app's client id and client secret are not stored: {fix}")
    entry = SecretEntry.decode(value)
    if entry.environment != where:
        raise Conflict(f"{owner}/{name} is stored for {entry.environment}, not for {where}: {fix}")
    try:
        return OAuthClient.read(vault.decrypt(entry, owner=owner, name=name, environment=where))
    except SecretUnreadable as error:
        raise Conflict(f"{error}; to store it anew: {fix}") from error


def _note(connection: Connection, asked: Asked, step: str, now_ms: int) -> None:
    place = _place(asked.company)
    detail = {"step": step, "environment": asked.environment}
    record_act(
        connection,
        "pipedrive.connect",
        by=asked.by,
        now_ms=now_ms,
        reason=asked.reason,
        targets=[place.key],
        detail=detail,
    )


def _place(company: str) -> Place:
    return Place(f"pipedrive/{company}", OAuthGrant.NAME)
