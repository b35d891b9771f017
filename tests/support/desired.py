"""Desired states as the resolver would emit them, for the writer's tests."""

from __future__ import annotations

from typing import Any

import msgspec

from ml_connector.common.generation import Generation
from ml_connector.common.keys import DesiredKey, Entity, RecordType, external_id, record_key
from ml_connector.common.wire import Attempt, Desired, Observed, Origin, Parent

ACCOUNT = "1234567_SB1"
COMPANY = "acme-eu"
FLOW = "acme-eu"
RECORD_TYPES: dict[Entity, RecordType] = {"organization": "customer", "person": "contact", "deal": "opportunity"}


def desired(
    entity: Entity = "organization", source_id: str = "1", *, version: int = 1, cause: str = "", **more: Any
) -> Desired:
    """One state of one object; `version` is its generation."""
    made = Desired(
        cause=cause or f"wh:{entity}-{source_id}-{version}",
        flow=FLOW,
        company=COMPANY,
        account=ACCOUNT,
        entity=entity,
        source_id=source_id,
        record_type=RECORD_TYPES[entity],
        external_id=external_id("pd", entity, source_id),
        generation=Generation(version),
        action="upsert",
        mapping_version=1,
        origin=Origin("pipedrive.events", 0, version, 1_700_000_000_000),
        fields={"companyName": f"Organization {source_id}"},
    )
    return msgspec.structs.replace(made, **more)


def child(entity: Entity, source_id: str, *, of: str, **more: Any) -> Desired:
    """A person or deal of organization `of`."""
    parent = Parent(record_key(ACCOUNT, "customer", external_id("pd", "organization", of)), "organization", of)
    return desired(entity, source_id, parent=parent, **more)


def key_of(state: Desired) -> str:
    return str(DesiredKey(state.record_key, state.generation, state.cause))


def observed(of: Desired, **more: Any) -> Observed:
    """What is known once `of` was written."""
    made = Observed(
        record_key=of.record_key,
        flow=of.flow,
        generation=of.generation,
        cause=of.cause,
        outcome="written",
        action=of.action,
        at_ms=1_700_000_000_000,
        internal_id="101",
    )
    return msgspec.structs.replace(made, **more)


def attempted(of: Desired, **more: Any) -> Attempt:
    """A call that is about to write `of`."""
    made = Attempt(
        record_key=of.record_key,
        flow=of.flow,
        entity=of.entity,
        source_id=of.source_id,
        company=of.company,
        generation=of.generation,
        at_ms=1,
        owner="former",
    )
    return msgspec.structs.replace(made, **more)
