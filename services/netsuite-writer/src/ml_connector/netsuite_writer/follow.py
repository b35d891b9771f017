"""Do what a verdict says: an ending, or once more, later (DESIGN section 6).

In: a job and what NetSuite told about it. Out: its ending, or None when its entry goes again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypedDict

from ml_connector.common.keys import RecordType
from ml_connector.common.logs import get_logger
from ml_connector.common.wire import Try
from ml_connector.netsuite_writer import doubt, settle
from ml_connector.netsuite_writer.job import Ready, Told, Tools
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.schedule import Entry
from ml_connector.netsuite_writer.suspensions import Suspensions

log = get_logger()

Again = Callable[[Entry, float], None]  # the entry, and after how many seconds


class _Facts(TypedDict):
    request: bytes
    response: bytes
    tries: list[Try]


class Follower:
    """Of one account."""

    def __init__(self, again: Again, suspensions: Suspensions, tools: Tools) -> None:
        self._again = again
        self._suspensions = suspensions
        self._tools = tools
        self._written: Counter[RecordType] = Counter()

    def begin(self, entry: Entry) -> None:
        """A call begins: what succeeds from now on, others have done."""
        if entry.successes_seen is None:
            entry.successes_seen = self._written.total()

    def follow(self, job: Ready, told: Told) -> Ending | None:
        entry = job.entry
        facts: _Facts = {"request": told.request, "response": told.response, "tries": entry.tries}
        match told.verdict:
            case settle.Written(internal_id=internal_id):
                self._written[entry.kind] += 1
                self._suspensions.written(entry.kind)
                return Ending("written", internal_id=internal_id, digest=told.digest, **facts)
            case settle.NothingToDo(reason=reason):
                return Ending("ignored", reason, **facts)
            case settle.Reject(code=code, message=message):
                return Ending("dead_lettered", message, "write", code, **facts)
            case settle.TryAgain(unknown=unknown):
                return self._try_again(entry, facts, unknown=unknown)
            case settle.Forbidden() as forbidden:
                return self._forbidden(entry, forbidden, facts)
            case settle.Vanished():
                entry.adopts, entry.way = None, "match"
                self._again(entry, self._tools.backoff_s(entry.failures))
            case settle.Overloaded() | settle.Unauthorized() | settle.Landed():
                self._again(entry, 0.0)  # it says nothing about the record; the gate knows when to go on
        return None

    def doubt(self, record: str) -> None:
        """In the topic the attempt stays open, which means the same to a later owner."""
        attempt = self._tools.store.attempt(record)
        if attempt is not None:
            self._tools.store.put_attempt(record, doubt.restored(attempt, self._tools.clock.now_ms()))

    def _try_again(self, entry: Entry, facts: _Facts, *, unknown: bool) -> Ending | None:
        entry.failures += 1
        successes = self._written.total()
        if entry.successes_seen is not None and successes > entry.successes_seen:
            entry.counted += 1  # others succeeded meanwhile: it may be this record
        entry.successes_seen = successes
        if unknown:
            self.doubt(entry.record)
        if entry.counted >= self._tools.settings.tries:
            text = f"no success after {entry.failures} tries while other records succeeded"
            return Ending("dead_lettered", text, "vendor", "NO_SUCCESS", transient=True, **facts)
        log.debug("trying_again", record_key=entry.record, attempt=entry.failures)
        self._again(entry, self._tools.backoff_s(entry.failures))
        return None

    def _forbidden(self, entry: Entry, verdict: settle.Forbidden, facts: _Facts) -> Ending | None:
        """Its type is suspended, unless another record of the type was written since this one was refused first."""
        written = self._written[entry.kind]
        if entry.refused_after is not None and written > entry.refused_after:
            return Ending("dead_lettered", verdict.message, "write", verdict.code or "FORBIDDEN", **facts)
        entry.refused_after = written
        self._suspensions.forbidden(entry.kind, verdict.message, began_s=entry.began_s)
        self._again(entry, 0.0)
        return None
