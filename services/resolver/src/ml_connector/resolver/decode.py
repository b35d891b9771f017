"""Decode what Pipedrive says into one type: webhook v2 bodies and REST v2 objects (facts/pipedrive.md 1, 2, 13).

In: bytes that ingest has verified, or an object read through REST, now or long ago. Out: an `Event`, or `Malformed`
without values.
Never: I/O, the clock. Members that are unknown are kept, members that are missing are tolerated.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec

from ml_connector.common import cause as causes
from ml_connector.common.errors import Malformed
from ml_connector.common.generation import Generation, is_from_the_future
from ml_connector.common.keys import Entity, is_source_id

EventAction = Literal["create", "change", "delete"]

# What becomes a record. Everything else is ignored.
MAPPED: Final = frozenset({"organization", "person", "deal"})

# Above it, a number is milliseconds and not seconds since the epoch (the year 5138 in seconds).
_MOST_SECONDS: Final = 100_000_000_000
MAX_TOLD_CHARS: Final = 100
_EMPTY: Final = msgspec.Raw(b"")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one object. Of a deletion `data` is the last known state."""

    cause: str
    entity: str
    action: str
    source_id: str
    generation: Generation
    data: dict[str, Any] = {}
    custom: dict[str, Any] = {}  # field code -> value as Pipedrive sent it
    meta: dict[str, Any] = {}  # only where the mapping names it
    merged_to: str | None = None
    merged_from: str | None = None
    attempt: int = 1  # of the delivery

    @property
    def name(self) -> str:
        """What people call the object; empty when it says nothing."""
        found = self.data.get("title" if self.entity == "deal" else "name")
        return found if isinstance(found, str) else ""


class _Meta(msgspec.Struct):
    """What decides. The rest (hundreds of permitted_user_ids, say) is not even decoded."""

    id: Any = None
    webhook_id: Any = None
    version: Any = None
    company_id: Any = None
    entity: Any = None
    entity_id: Any = None
    action: Any = None
    timestamp: Any = None
    merged_to_id: Any = None
    merged_from_id: Any = None
    attempt: Any = None


class _Envelope(msgspec.Struct):
    meta: _Meta
    data: dict[str, Any] | None = None
    previous: msgspec.Raw = _EMPTY  # only a deletion needs it


class _Names(msgspec.Struct):
    meta: _Meta


class _Whole(msgspec.Struct):
    meta: dict[str, Any]


class _Identified(msgspec.Struct):
    id: Any = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope, float_hook=Decimal)
_NAMES: Final = msgspec.json.Decoder(_Names, float_hook=str)
_WHOLE: Final = msgspec.json.Decoder(_Whole, float_hook=Decimal)
_IDENTIFIED: Final = msgspec.json.Decoder(_Identified)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any] | None, float_hook=Decimal)


def decode_webhook(
    body: bytes, *, arrived_at_ms: int, company_id: str | None = None, whole_meta: bool = False
) -> Event:
    """Raises Malformed. `company_id`: events of any other company are refused. `whole_meta`: `Event.meta` is wanted."""
    envelope: _Envelope = _json(_ENVELOPE, body)
    meta = envelope.meta
    _refuse_other_versions(meta)
    if company_id is not None and _id(meta.company_id) != company_id:
        raise Malformed("meta.company_id is not the company of the flow")
    cause = _cause(meta)
    entity = meta.entity
    if not isinstance(entity, str) or not entity:
        raise Malformed("meta.entity is not a text")
    if entity not in MAPPED:
        return _ignored(cause, entity, meta)
    whole: dict[str, Any] = _json(_WHOLE, body).meta if whole_meta else {}
    return _object_event(cause, entity, envelope, whole, arrived_at_ms)


def decode_rest(entity: Entity, data: dict[str, Any], *, source_id: str, cause: str, generation: Generation) -> Event:
    """An object of REST v2 as the same type; `is_deleted` becomes a deletion."""
    if _id(data.get("id")) != source_id:
        raise Malformed("id is not the one that was asked for")
    visible_to = data.get("visible_to")
    if isinstance(visible_to, int):
        data = {**data, "visible_to": str(visible_to)}  # a text in webhooks
    return Event(
        cause=cause,
        entity=entity,
        action="delete" if data.get("is_deleted") is True else "change",
        source_id=source_id,
        generation=generation,
        data=data,
        custom=_custom(data),
        meta={"entity": entity, "entity_id": source_id},
        merged_to=_id(data.get("merged_to_id")),
    )


def decode_listed(entity: Entity, body: bytes, *, job_id: str, generation: Generation) -> Event:
    """An object of a list that a sync walks; it says itself which one it is. Raises Malformed."""
    data = _json(_OBJECT, body, not_this="not an object as REST gives it") or {}
    source_id = _id(data.get("id")) or ""
    if not is_source_id(source_id):
        raise Malformed("an object of a list has no id")
    cause = causes.of_sync(job_id, entity, source_id)
    return decode_rest(entity, data, source_id=source_id, cause=cause, generation=generation)


def id_of(body: bytes) -> str:
    """Of an object as REST gives it; empty when it says none."""
    try:
        return _id(cast(_Identified, _json(_IDENTIFIED, body)).id) or ""
    except Malformed:
        return ""


