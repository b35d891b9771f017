"""Tell what the mapping would make of an event, from what the core gives out for it; nothing of that is written. Pure.

In: the outputs, or Defer. Out: one `Preview`, and its message for `connector.replies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter
from ml_connector.common.keys import NO_RECORD
from ml_connector.common.wire import Desired, Outcome, Preview, Resolved, Source
from ml_connector.resolver.definitions import Stages
from ml_connector.resolver.message import Defer, Message, Output

PREVIEW: Final = b"preview"
UNMAPPED_STAGE: Final = "UNMAPPED_STAGE"
MOST_STAGES: Final = 100


def asks_for_preview(message: Message) -> bool:
    """Whether only somebody wants to know what would become of it."""
    return message.headers.get(h.KIND) == PREVIEW


def preview_of(request_id: str, found: list[Output] | Defer, sources: Mapping[str, Source] | None = None) -> Preview:
    """What was found for the event of the request. `sources`: of the fields that the mapping gives."""
    if isinstance(found, Defer):
        return Preview(request_id=request_id, result="unresolved", reason=found.reason)
    written = {(output.topic, output.key.rpartition(b"/")[2]): output.value or b"" for output in found}
    outcome = written.get((topics.AUDIT, b"outcome"))
    if outcome is not None:
        return _of_outcome(request_id, Outcome.decode(outcome), _code_of(found))
    resolved = Resolved.decode(written[topics.AUDIT, b"resolved"])
    desired = next(Desired.decode(output.value or b"") for output in found if output.topic is topics.DESIRED)
    return _of_desired(request_id, desired, resolved, sources or {})


def with_stages(preview: Preview, stages: Stages | None) -> Preview:
    """Of a deal whose stage the flow does not map: which stages the company has, as the flow would name them."""
    if stages is None or preview.code != UNMAPPED_STAGE:
        return preview
    names = ", ".join(repr(name) for name in sorted(stages.names.values())[:MOST_STAGES])
    return msgspec.structs.replace(preview, reason=f"{preview.reason}; the company's stages are {names}")


def answer(preview: Preview) -> Output:
    """To whoever waits for it."""
    key = preview.request_id.encode()
    return Output(topics.REPLIES, key, key, preview.encode(), {})


def _code_of(found: list[Output]) -> str:
    """Of the dead letter; empty when there is none."""
    letters = [DeadLetter.read(one.value, one.headers) for one in found if one.topic is topics.DEAD_LETTERS]
    return letters[0].code if letters else ""


def _of_desired(request_id: str, desired: Desired, resolved: Resolved, sources: Mapping[str, Source]) -> Preview:
    return Preview(
        request_id=request_id,
        result="desired",
        record_key=resolved.record_key,
        generation=desired.generation,
        action=desired.action,
        mapping_version=desired.mapping_version,
        fields=desired.fields,
        references=desired.references,
        parent=desired.parent,
        sources={name: sources[name] for name in (*desired.fields, *desired.references) if name in sources},
        held_back=resolved.held_back,
    )


def _of_outcome(request_id: str, outcome: Outcome, code: str) -> Preview:
    return Preview(
        request_id=request_id,
        result="dead_lettered" if outcome.outcome == "dead_lettered" else "ignored",
        record_key="" if outcome.record_key == NO_RECORD else outcome.record_key,
        generation=outcome.generation,
        mapping_version=outcome.mapping_version,
        stage=outcome.stage,
        code=code,
        reason=outcome.reason,
    )
