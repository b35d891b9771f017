"""Which variables a process may be given, and which it must: read off its settings classes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from pydantic_settings import BaseSettings

from ml_connector.cli.admin_api import KEY_FILE, TOKEN, URL
from ml_connector.common.settings import SECRETS_DIR, Settings

MODULES: Final = {
    "ingest": "ml_connector.ingest.settings",
    "resolver": "ml_connector.resolver.settings",
    "netsuite-writer": "ml_connector.netsuite_writer.settings",
    "admin": "ml_connector.admin.settings",
    "pipedrive": "ml_connector.sandbox.pipedrive.settings",
    "netsuite": "ml_connector.sandbox.netsuite.settings",
}
# The OpenTelemetry SDK's own, of its specification ("Environment Variable Specification").
OPENTELEMETRY: Final = frozenset(
    f"OTEL_{name}"
    for name in (
        "EXPORTER_OTLP_ENDPOINT",
        "EXPORTER_OTLP_TIMEOUT",
        "METRIC_EXPORT_INTERVAL",
        "RESOURCE_ATTRIBUTES",
        "SDK_DISABLED",
        "SERVICE_NAME",
        "TRACES_SAMPLER",
        "TRACES_SAMPLER_ARG",
    )
)
MLC: Final = frozenset({URL, TOKEN, KEY_FILE, "MLC_INGEST_URL"})
# Settings that are optional to the class, and without which a service does nothing useful.
EITHER: Final = ({"MLC_VAULT_KEYS", "MLC_VAULT_KEYS_FILE"},)
CREDENTIALS: Final = frozenset({"ingest", "resolver", "netsuite-writer", "admin"})


def settings_of(process: str) -> type[BaseSettings]:
    """`mlc` reads the common ones."""
    if process not in MODULES:
        return Settings
    module = import_module(MODULES[process])
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == module.__name__
    )


def problems(process: str, given: Mapping[str, object], *, files: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with an environment. `files`: variables that come as files of MLC_SECRETS_DIR."""
    settings = settings_of(process)
    prefix = str(settings.model_config.get("env_prefix", ""))
    known = {f"{prefix}{name}".upper(): field for name, field in settings.model_fields.items()}
    others = OPENTELEMETRY | {SECRETS_DIR} | (frozenset() if process in MODULES else MLC)
    found = [f"{name} is no setting of {process}" for name in {*given, *files} - known.keys() - others]
    required = {name for name, field in known.items() if field.is_required()}
    found += [f"{process} lacks {name}" for name in required - {*given, *files}]
    if process in CREDENTIALS:
        found += [f"{process} lacks one of {', '.join(sorted(some))}" for some in EITHER if not some & {*given, *files}]
    return sorted(found)
