"""Find out which records of a flow stand for objects that Pipedrive does not list any more.

Known records less the ids of all pages: 10 tokens for each 500 objects (20 where archived deals are), and by id only
what is missing. A deletion that is on its way anyway is asked for once more, which is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, select

from ml_connector.admin.tables import observed, waiting
from ml_connector.common import keys
from ml_connector.common.asking import ListedIds, ListIds
from ml_connector.common.errors import ConnectorError
from ml_connector.common.flows import Flow
from ml_connector.common.keys import Entity
from ml_connector.common.syncing import MAX_IDS, Shelf

FEW: Final = 50  # so many may be missing, however few there are
SHARE: Final = 0.1  # of the known ones; if more are missing, our user rather sees less than before
SHELVES: Final[dict[Entity, tuple[Shelf, ...]]] = {
    "organization": ("current",), "person": ("current",), "deal": ("current", "archived"),
}  # fmt: skip

Ask = Callable[[ListIds], Awaitable[ListedIds]]


class NotSearched(ConnectorError):
    """Pipedrive refuses, or far too much is missing: somebody must look."""


class Wait(ConnectorError):
    """Tokens are spent, or nobody answers: the search begins anew later. (A cursor does not live for long.)"""

    def __init__(self, text: str, after_s: float) -> None:
        super().__init__(text)
        self.after_s = after_s


class Missing(NamedTuple):
    ids: tuple[str, ...]
    tokens: int


def known_ids(connection: Connection, flow: Flow, entity: Entity) -> set[int]:
    """Of the objects that NetSuite has an active record of, or soon will."""
    mapping = flow.mapping_of(entity)
    if mapping is None:
        return set()
    prefix = keys.external_id(flow.external_ids, entity, "")
    start = keys.record_key(flow.netsuite.account, mapping.record, prefix)
    held = and_(
        observed.c.record_key >= start,
        observed.c.record_key < f"{start}:",
        observed.c.flow == flow.flow,
        observed.c.action == "upsert",
        observed.c.internal_id != "",
    )
    to_come = and_(waiting.c.record_key >= start, waiting.c.record_key < f"{start}:", waiting.c.flow == flow.flow)
    found = [*connection.scalars(select(observed.c.record_key).where(held))]
    found += connection.scalars(select(waiting.c.record_key).where(to_come))
    ids = (record_key[len(start) :] for record_key in found)
    return {int(one) for one in ids if keys.is_source_id(one)}


async def missing_of(ask: Ask, flow: str, entity: Entity, known: set[int], token_share: float) -> Missing:
    """Raises NotSearched, Wait."""
    if not known:
        return Missing((), 0)
    left, tokens = set(known), 0
    for shelf in SHELVES[entity]:
        cursor, first = "", True
        while cursor or first:
            page = await ask(ListIds(flow, entity, shelf, cursor, token_share))
            tokens += page.tokens
            if page.refused and page.wait_s:
                raise Wait(page.refused, page.wait_s)
            if page.refused:
                raise NotSearched(page.refused)
            left.difference_update(map(int, page.ids))
            cursor, first = page.cursor, False
    if len(left) > max(FEW, SHARE * len(known)):
        raise NotSearched(
            f"{len(left)} of {len(known)} known {entity}s are in no list of Pipedrive's: does its user see less than "
            "before? If they are gone, sync them by their ids"
        )
    return Missing(tuple(map(str, sorted(left)))[:MAX_IDS], tokens)