def decode_object(body: bytes, *, what: str, version: str, cause: str, revision: int, now_ms: int) -> Event:
    """An object that was read through REST and is replayed. Raises Malformed.

    `what`: `<entity>/<id>`. `version`: the generation of that reading; the replay has a revision of its own.
    """
    entity, _, source_id = what.partition("/")
    if entity not in MAPPED or not is_source_id(source_id):
        raise Malformed("the header object does not say <entity>/<id>")
    if not cause:
        raise Malformed("an object without the header cause: only replays bring objects")
    read = _generation(version, now_ms)
    data = _json(_OBJECT, body, not_this="not an object as REST gives it")
    if data is None:
        raise Malformed("the object was gone when it was read: there is nothing to map")
    generation = Generation(read.source_version, revision)
    return decode_rest(cast(Entity, entity), data, source_id=source_id, cause=cause, generation=generation)


def cause_of(body: bytes) -> str:
    """The cause of a body that may be malformed: that of its event if it names one, else of its bytes."""
    try:
        return _cause(cast(_Names, _json(_NAMES, body)).meta)
    except Malformed:
        return causes.of_unreadable(body)


def _object_event(
    cause: str, entity: str, envelope: _Envelope, whole_meta: dict[str, Any], arrived_at_ms: int
) -> Event:
    meta = envelope.meta
    action = meta.action
    if action not in {"create", "change", "delete"}:
        raise Malformed("meta.action is not create, change or delete")
    data = envelope.data
    if data is None:
        if action != "delete":
            raise Malformed("data is null, but the action is not delete")
        data = _json(_OBJECT, bytes(envelope.previous)) if envelope.previous != _EMPTY else None
    data = data or {}
    version = timestamp_ms(meta.timestamp)
    if is_from_the_future(version, arrived_at_ms=arrived_at_ms):
        raise Malformed("meta.timestamp is more than 5 minutes ahead of the event's arrival")
    return Event(
        cause=cause,
        entity=entity,
        action=action,
        source_id=_source_id(meta, data),
        generation=Generation(version),
        data=data,
        custom=_custom(data),
        meta=whole_meta,
        merged_to=_merged("merged_to_id", meta.merged_to_id),
        merged_from=_merged("merged_from_id", meta.merged_from_id),
        attempt=meta.attempt if isinstance(meta.attempt, int) else 1,
    )


def _ignored(cause: str, entity: str, meta: _Meta) -> Event:
    """Entities without a record may look as they like (leads have UUIDs, users epoch seconds): only told, so cut."""
    action = meta.action
    return Event(
        cause=cause,
        entity=entity[:MAX_TOLD_CHARS],
        action=action[:MAX_TOLD_CHARS] if isinstance(action, str) else "",
        source_id=(_id(meta.entity_id) or "")[:MAX_TOLD_CHARS],
        generation=Generation(0),
    )


def timestamp_ms(value: object) -> int:
    """ISO 8601 text, or seconds (or ms) since the epoch; in ms. Raises Malformed."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            found = round(moment.timestamp() * 1000)
        elif isinstance(value, int | Decimal) and not isinstance(value, bool):
            found = int(value * 1000) if value < _MOST_SECONDS else int(value)
        else:
            raise Malformed("meta.timestamp is not a time")
    except (ValueError, ArithmeticError) as error:
        raise Malformed("meta.timestamp is not a time") from error
    if not 0 < found < _MOST_SECONDS * 1000:
        raise Malformed("meta.timestamp is not a time of this age")
    return found


def _generation(text: str, now_ms: int) -> Generation:
    try:
        found = Generation.parse(text)
    except ValueError as error:
        raise Malformed("the header generation does not say <source version>.<revision>") from error
    if found.source_version <= 0 or is_from_the_future(found.source_version, arrived_at_ms=now_ms):
        raise Malformed("the header generation is not of this age")
    return found


def _json(decoder: Any, data: bytes, *, not_this: str = "not an event: meta and data are not objects") -> Any:
    """Whatever the bytes are, only Malformed leaves here."""
    try:
        if not data.isascii():
            data.decode()  # parts that are skipped travel on as they are
        return decoder.decode(data)
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error
    except msgspec.ValidationError as error:
        raise Malformed(not_this) from error
    except (msgspec.DecodeError, RecursionError, ArithmeticError, ValueError) as error:
        raise Malformed("not JSON, nested too deeply, or a number out of range") from error


def _refuse_other_versions(meta: _Meta) -> None:
    version = meta.version
    if version is not None and not str(version).startswith("2"):
        raise Malformed("meta.version is not 2.0: subscribe to webhooks v2")


def _cause(meta: _Meta) -> str:
    return causes.of_event(_id(meta.webhook_id) or "", _id(meta.id) or "")


def _id(value: object) -> str | None:
    """Ids are texts or numbers, whichever the sender likes."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _source_id(meta: _Meta, data: dict[str, Any]) -> str:
    named, held = _id(meta.entity_id), _id(data.get("id"))
    found = named or held
    if found is None or not is_source_id(found):
        raise Malformed("neither meta.entity_id nor the object's id is a positive number")
    if held is not None and held != found:
        raise Malformed("meta.entity_id is not the object's id")
    return found


def _merged(member: str, value: object) -> str | None:
    if value is None:  # as nearly always
        return None
    found = _id(value)
    if found is not None and not is_source_id(found):
        raise Malformed(f"meta.{member} is not a positive number")
    return found


def _custom(data: dict[str, Any]) -> dict[str, Any]:
    found = data.get("custom_fields")
    return found if isinstance(found, dict) else {}
