"""What doctor says of a flow's gaps."""

from __future__ import annotations

from ml_connector.admin.catchup.keep import read_catch_up
from ml_connector.admin.catchup.step import current
from ml_connector.admin.database import Database
from ml_connector.admin.sync.ask import rfc3339
from ml_connector.common.asking import Finding
from ml_connector.common.catch_up import CatchUp
from ml_connector.common.directory import LiveFlow


class Gaps:
    """Blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self, live: LiveFlow) -> list[Finding]:
        with self._database.read() as connection:
            entry = read_catch_up(connection, live.flow.flow)
        return [finding_of(entry)] if entry.runs or live.flow.pipedrive.events != "none" else []


def finding_of(entry: CatchUp) -> Finding:
    what, run, gap = "flow.gaps", current(entry), entry.gap
    last = entry.runs[-1] if entry.runs else None
    if last is not None and last.phase == "failed":
        says = f"events from {rfc3339(last.from_ms)} to {rfc3339(last.to_ms)} may be missing: {last.problem}"
        fix = f"mend that, then `mlc sync {entry.flow} --since {rfc3339(last.from_ms)}`; a reconcile shows the rest"
        return Finding(what, "failed", says, fix)
    if run is not None:
        waits = f"; it waits: {run.problem}" if run.problem else ""
        says = f"events from {rfc3339(run.from_ms)} to {rfc3339(run.to_ms)} are being caught up with{waits}"
        return Finding(what, "warning", says, f"`mlc schedule gaps --flow {entry.flow}` shows how far it is")
    if gap is not None:
        until = "they still may" if gap.open else f"caught up with after {rfc3339(gap.to_ms)}"
        says = f"events since {rfc3339(gap.from_ms)} may have got lost ({gap.why}); {until}"
        return Finding(what, "warning", says, "mend what it names; what was lost comes by itself")
    return Finding(what, "ok", "no event is known to be missing")
