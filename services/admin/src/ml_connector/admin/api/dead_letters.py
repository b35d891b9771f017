"""/dead-letters: list, group, show, edit a copy, discard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection, RowMapping, select

from ml_connector.admin.api import letter_models as m
from ml_connector.admin.api.models import Behind, at
from ml_connector.admin.api.previews import Previewed, previewed
from ml_connector.admin.api.problems import answers
from ml_connector.admin.api.services import Given, Operator, Services, Viewer
from ml_connector.admin.explain import suggested_fix
from ml_connector.admin.look import letters as look
from ml_connector.admin.replay.control import NotFound
from ml_connector.admin.tables import discarded, edited, job_item

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", examples=["5f0c1e9a77d2"])]


@router.get("", responses=answers())
def list_letters(given: Given, _: Viewer, query: Annotated[m.LetterQuery, Query()]) -> m.Letters:
    """Newest failure first; without `state` the open ones."""
    with given.database.read() as connection:
        rows, after = look.page(connection, query, cursor=query.cursor, limit=query.limit)
    return m.Letters(letters=[m.Letter(**letter_of(row)) for row in rows], next=after, behind=behind(given))


@router.get("/groups", responses=answers())
def list_groups(given: Given, _: Viewer, query: Annotated[m.GroupQuery, Query()]) -> m.Groups:
    """By what failed and how, the largest first."""
    with given.database.read() as connection:
        rows = look.groups(connection, query, limit=query.limit)
    return m.Groups(groups=[_group(row) for row in rows], behind=behind(given))


@router.post("/discard", responses=answers(404, 409))
async def discard(given: Given, actor: Operator, body: m.Discard) -> m.Discarded:
    """Say of open letters that nothing shall be done about them. They stay readable until the topic forgets them."""
    count = await asyncio.to_thread(given.letter_acts.discard, body.selection, by=actor, reason=body.reason)
    await given.outbox.publish()
    return m.Discarded(discarded=count)


@router.get("/{letter_id}", responses=answers(404))
async def show(given: Given, _: Viewer, letter_id: Id) -> m.LetterDetail:
    """The event, the mapped record and NetSuite's answer, side by side."""
    row, kept = await asyncio.to_thread(_find, given, letter_id)
    place = row["topic_partition"], row["topic_offset"]
    letter = (await given.letters.read(place[0], [place[1]])).get(place[1])
    event = await given.letters.body(letter) if letter is not None else b""
    return m.LetterDetail(
        **letter_of(row),
        event=readable(event),
        event_at=f"{letter.topic}/{letter.partition}/{letter.offset}" if letter is not None else "",
        edited=readable(kept["edited"]),
        request=readable(letter.request if letter is not None else b""),
        response=readable(letter.response if letter is not None else b""),
        mapping_version=letter.mapping_version if letter is not None else 0,
        discarded_because=kept["because"],
        replays=kept["replays"],
        behind=behind(given),
    )


@router.put("/{letter_id}/edited", responses=answers(404, 409))
async def edit(given: Given, actor: Operator, letter_id: Id, body: m.Edit) -> Previewed:
    """Keep a corrected copy, which replays take from now on; the original stays. Says what the mapping makes of it."""
    found = await given.letter_acts.edit(letter_id, body.event, by=actor, reason=body.reason)
    await given.outbox.publish()
    return previewed(found)


def behind(given: Services) -> Behind:
    now = given.materializer.behind()
    return Behind(messages=now.messages, age_s=now.age_s)


def letter_of(row: RowMapping) -> dict[str, Any]:
    """A row of `look.letters` as the API has it."""
    return {
        "id": row["letter_id"],
        "group": row["signature"],
        "suggested_fix": suggested_fix(stage=row["stage"], code=row["code"], message=row["message"]),
        "first_failed_at": at(row["first_failed_at_ms"]),
        "failed_at": at(row["failed_at_ms"]),
        "expires_at": at(row["expires_at_ms"]),
        "resolved_at": at(row["resolved_at_ms"]),
        **{name: row[name] for name in m.Letter.model_fields if name in row},
    }


def readable(body: bytes | None) -> Any:
    """JSON as it is, anything else as text."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def _find(given: Services, letter_id: str) -> tuple[RowMapping, dict[str, Any]]:
    with given.database.read() as connection:
        row = look.one(connection, letter_id)
        if row is None:
            raise NotFound(f"there is no dead letter {letter_id}")
        return row, _kept_of(connection, letter_id)


def _kept_of(connection: Connection, letter_id: str) -> dict[str, Any]:
    items = connection.execute(
        select(job_item.c.job_id, job_item.c.state, job_item.c.why)
        .where(job_item.c.letter_id == letter_id)
        .order_by(job_item.c.at_ms)
    )
    return {
        "edited": connection.scalar(select(edited.c.body).where(edited.c.letter_id == letter_id)),
        "because": connection.scalar(select(discarded.c.reason).where(discarded.c.letter_id == letter_id)) or "",
        "replays": [m.ItemOfLetter(replay=row.job_id, state=row.state, why=row.why) for row in items],
    }


def _group(row: Mapping[str, Any]) -> m.Group:
    return m.Group(
        group=row["signature"],
        first_failed_at=at(row["first_failed_at_ms"]),
        last_failed_at=at(row["last_failed_at_ms"]),
        expires_at=at(row["expires_at_ms"]),
        **{name: row[name] for name in m.Group.model_fields if name in row},
    )
