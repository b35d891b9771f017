"""What a person does to dead letters besides replaying them: edit a copy, discard."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from sqlalchemy import func, select

from ml_connector.admin.acts import record_act
from ml_connector.admin.database import Database, lock_folding
from ml_connector.admin.fold.states import judge
from ml_connector.admin.identity.roles import Actor
from ml_connector.admin.letter_bytes import LetterBytes
from ml_connector.admin.look.letters import Selection
from ml_connector.admin.outbox import put_message
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.admin.replay.issue import Impossible, issue
from ml_connector.admin.replay.keep import put_edited
from ml_connector.admin.replay.preview import Previews
from ml_connector.admin.tables import dead_letter, edited
from ml_connector.common import headers as h
from ml_connector.common import keys, topics
from ml_connector.common.clock import Clock
from ml_connector.common.codec import decode_json, encode_json
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.errors import BadInput, Malformed, TryLater
from ml_connector.common.traceparent import new_traceparent
from ml_connector.common.wire import Edited, Preview

MOST_BYTES: Final = 5 * 1024 * 1024  # as ingest takes at most


class LetterActs:
    """Acts on letters, each recorded with its reason."""

    def __init__(self, database: Database, letters: LetterBytes, previews: Previews, clock: Clock) -> None:
        self._database = database
        self._letters = letters
        self._previews = previews
        self._clock = clock

    def discard(self, selection: Selection, *, by: Actor, reason: str) -> int:
        """How many. Open letters only: by ids, any other state is a Conflict. Raises BadInput when there are none."""
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            lock_folding(connection)
            rows = connection.execute(
                select(dead_letter.c.letter_id, dead_letter.c.state).where(*selection.conditions())
            ).all()
            unknown = set(selection.ids or ()) - {row.letter_id for row in rows}
            if unknown or not rows:
                raise NotFound(f"there is no dead letter {', '.join(sorted(unknown)[:5])}".rstrip() + " like this")
            closed = [row for row in rows if row.state != "open"]
            if closed and selection.ids is not None:
                raise Conflict(f"dead letter {closed[0].letter_id} is {closed[0].state}")
            ids = [row.letter_id for row in rows if row.state == "open"]
            record_act(connection, "dead_letters.discard", by=by, now_ms=now_ms, reason=reason, targets=ids)
            judge(connection, letters=ids)
        return len(ids)

    async def edit(self, letter_id: str, event: dict[str, Any], *, by: Actor, reason: str) -> Preview:
        """Keep an edited copy of its event; what the mapping makes of it. The original stays as it is.

        Raises NotFound, Conflict, BadInput, TryLater.
        """
        letter = await self._open_letter(letter_id)
        body = encode_json(event)
        if len(body) > MOST_BYTES:
            raise BadInput(f"event: more than {MOST_BYTES} bytes")
        if letter.stage != "decode":
            _refuse_another_object(await self._letters.body(letter), event)
        found = await self._preview(letter, body)
        await asyncio.to_thread(self._keep, letter_id, body, by, reason)
        return found

    async def _open_letter(self, letter_id: str) -> DeadLetter:
        def find() -> Any:
            with self._database.read() as connection:
                return connection.execute(select(dead_letter).where(dead_letter.c.letter_id == letter_id)).one_or_none()

        row = await asyncio.to_thread(find)
        if row is None:
            raise NotFound(f"there is no dead letter {letter_id}")
        if row.state != "open":
            raise Conflict(f"dead letter {letter_id} is {row.state}")
        found = await self._letters.read(row.topic_partition, [row.topic_offset])
        if row.topic_offset not in found:
            raise Conflict(f"dead letter {letter_id} has left its topic")
        return found[row.topic_offset]

    async def _preview(self, letter: DeadLetter, body: bytes) -> Preview:
        """The resolver is the judge of what an event is."""
        cause = letter.original.get(h.CAUSE, letter.cause.encode()).decode("utf-8", "replace")
        message = issue(letter, body, cause=cause, revision=0, version=None, traceparent=new_traceparent())
        if isinstance(message, Impossible):
            raise BadInput(message.why)
        found = await self._previews.ask(message)
        if found.result == "unresolved":
            raise TryLater(f"the edited event could not be checked: {found.reason}", after_s=10)
        if found.result == "dead_lettered" and found.stage == "decode":
            raise BadInput(f"event: {found.reason}")
        return found

    def _keep(self, letter_id: str, body: bytes, by: Actor, reason: str) -> None:
        now_ms = self._clock.now_ms()
        with self._database.write() as connection:
            before = connection.scalar(select(func.max(edited.c.version)).where(edited.c.letter_id == letter_id))
            entry = Edited(
                letter_id=letter_id,
                version=(before or 0) + 1,
                body=body,
                at_ms=now_ms,
                actor=by.subject,
                reason=reason,
            )
            put_edited(connection, entry)
            key = keys.edit_key(letter_id)
            put_message(connection, topics.JOBS, partition_key=key, key=key, value=entry.encode())
            record_act(connection, "dead_letters.edit", by=by, now_ms=now_ms, reason=reason, targets=[letter_id])


def _refuse_another_object(original: bytes, event: dict[str, Any]) -> None:
    """An edited copy says something else of the same object at the same time; never of another one."""
    try:
        before = decode_json(original)
    except Malformed:
        return
    if not isinstance(before, dict):
        return
    member = "meta" if "meta" in before else "id"  # a webhook, or an object as REST gave it
    if event.get(member) != before.get(member):
        raise BadInput(f"event.{member}: must stay as it is, since it says which object is meant, and when")
