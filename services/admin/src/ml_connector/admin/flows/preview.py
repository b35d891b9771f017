"""What the mapping of a flow makes of an event, and what each value is made from. Nothing is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ml_connector.admin.flows.look import FlowLooks
from ml_connector.admin.replay.issue import Issued
from ml_connector.admin.replay.preview import Previews
from ml_connector.common import headers as h
from ml_connector.common.asking import Draft
from ml_connector.common.clock import Clock
from ml_connector.common.codec import encode_json
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow, document_of, parse_flow
from ml_connector.common.traceparent import new_traceparent
from ml_connector.common.wire import Preview

MOST_BYTES: Final = 5 * 1024 * 1024  # as ingest takes at most


class FlowPreviews:
    """Asked of the company's owner, which has the definitions of its custom fields."""

    def __init__(self, looks: FlowLooks, previews: Previews, clock: Clock) -> None:
        self._looks = looks
        self._previews = previews
        self._clock = clock

    async def run(self, name: str, event: Mapping[str, Any], version: int | None) -> Preview:
        """`version`: None is the active one. Raises NotFound, BadInput, TryLater."""
        active = (await asyncio.to_thread(self._looks.active, name)).flow
        if version is not None:
            await asyncio.to_thread(self._looks.version, name, version)
        more = {} if version is None else {h.MAPPING_VERSION: b"%d" % version}
        return await self._ask(active, _bytes_of(event), more)

    async def run_draft(self, document: Mapping[str, Any], event: Mapping[str, Any]) -> Preview:
        """Of a flow that is not applied yet. Raises InvalidFlow, BadInput, TryLater."""
        flow = await asyncio.to_thread(parse_flow, document)
        draft = Draft(document=document_of(flow), event=msgspec.Raw(_bytes_of(event)))
        return await self._ask(flow, draft.encode(), {h.DRAFT: b"1"})

    async def _ask(self, flow: Flow, body: bytes, more: Mapping[str, bytes]) -> Preview:
        company = flow.pipedrive.company.encode()
        headers = {
            h.FLOW: flow.flow.encode(),
            h.COMPANY: company,
            h.ACCOUNT: flow.netsuite.account.encode(),
            h.RECEIVED_AT_MS: b"%d" % self._clock.now_ms(),
            h.TRACEPARENT: new_traceparent().encode(),
            **more,
        }
        return await self._previews.ask(Issued(company, body, headers))


def _bytes_of(event: Mapping[str, Any]) -> bytes:
    """Raises BadInput."""
    body = encode_json(dict(event))
    if len(body) > MOST_BYTES:
        raise BadInput(f"event: more than {MOST_BYTES} bytes")
    return body
