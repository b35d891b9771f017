"""From a dead letter to the message that replays it. Pure.

In: the letter's own message, the edited copy if there is one, the item. Out: key, value and headers for
`pipedrive.events`; or why it cannot be. The same item gives the same message, however often it is issued.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml_connector.common import headers as h
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.headers import Headers

_OF_THE_LETTER = (h.CAUSE, h.REPLAY_OF, h.REVISION, h.LANE)


@dataclass(frozen=True, slots=True)
class Issued:
    """A message for `pipedrive.events`."""

    company: bytes  # its key
    value: bytes
    headers: Headers
    replays: str = ""  # the traceparent of what is replayed


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why a letter cannot be replayed."""

    why: str


def issue(
    letter: DeadLetter, body: bytes, *, cause: str, revision: int, version: int | None, traceparent: str
) -> Issued | Impossible:
    """`body`: what is replayed. `version`: of the flow to map with; None: today's."""
    company = letter.original.get(h.COMPANY, b"")
    if not company:
        return Impossible("the letter does not say of which company it is")
    if not body:
        return Impossible("its event was too large to be kept, and has left its topic")
    kept = {name: value for name, value in letter.original.items() if name not in _OF_THE_LETTER}
    headers = {
        **kept,
        h.CAUSE: cause.encode(),
        h.REPLAY_OF: letter.cause.encode(),
        h.REVISION: b"%d" % revision,
        h.LANE: b"replay",
        h.TRACEPARENT: traceparent.encode(),
    }
    if version is not None:
        headers[h.MAPPING_VERSION] = b"%d" % version
    return Issued(company, body, headers, letter.traceparent)
