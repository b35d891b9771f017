"""What the admin service reads from its environment, beyond the common settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.networks import HttpUrl

from ml_connector.common.addresses import host_of
from ml_connector.common.errors import AddressRefused
from ml_connector.common.settings import Settings

# Asymmetric ones only: with HMAC, whoever can verify a token can make one.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def _reached(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        host_of(url.rstrip("/"))
    except AddressRefused as error:
        raise ValueError(str(error)) from error
    return url.rstrip("/")


class AdminSettings(Settings):
    """Sizes in bytes, times in seconds."""

    admin_database_url: Annotated[
        str,
        Field(
            description="where topics are materialized: `sqlite:///<path>`, or `postgresql+psycopg://...` for replicas",
            pattern=r"^(sqlite:///|postgresql\+psycopg://)",
        ),
    ] = "sqlite:///var/admin.sqlite"
    admin_migrates: Annotated[
        bool,
        Field(description="bring the database's schema up to date at the start; else wait until `migrate` has done it"),
    ] = True
    admin_issuer: Annotated[str, Field(min_length=1, description="`iss` of the tokens that are accepted")]
    admin_audience: Annotated[str, Field(min_length=1, description="`aud` of the tokens that are accepted")] = (
        "ml-connector"
    )
    admin_discovery_url: Annotated[
        HttpUrl | None,
        Field(description="OpenID configuration; default: `<issuer>/.well-known/openid-configuration`"),
    ] = None
    admin_jwks_file: Annotated[
        Path | None, Field(description="public keys as a file instead of discovery, as `mlc up` uses")
    ] = None
    admin_algorithms: Annotated[
        tuple[Algorithm, ...], Field(min_length=1, description="signatures that are accepted, as JSON")
    ] = ("RS256", "PS256", "ES256", "EdDSA")
    admin_clock_skew_s: Annotated[
        float, Field(ge=0, le=300, description="how far the issuer's clock may be from ours")
    ] = 30.0
    admin_roles_claim: Annotated[
        str, Field(description="where a token names its roles; dots lead into objects, as `realm_access.roles`")
    ] = "roles"
    admin_roles: Annotated[
        dict[str, Literal["viewer", "operator", "admin"]],
        Field(description="the issuer's role names and what they are here, as a JSON object"),
    ] = {"viewer": "viewer", "operator": "operator", "admin": "admin"}
    admin_max_body_bytes: Annotated[int, Field(ge=1024, description="a larger request is refused with 413")] = (
        8 * 1024 * 1024
    )
    admin_lease_s: Annotated[
        float, Field(ge=1, description="after a kill, another replica (or this one again) goes on so much later")
    ] = 15.0
    admin_accounting_every_s: Annotated[
        float, Field(gt=0, description="how often accepted = outcomes + waiting is checked")
    ] = 60.0
    admin_same_failures: Annotated[
        int, Field(ge=1, description="a record that failed the same way so often is replayed only by force")
    ] = 3

    admin_ban_s: Annotated[
        float, Field(ge=0, description="Pipedrive may deliver nothing for so long after a delivery has failed")
    ] = 1800.0
    admin_reports_days: Annotated[
        float,
        Field(gt=0, description="how long ended syncs, and what reconciles and polls have found, are kept, in days"),
    ] = 90.0
    admin_old_key_s: Annotated[
        float,
        Field(
            ge=0,
            description="how long the old key of rotated webhooks stays at least; Pipedrive sends again for 183 s",
        ),
    ] = 300.0
    admin_public_url: Annotated[
        str | None,
        AfterValidator(_reached),
        Field(description="where browsers reach this service, https outside loopback: for `mlc pipedrive connect`"),
    ] = None

    @model_validator(mode="after")
    def _finds_keys(self) -> AdminSettings:
        if self.admin_jwks_file is None and self.admin_discovery_url is None:
            HttpUrl(f"{self.admin_issuer.rstrip('/')}/.well-known/openid-configuration")
        return self
