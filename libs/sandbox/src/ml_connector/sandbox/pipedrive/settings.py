"""What the Pipedrive stand-in reads from its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PipedriveStandInSettings(BaseSettings):
    """Companies are registered over its admin API."""

    model_config = SettingsConfigDict(env_prefix="MLC_SANDBOX_PIPEDRIVE_", extra="ignore")

    host: Annotated[str, Field(description="address to listen on; loopback: the admin API asks for no credentials")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 0
    ready_file: Annotated[Path | None, Field(description="gets the address as JSON once it listens")] = None
    clock_speed: Annotated[float, Field(gt=0, description="how much faster retries, bans and time-outs run")] = 1.0
    permitted_users: Annotated[
        int, Field(ge=0, description="members of meta.permitted_user_ids; 300 have been seen")
    ] = 3
