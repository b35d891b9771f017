"""The admin service's half of connecting a company, in this process: its API behind door and guard, SQLite, real HTTP
to Pipedrive. The topics are left out: what would be told stays in the outbox."""

from __future__ import annotations

import copy
import json
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
from sqlalchemy import select

from ml_connector.admin.api.services import Services
from ml_connector.admin.changing import Said
from ml_connector.admin.connect.connect import Connects
from ml_connector.admin.connect.exchange import Exchange
from ml_connector.admin.database import Database
from ml_connector.admin.flows.change import Flows
from ml_connector.admin.flows.fits import Fit
from ml_connector.admin.guard import Guard
from ml_connector.admin.identity.keys import FileKeys
from ml_connector.admin.identity.roles import Actor, Role
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.admin.secrets.change import Place, Secrets
from ml_connector.admin.settings import AdminSettings
from ml_connector.admin.tables import act, secret
from ml_connector.admin.web import make_api, within_door
from ml_connector.cli.tokens import AUDIENCE, ISSUER, jwks_of, make_token, new_signing_key
from ml_connector.common.clock import Deadline, ManualClock, SystemClock
from ml_connector.common.errors import TryLater
from ml_connector.common.flows import Flow
from ml_connector.common.topics import Topic
from ml_connector.common.vault import SecretEntry, Vault, new_key
from ml_connector.common.wire import Act
from support.office import DOCUMENT
from support.pipedrive_standin import PipedriveProcess

PUBLIC = "https://ops.example.com"
REDIRECT = f"{PUBLIC}/v1/pipedrive/callback"
ANNA = Actor("anna", Role.admin)


class Desk:
    """`http` is anybody; `asks` is anna, an admin. `behind`: the topics are not read to their ends."""

    def __init__(self, folder: Path, pipedrive: PipedriveProcess) -> None:
        self.pipedrive = pipedrive
        self.clock = ManualClock(time.time_ns() // 1_000_000)
        self.behind = False
        self.database = Database(f"sqlite:///{folder / 'admin.sqlite'}")
        self.database.migrate()
        self.vault = Vault.from_text(new_key("k1"))
        self.secrets = Secrets(self.database, self, lambda: self.vault, self.clock)
        self.flows = Flows(self.database, self, _fits, self.clock)
        self._key = new_signing_key()
        self._jwks = folder / "jwks.json"
        self._jwks.write_text(json.dumps(jwks_of(self._key)))
        self.verifier = Verifier(
            FileKeys(self._jwks), issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], clock_skew_s=0,
            roles_claim="roles", roles={"admin": "admin"}, clock=SystemClock(),
        )  # fmt: skip
        self.http = self.client(PUBLIC)

    def client(self, public_url: str | None, *, deadline_s: float = 10.0) -> httpx2.AsyncClient:
        """Of a service with these settings."""
        settings = AdminSettings(
            kafka_bootstrap_servers="nowhere:1",
            admin_issuer=ISSUER,
            admin_jwks_file=self._jwks,
            admin_public_url=public_url,
        )
        connects = Connects(
            self.database, self.secrets, level=self, vault=lambda: self.vault,
            exchange=Exchange(settings, self.clock, deadline_s=deadline_s),
            public_url=settings.admin_public_url, clock=self.clock,
        )  # fmt: skip
        services = cast(Services, SimpleNamespace(connects=connects, outbox=self))
        asgi = Guard(within_door(make_api(services), self.verifier), max_body_bytes=1 << 20)
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(asgi), base_url=PUBLIC)

    async def close(self) -> None:
        await self.http.aclose()
        self.database.close()

    # -- as materializer and outbox ----------------------------------------------------------------------------------

    async def until_level(self, deadline: Deadline, *, of: Topic | None = None) -> None:
        if self.behind:
            raise TryLater("the topics are not read to their ends")

    async def publish(self) -> bool:
        return True

    # -- a company ---------------------------------------------------------------------------------------------------

    async def company(self, *, client_of: str = "", **pipedrive: Any) -> str:
        """One with a flow, an app and its client; `client_of`: another company's, which this one uses by mistake."""
        name = f"acme-{uuid.uuid4().hex[:8]}"
        self.install(name)
        await self.store(name, "oauth2-client", {"client_id": client_of or name, "client_secret": "hush-hush-hush"})
        await self.flow(name, name, **pipedrive)
        return name

    def install(self, name: str, **terms: Any) -> None:
        self.pipedrive.company(name, **terms)
        app = {"client_id": name, "client_secret": "hush-hush-hush", "redirect_uri": REDIRECT, "scopes": ["base"]}
        self.pipedrive.admin("POST", f"companies/{name}/apps", app)

    async def flow(self, name: str, company: str, **pipedrive: Any) -> None:
        document = copy.deepcopy(DOCUMENT)
        url = f"{self.pipedrive.url}/oauth/token"
        document |= {"flow": name, "external_ids": uuid.uuid4().hex[:12]}
        document["pipedrive"] = {"company": company, "auth": "oauth2", "oauth_url": url, **pipedrive}
        await self.flows.apply(document, Said(ANNA))

    async def store(self, company: str, name: str, value: dict[str, Any], environment: Any = "sandbox") -> None:
        await self.secrets.set(Place(f"pipedrive/{company}", name), value, Said(ANNA), environment)

    # -- the three steps ---------------------------------------------------------------------------------------------

    async def ask(self, company: str, http: httpx2.AsyncClient | None = None, **body: Any) -> httpx2.Response:
        now_s = int(time.time())
        token = make_token(
            self._key, issuer=ISSUER, audience=AUDIENCE, subject="anna", roles=["admin"], lifetime_s=60, now_s=now_s
        )
        headers = {"authorization": f"Bearer {token}"}
        return await (http or self.http).post(f"/v1/pipedrive/{company}/connect", json=body, headers=headers)

    async def asked(self, company: str) -> str:
        """The address to agree at."""
        answer = await self.ask(company)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["authorize_url"])

    def agree(self, authorize_url: str, **headers: str) -> dict[str, str]:
        """What the browser comes back with."""
        answer = self.pipedrive.http.get(authorize_url, headers=headers)
        place, query = answer.headers["location"].split("?")
        assert (answer.status_code, place) == (302, REDIRECT)
        return {name: values[0] for name, values in parse_qs(query).items()}

    async def come_back(self, query: dict[str, str], http: httpx2.AsyncClient | None = None) -> httpx2.Response:
        return await (http or self.http).get("/v1/pipedrive/callback", params=query)

    # -- what is left ------------------------------------------------------------------------------------------------

    def stored(self, company: str) -> tuple[int, dict[str, Any]]:
        """Version and value of the grant; 0 when there is none."""
        key = f"pipedrive/{company}/oauth2"
        with self.database.read() as connection:
            value = connection.scalar(select(secret.c.value).where(secret.c.key == key))
        if value is None:
            return 0, {}
        entry = SecretEntry.decode(value)
        opened = self.vault.decrypt(entry, owner=entry.owner, name="oauth2", environment="sandbox")
        return entry.version, opened

    def acts(self, company: str) -> set[tuple[str, str, str]]:
        """What, by whom, which step."""
        with self.database.read() as connection:
            found = [Act.decode(value) for value in connection.scalars(select(act.c.value))]
        mine = [one for one in found if f"pipedrive/{company}/oauth2" in one.targets]
        return {(one.act, one.actor, str(one.detail.get("step", ""))) for one in mine}


def state_of(authorize_url: str) -> str:
    return parse_qs(urlsplit(authorize_url).query)["state"][0]


async def _fits(_: Flow) -> Fit:
    return Fit()
