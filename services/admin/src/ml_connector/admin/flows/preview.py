"""What the mapping of a flow makes of an event, and which expression gives each value. Nothing is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ml_connector.admin.flows.look import FlowLooks
from ml_connector.admin.replay.issue import Issued
from ml_connector.admin.replay.preview import Previews
from ml_connector.common import headers as h
from ml_connector.common.clock import Clock
from ml_connector.common.codec import encode_json
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import EntityMapping, Flow
from ml_connector.common.telemetry import new_traceparent
from ml_connector.common.wire import Preview

MOST_BYTES: Final = 5 * 1024 * 1024  # as ingest takes at most


class Explained(NamedTuple):
    """`sources`: of each field of the record the expression that gives it."""

    preview: Preview
    sources: Mapping[str, str]


class FlowPreviews:
    """Asked of the company's owner, which has the definitions of its custom fields."""

    def __init__(self, looks: FlowLooks, previews: Previews, clock: Clock) -> None:
        self._looks = looks
        self._previews = previews
        self._clock = clock

    async def run(self, name: str, event: Mapping[str, Any], version: int | None) -> Explained:
        """`version`: None is the active one. Raises NotFound, BadInput, TryLater."""
        active = (await asyncio.to_thread(self._looks.active, name)).flow
        flow = active
        if version is not None:
            flow = (await asyncio.to_thread(self._looks.version, name, version)).read()
        body = encode_json(dict(event))
        if len(body) > MOST_BYTES:
            raise BadInput(f"event: more than {MOST_BYTES} bytes")
        headers = {
            h.FLOW: name.encode(),
            h.COMPANY: active.pipedrive.company.encode(),
            h.ACCOUNT: active.netsuite.account.encode(),
            h.RECEIVED_AT_MS: b"%d" % self._clock.now_ms(),
            h.TRACEPARENT: new_traceparent().encode(),
        }
        if version is not None:
            headers[h.MAPPING_VERSION] = b"%d" % version
        found = await self._previews.ask(Issued(active.pipedrive.company.encode(), body, headers))
        return Explained(found, _sources(flow, found))


def _sources(flow: Flow, found: Preview) -> dict[str, str]:
    kind = found.record_key.split("/")[1] if found.record_key.count("/") == 2 else ""
    mapping = next((one for one in flow.entities.values() if one.record == kind), None)
    return {name: _source(flow, mapping, name) for name in (*found.fields, *found.references)} if mapping else {}


def _source(flow: Flow, mapping: EntityMapping, name: str) -> str:
    if name in mapping.fields:
        return _told(mapping.fields[name])
    return f"defaults.subsidiary: {_told(flow.defaults.subsidiary)}" if name == "subsidiary" else ""


def _told(expression: str | bool | int | float | None) -> str:
    """A text is an expression, anything else the value itself."""
    return expression if isinstance(expression, str) else encode_json(expression).decode()
