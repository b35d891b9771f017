"""Oldest first per record, and otherwise in the order of the topic, so that it is read from front to back. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ml_connector.common.generation import Generation


@dataclass(frozen=True, slots=True)
class Chosen:
    """A dead letter that was selected; `skip`: why it is not taken."""

    letter_id: str
    record_key: str
    account: str
    partition: int
    offset: int
    generation: Generation
    skip: str = ""


def oldest_first(letters: Sequence[Chosen]) -> list[Chosen]:
    """The places that a record has in the topic's order stay its places; its letters take them by generation."""
    placed = sorted(letters, key=lambda one: (one.partition, one.offset))
    by_record: dict[str, list[Chosen]] = defaultdict(list)
    for one in placed:
        by_record[one.record_key].append(one)
    for several in by_record.values():
        several.sort(key=lambda one: (one.generation, one.partition, one.offset), reverse=True)
    return [by_record[one.record_key].pop() for one in placed]
