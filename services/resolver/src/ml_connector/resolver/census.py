"""Tell which objects there are: the ids of one page of a list, for whoever looks for those that are gone.

Deleted objects are in no list (facts/pipedrive.md section 8), so what is missing in all pages is gone, or was never
visible to our user. Nothing is kept or made of a page. It costs what any page costs.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ml_connector.common.asking import ListedIds, ListIds
from ml_connector.common.clock import Clock
from ml_connector.common.errors import ConnectorError, TryLater
from ml_connector.common.syncing import SyncPage
from ml_connector.resolver import walk
from ml_connector.resolver.pipedrive.client import ListRefused, PipedriveClient
from ml_connector.resolver.plan import FlowPlan

LIVING_DEALS: Final = "open,won,lost"


class _Row(msgspec.Struct):
    id: Any = None
    is_deleted: Any = None


_ROW: Final = msgspec.json.Decoder(_Row)


async def list_ids(asked: ListIds, plan: FlowPlan | None, client: PipedriveClient | None, clock: Clock) -> ListedIds:
    """Always an answer. `client` is that of the `plan`."""
    if plan is None or client is None:
        return ListedIds(refused=f"no flow is called {asked.flow!r} here")
    page = SyncPage("census", asked.flow, asked.entity, 0, shelf=asked.shelf, cursor=asked.cursor)
    path, query, tokens = walk.query_of(page)
    if asked.entity == "deal":
        query["status"] = LIVING_DEALS
    share = int(client.limits.daily_spendable * asked.token_share)
    wait_s = client.budget.wait_s(tokens, share, clock.now_ms())
    if wait_s > 0:
        return ListedIds(refused=f"syncs may spend {share} tokens of Pipedrive's in 24 hours: spent", wait_s=wait_s)
    try:
        read = await client.page(path, query, tokens=tokens)
    except ListRefused as error:
        return ListedIds(refused=str(error), tokens=tokens)
    except TryLater as error:
        return ListedIds(refused=str(error), wait_s=error.after_s or 1.0)
    except ConnectorError as error:
        return ListedIds(refused=str(error), wait_s=60.0)
    rows = [_ROW.decode(bytes(row)) for row in read.rows]
    living = tuple(str(row.id) for row in rows if isinstance(row.id, int) and row.is_deleted is not True)
    return ListedIds(ids=living, cursor=read.cursor, tokens=tokens)
