"""How records and messages are called: external ids, record keys, the keys of Kafka messages. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ml_connector.common.generation import Generation

Entity = Literal["organization", "person", "deal"]
RecordType = Literal["customer", "contact", "opportunity"]

_SHORT: dict[Entity, str] = {"organization": "org", "person": "person", "deal": "deal"}
_ENTITIES: dict[str, Entity] = {short: entity for entity, short in _SHORT.items()}

SOURCE_ID_DIGITS = 19

# The record key of an event that concerns no record (an activity, say).
NO_RECORD = "-"


def is_source_id(text: str) -> bool:
    """Pipedrive's ids of organizations, persons and deals are positive integers."""
    return text.isdigit() and text.isascii() and len(text) <= SOURCE_ID_DIGITS and text != "0"


def external_id(prefix: str, entity: Entity, source_id: str) -> str:
    """`pd-org-5`. The entity is part of it: NetSuite's ids are unique over a whole record group
    (Oracle section_N3436356), and only letters, digits, `_` and `-` may stand in a URL (section_156334828635)."""
    return f"{prefix}-{_SHORT[entity]}-{source_id}"


def source_of(prefix: str, external: str) -> tuple[Entity, str] | None:
    """The Pipedrive object that an external id of this prefix belongs to."""
    start = f"{prefix}-".lower()
    if not external.lower().startswith(start):
        return None
    short, _, source_id = external[len(start) :].lower().partition("-")
    entity = _ENTITIES.get(short)
    return (entity, source_id) if entity is not None and is_source_id(source_id) else None


def record_key(account: str, record_type: RecordType, external: str) -> str:
    """`<account>/<record type>/<external id>` in lower case, as NetSuite compares external ids."""
    return f"{account}/{record_type}/{external}".lower()


class DesiredKey(NamedTuple):
    """The key of a message in `netsuite.desired`: each generation has its own."""

    record: str
    generation: Generation
    cause: str

    def __str__(self) -> str:
        return desired_key(self.record, self.generation, self.cause)

    @classmethod
    def parse(cls, text: str) -> DesiredKey:
        record, generation, cause = text.split("#", 2)
        return cls(record, Generation.parse(generation), cause)


def desired_key(record: str, generation: Generation, cause: str) -> str:
    """`DesiredKey` as text."""
    return f"{record}#{generation.source_version}.{generation.revision}#{cause}"


def attempt_key(record: str) -> str:
    """The key in `netsuite.observed` of a call that may be under way."""
    return f"attempt/{record}"


def job_key(idempotency_key: str) -> str:
    """The key in `netsuite.observed` of an asynchronous batch that may be under way."""
    return f"job/{idempotency_key}"


def account_key(account: str, record_type: RecordType | None = None) -> str:
    """The key in `netsuite.observed` of an account's suspension, or of one of its record types."""
    return f"account/{account}" if record_type is None else f"account/{account}/{record_type}"


def flow_key(flow: str) -> str:
    """The key in `netsuite.observed` of a flow that was halted."""
    return f"flow/{flow}"


def company_key(company: str) -> str:
    """What a company's suspension is called beside those of accounts and flows."""
    return f"company/{company}"


def standing_key(company: str) -> str:
    """The key in `pipedrive.state` of a company's suspension."""
    return f"{company}/standing"


def received_key(cause: str) -> str:
    return f"{cause}/received"


def resolved_key(cause: str) -> str:
    return f"{cause}/resolved"


def outcome_key(cause: str, record: str) -> str:
    return f"{cause}/{record}/outcome"


def act_key(act_id: str) -> str:
    """The key in `audit` of what an operator did."""
    return f"act/{act_id}"


def items_key(job_id: str, first: int) -> str:
    """The key in `connector.jobs` of some of a job's items, from this number on; the job itself has its id."""
    return f"{job_id}/items/{first}"


def skipped_key(job_id: str, number: int) -> str:
    """The key in `connector.jobs` of an item that could not be issued when its turn came."""
    return f"{job_id}/items/{number}/skipped"


def edit_key(letter_id: str) -> str:
    """The key in `connector.jobs` of the edited copy of a dead letter."""
    return f"edit/{letter_id}"
