"""What doctor learns from this service itself: does anything stop the flow?"""

from __future__ import annotations

from sqlalchemy import select

from ml_connector.admin.database import Database
from ml_connector.admin.tables import standing
from ml_connector.common import keys
from ml_connector.common.asking import Finding
from ml_connector.common.directory import LiveFlow


class Stops:
    """A person has paused it, or the writer has halted it, or suspended its account. Blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self, live: LiveFlow) -> list[Finding]:
        return [self._paused(live), self._stopped(live)]

    def _paused(self, live: LiveFlow) -> Finding:
        name = live.flow.flow
        if live.paused:
            says = "a person has paused it: its events wait, nothing is written"
            return Finding("flow.active", "warning", says, f"`mlc flows resume {name}`")
        return Finding("flow.active", "ok", f"version {live.version} is active")

    def _stopped(self, live: LiveFlow) -> Finding:
        name, account = live.flow.flow, live.flow.netsuite.account.lower()  # as the writer has it
        types = {mapping.record for mapping in live.flow.entities.values()}
        wanted = [keys.flow_key(name), keys.account_key(account), *(keys.account_key(account, one) for one in types)]
        with self._database.read() as connection:
            rows = connection.execute(select(standing).where(standing.c.key.in_(wanted)).order_by(standing.c.key)).all()
        if not rows:
            return Finding("flow.running", "ok", "neither the flow nor its account is stopped")
        says = "; ".join(f"{row.key.partition('/')[2]} is {row.state}: {row.reason}" for row in rows)
        halted = any(row.key == keys.flow_key(name) for row in rows)
        fix = f"mend it, then `mlc flows resume {name}`" if halted else "mend it: the writer tries again by itself"
        return Finding("flow.running", "failed", says, fix)
