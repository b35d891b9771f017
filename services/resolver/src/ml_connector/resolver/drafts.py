"""Tell what a flow that is not applied yet would make of an event. Neither the flow nor what is read for it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ml_connector.common.asking import Draft
from ml_connector.common.clock import Clock
from ml_connector.common.directory import LiveFlow
from ml_connector.common.errors import BadInput, Malformed
from ml_connector.common.flows import Flow, parse_flow
from ml_connector.common.wire import Preview
from ml_connector.resolver.core import Core
from ml_connector.resolver.message import Message, Output
from ml_connector.resolver.plan import UNAPPLIED
from ml_connector.resolver.preview import preview_of, with_stages
from ml_connector.resolver.refresh import Clients, Refresher
from ml_connector.resolver.resolve import Book


class Drafts:
    """`stored`: as of a Book."""

    def __init__(self, stored: Callable[[str], bytes | None], clients: Clients, clock: Clock) -> None:
        self._stored = stored
        self._clients = clients
        self._clock = clock

    async def preview(self, request_id: str, message: Message) -> Preview:
        """Always an answer."""
        try:
            asked = Draft.decode(message.value)
            flow = parse_flow(asked.document)
            if flow.pipedrive.company.encode() != message.key:
                raise Malformed("the document is of another company")
        except BadInput as error:
            return Preview(request_id=request_id, result="unresolved", reason=str(error))
        book = Book(self._stored)
        core = Core(_Only(flow), book, self._clock)
        refresher = Refresher(core, book, self._clients, _forget, self._clock, reread_s=0.0)
        event = message._replace(value=bytes(asked.event))
        found = preview_of(request_id, await refresher.event(event), core.sources(event))
        return with_stages(found, book.of(flow.pipedrive.company).stages)


class _Only:
    """The one flow that there is."""

    def __init__(self, flow: Flow) -> None:
        self._live = LiveFlow(flow, UNAPPLIED, paused=False)

    def flow(self, name: str) -> LiveFlow | None:
        return self._live if name == self._live.flow.flow else None

    def version(self, name: str, version: int) -> Flow | None:
        return None


async def _forget(_: Sequence[Output]) -> None:
    """What is read belongs to nobody's flow."""
