"""Ask the company's owner what the mapping would make of an event."""

from __future__ import annotations

from ml_connector.admin.owners import NoAnswer, Owners
from ml_connector.admin.replay.issue import Issued
from ml_connector.common import topics
from ml_connector.common.wire import Preview


class Previews:
    """The request is the event itself."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    async def ask(self, message: Issued) -> Preview:
        """Without an answer in time the result is `unresolved`. Raises TryLater, Malformed, UnknownSchema."""
        try:
            return await self._owners.ask(
                topics.PIPEDRIVE_REQUESTS,
                message.company.decode(),
                "preview",
                body=message.value,
                headers=message.headers,
                answer=Preview,
            )
        except NoAnswer as error:
            return Preview(request_id="", result="unresolved", reason=str(error))
