"""Write docs/configuration.md from the settings classes, so that the document cannot be wrong.

`python -m ml_connector.cli.configuration > docs/configuration.md`; a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from ml_connector.common.settings import Settings

SECTIONS = (
    ("ingest", "ml_connector.ingest.settings"),
    ("resolver", "ml_connector.resolver.settings"),
    ("netsuite-writer", "ml_connector.netsuite_writer.settings"),
    ("admin", "ml_connector.admin.settings"),
    ("Pipedrive stand-in", "ml_connector.sandbox.pipedrive.settings"),
    ("NetSuite stand-in", "ml_connector.sandbox.netsuite.settings"),
)

HEAD = """# Configuration

Every process reads its settings from its environment alone. This file is made from the settings classes
(`python -m ml_connector.cli.configuration`); a test keeps it true. What is secret may come as files instead:
`MLC_SECRETS_DIR` names a folder; a file in it is named as a variable and holds its value. The variable wins.
OpenTelemetry is configured by its own standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, ...):
nothing is exported unless the endpoint is set.
"""


def document() -> str:
    """The whole file."""
    common = set(Settings.model_fields)
    sections = [_section("every service", Settings, set())]
    for title, module in SECTIONS:
        sections.append(_section(title, _settings_of(module), common))
    return HEAD + "".join(sections)


def _settings_of(module: str) -> type[BaseSettings]:
    found = [
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == module
    ]
    return found[0]


def _section(title: str, settings: type[BaseSettings], without: set[str]) -> str:
    prefix = str(settings.model_config.get("env_prefix", ""))
    rows = [
        f"| `{(prefix + name).upper()}` | {_type(field)} | {_default(field)} | {field.description or ''} |\n"
        for name, field in settings.model_fields.items()
        if name not in without
    ]
    table = "| variable | type | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows)
    return f"\n## {title}\n\n{table if rows else 'Nothing beyond the common settings.' + chr(10)}"


def _type(field: FieldInfo) -> str:
    names = dict.fromkeys(_names(field.annotation))
    return " or ".join(names)


def _names(annotation: Any) -> Iterator[str]:
    if annotation is type(None):
        return
    if get_origin(annotation) is dict:
        yield "JSON object"
    elif get_args(annotation):
        for part in get_args(annotation):
            yield from _names(part) if isinstance(part, type) or get_args(part) else [f"`{part}`"]
    else:
        yield {SecretStr: "secret", int: "number", float: "number", str: "text", bool: "true or false"}.get(
            annotation, getattr(annotation, "__name__", str(annotation)).lower()
        )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, "", {}) else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(document())
