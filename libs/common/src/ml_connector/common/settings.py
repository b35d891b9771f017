"""What every service reads from its environment: one prefix, `MLC_`. docs/configuration.md is made from these."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ml_connector.common.errors import InvalidSettings

PREFIX = "MLC_"
# A folder of files, each named as a variable and holding its value: how containers get what is secret.
SECRETS_DIR = f"{PREFIX}SECRETS_DIR"


class Settings(BaseSettings):
    """Common to all services; each service adds its own in its `settings.py`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    kafka_bootstrap_servers: Annotated[str, Field(description="Kafka's addresses, host:port, comma separated")]
    kafka_config: Annotated[
        dict[str, str], Field(description="more librdkafka settings as a JSON object, for TLS and SASL")
    ] = {}
    topic_prefix: Annotated[
        str,
        Field(description="goes before every topic and group: one per environment", pattern=r"^[a-z0-9.-]*$"),
    ] = ""
    partitions: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="of every partitioned topic; a service refuses to start on another number",
        ),
    ] = 4
    vault_keys: Annotated[
        SecretStr | None,
        Field(description="key-encryption keys, `<id>:<base64 of 32 bytes>`, comma separated; the first one encrypts"),
    ] = None
    vault_keys_file: Annotated[
        Path | None,
        Field(description="a file with the same, one key a line, read again when it changes; wins over MLC_VAULT_KEYS"),
    ] = None
    allowed_networks: Annotated[
        tuple[IPvAnyNetwork, ...],
        Field(description='networks beside the public ones that a `base_url` may lead to, as JSON: `["10.0.0.0/8"]`'),
    ] = ()
    ca_file: Annotated[
        Path | None,
        Field(description="a PEM file of certificate authorities that are trusted beside the system's"),
    ] = None
    http_host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 0
    metrics_port: Annotated[
        int | None,
        Field(ge=0, le=65535, description="port of `/metrics` at ingest and admin, whose own is public; unset: none"),
    ] = None
    log_level: Annotated[
        str, Field(pattern=r"^(debug|info|warning|error)$", description="the least level that is printed")
    ] = "info"
    log_format: Annotated[
        str, Field(pattern=r"^(json|console)$", description="json for machines, console for people")
    ] = "json"

    def group(self, name: str) -> str:
        """A consumer group's (or transactional id's) name in this environment."""
        return f"{self.topic_prefix}{name}"

    def kafka(self) -> dict[str, str]:
        """What each Kafka client starts from."""
        return {"bootstrap.servers": self.kafka_bootstrap_servers, **self.kafka_config}

    def vault_key_text(self) -> str:
        """The key-encryption keys as given; empty when none are."""
        if self.vault_keys_file is not None:
            return self.vault_keys_file.read_text(encoding="utf-8")
        return self.vault_keys.get_secret_value() if self.vault_keys is not None else ""

    def tls(self) -> ssl.SSLContext:
        """Certificates and host names are always verified. Make it once: that takes longer than many requests."""
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(cafile=self.ca_file)
            except OSError as error:  # also ssl.SSLError: there is no certificate in it
                raise InvalidSettings(f"{PREFIX}CA_FILE: {self.ca_file} cannot be read as PEM certificates") from error
        return context

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """From the environment, and where that is silent from the files of MLC_SECRETS_DIR.

        Raises InvalidSettings that names each variable and what it should be.
        """
        folder = os.environ.get(SECRETS_DIR)
        if folder is not None and not Path(folder).is_dir():
            raise InvalidSettings(f"{SECRETS_DIR}: {folder} is no folder that can be read")
        try:
            return cls(_secrets_dir=folder, **overrides)  # type: ignore[arg-type,call-arg]  # pydantic checks what is given
        except ValidationError as error:
            lines = [
                f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False)
            ]
            raise InvalidSettings("; ".join(lines)) from error
