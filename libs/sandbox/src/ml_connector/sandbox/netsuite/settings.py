"""What the NetSuite stand-in reads from its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class NetsuiteStandInSettings(BaseSettings):
    """Accounts are registered over its admin API."""

    model_config = SettingsConfigDict(env_prefix="MLC_SANDBOX_NETSUITE_", extra="ignore")

    host: Annotated[
        str, Field(description="address to listen on; loopback, since the admin API asks for no credentials")
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 0
    ready_file: Annotated[Path | None, Field(description="gets the address as JSON once it listens")] = None
    latency_ms: Annotated[float, Field(ge=0, description="how long every record and query request takes")] = 0
    tls_certificate: Annotated[
        Path | None, Field(description="PEM file; then it serves HTTPS, for clients that cannot do without")
    ] = None
    tls_key: Annotated[Path | None, Field(description="PEM file with the certificate's key")] = None
