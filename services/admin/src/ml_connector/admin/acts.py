"""What operators did: kept in SQL at once, told in the audit afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from ml_connector.admin.fold.acts import put_acts
from ml_connector.admin.identity.roles import Actor
from ml_connector.admin.outbox import put_message
from ml_connector.common import keys, topics
from ml_connector.common.wire import Act, ActKind

TARGETS: Final = 5_000  # of one entry; more make several


def record_act(
    connection: Connection,
    what: ActKind,
    *,
    by: Actor,
    now_ms: int,
    reason: str = "",
    targets: Sequence[str] = (),
    detail: Mapping[str, Any] | None = None,
) -> None:
    """In the transaction of the act itself."""
    for start in range(0, max(1, len(targets)), TARGETS):
        entry = Act(
            act_id=uuid.uuid4().hex,
            at_ms=now_ms,
            actor=by.subject,
            role=by.role.name,
            act=what,
            reason=reason,
            targets=tuple(targets[start : start + TARGETS]),
            detail=dict(detail or {}),
        )
        put_acts(connection, [entry])
        put_message(
            connection,
            topics.AUDIT,
            partition_key=entry.act_id,
            key=keys.act_key(entry.act_id),
            value=entry.encode(),
        )
