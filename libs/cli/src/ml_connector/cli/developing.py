"""A flow to develop with: one company and one account at the stand-ins, their credentials on both sides.

For a stack of one's own: `mlc up`, the demo, the tests, `docker compose --profile sandbox up`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ruamel.yaml import YAML

from ml_connector.cli.publishing import TopicWriter
from ml_connector.common.errors import ConnectorError
from ml_connector.common.flows import parse_flow

FLOW: Final = "acme-eu"
COMPANY: Final = "acme-eu"
COMPANY_ID: Final = "8087566"
ACCOUNT: Final = "1234567_SB1"
STAND_INS: Final = ("pipedrive", "netsuite")
TIMEOUT_S: Final = 10.0


@dataclass(slots=True)
class DevelopmentFlow:
    """`urls`: of the stand-ins, as the services reach them; one that is not named is not set up."""

    urls: Mapping[str, str]
    concurrency: int = 5
    signing_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    api_token: str = field(default_factory=lambda: secrets.token_hex(20))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def private_key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def public_key_pem(self) -> str:
        public = self.key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def document(self) -> dict[str, Any]:
        """The flow, pointed at the stand-ins."""
        text = resources.files("ml_connector.cli.demo").joinpath("flow.yaml").read_text()
        document: dict[str, Any] = YAML(typ="safe").load(text)
        document["netsuite"]["concurrency"] = self.concurrency
        for side in STAND_INS:
            if side in self.urls:
                document[side]["base_url"] = self.urls[side]
        if "pipedrive" in self.urls:
            document["pipedrive"]["oauth_url"] = f"{self.urls['pipedrive']}/oauth/token"
        return document

    def write(self, writer: TopicWriter, *, by: str) -> None:
        """The flow and its credentials, into their topics. Blocks."""
        document = self.document()
        environment = parse_flow(document).environment
        writer.flow(document, by=by)
        hmac_keys = {"keys": [{"id": "dev", "secret": self.signing_key}]}
        writer.secret(f"flow/{FLOW}", "webhook-hmac", environment, hmac_keys)
        writer.secret(f"pipedrive/{COMPANY}", "api-token", environment, {"token": self.api_token})
        m2m = {
            "client_id": "dev-client",
            "certificate_id": "dev-certificate",
            "private_key_pem": self.private_key_pem,
            "algorithm": "ES256",
        }
        writer.secret(f"netsuite/{ACCOUNT}", "oauth2-m2m", environment, m2m)

    async def register(self, urls: Mapping[str, str]) -> None:
        """The company and the account, at the stand-ins; `urls`: as we reach them. Raises ConnectorError."""
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            if "netsuite" in urls:
                account = {
                    "account": ACCOUNT,
                    "client_id": "dev-client",
                    "certificate_id": "dev-certificate",
                    "public_key_pem": self.public_key_pem,
                    "concurrency_limit": self.concurrency,
                }
                await _call(client, "POST", f"{urls['netsuite']}/_sandbox/accounts", account)
            if "pipedrive" in urls:
                company = {"company": COMPANY, "company_id": COMPANY_ID, "api_token": self.api_token}
                await _call(client, "POST", f"{urls['pipedrive']}/_sandbox/companies", company)

    async def subscribe(self, pipedrive: str, ingest: str) -> None:
        """One subscription for everything, signed: Pipedrive itself would need a signing relay.

        It replaces those that were there. Raises ConnectorError.
        """
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, headers={"x-api-token": self.api_token}) as client:
            for old in (await _call(client, "GET", f"{pipedrive}/v1/webhooks"))["data"]:
                await _call(client, "DELETE", f"{pipedrive}/v1/webhooks/{old['id']}")
            body = {
                "subscription_url": f"{ingest}/webhooks/pipedrive/{FLOW}",
                "event_action": "*",
                "event_object": "*",
                "name": "ml-connector",
            }
            made = await _call(client, "POST", f"{pipedrive}/v1/webhooks", body)
            signing = f"{pipedrive}/_sandbox/webhooks/{made['data']['id']}/signing"
            await _call(client, "POST", signing, {"secret": self.signing_key})


async def _call(client: httpx2.AsyncClient, method: str, url: str, body: Any = None) -> Any:
    try:
        answer = await client.request(method, url, json=body)
    except httpx2.HTTPError as error:
        raise ConnectorError(f"{url} does not answer ({type(error).__name__})") from error
    if answer.status_code >= 300:
        raise ConnectorError(f"{url} answered {answer.status_code}: {answer.text[:300]}")
    return answer.json() if answer.content else None
