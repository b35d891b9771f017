"""`dead-letters`: where the bytes of each letter are, and what its headers say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from ml_connector.admin.explain import field_of, letter_id, signature_of
from ml_connector.admin.fold import states
from ml_connector.admin.fold.reading import MOST_CHARS, put, refuse
from ml_connector.admin.tables import dead_letter
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.generation import Generation
from ml_connector.common.kafka.record import Record
from ml_connector.common.traceparent import trace_id

KEPT_MS: Final = int(topics.DEAD_LETTERS.config["retention.ms"])
_EXTERNAL_ID: Final = re.compile(r"-(org|person|deal)-([0-9]{1,19})\Z")
_ENTITIES: Final = {"org": "organization", "person": "person", "deal": "deal"}


def fold_letters(connection: Connection, records: Sequence[Record]) -> None:
    """The same letter may be there twice, when its writer could not know that it was: the later one counts."""
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        letter = DeadLetter.read(record.value, record.headers)
        if not letter.cause or not letter.record_key:
            refuse(record, "not a dead letter: it names no cause or no record")
            continue
        row = _row(letter, record)
        rows[row["letter_id"]] = row
    put(connection, dead_letter, list(rows.values()), only_newer=["topic_partition", "topic_offset"])
    states.judge(connection, letters=rows)


def object_of(record_key: str) -> tuple[str, str]:
    """(entity, Pipedrive id) of a record; empty where there is no record."""
    found = _EXTERNAL_ID.search(record_key)
    return (_ENTITIES[found[1]], found[2]) if found else ("", "")


def _row(letter: DeadLetter, record: Record) -> dict[str, Any]:
    flow = h.text(letter.original, h.FLOW)
    field = field_of(letter.message, letter.response)
    entity, source_id = object_of(letter.record_key)
    generation = _generation(letter.generation)
    return {
        "letter_id": letter_id(letter.cause, letter.record_key),
        "cause": letter.cause,
        "record_key": letter.record_key,
        "account": letter.account,
        "flow": flow,
        "entity": entity,
        "source_id": source_id,
        "stage": letter.stage,
        "code": letter.code[:MOST_CHARS],
        "field": field,
        "message": letter.message,
        "signature": signature_of(stage=letter.stage, code=letter.code, field=field, flow=flow, message=letter.message),
        "source_version": generation.source_version,
        "revision": generation.revision,
        "attempts": letter.attempts,
        "first_failed_at_ms": letter.first_failed_at_ms or letter.failed_at_ms,
        "failed_at_ms": letter.failed_at_ms,
        "expires_at_ms": record.timestamp_ms + KEPT_MS,
        "replay_of": h.text(letter.original, h.REPLAY_OF),
        "trace": trace_id(letter.traceparent.encode()),
        "size_bytes": len(letter.body),
        "topic_partition": record.partition,
        "topic_offset": record.offset,
        **states.State(states.OPEN)._asdict(),
    }


def _generation(text: str) -> Generation:
    try:
        return Generation.parse(text)
    except ValueError:
        return Generation(0)
