"""Settle the jobs of one account: each cause gets its one outcome.

In: a job and how it ended. Out: a settlement, recorded once its transaction is committed.
"""

from __future__ import annotations

import asyncio

from ml_connector.common.wire import Desired, Superseded
from ml_connector.netsuite_writer import doubt
from ml_connector.netsuite_writer.job import Job, Tools
from ml_connector.netsuite_writer.outcome import Ending, dead_letter_of, observed_after, outcome_of
from ml_connector.netsuite_writer.schedule import Entry
from ml_connector.netsuite_writer.settlement import Settlement


class Endings:
    """What is handed to the settler."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def job(self, entry: Entry) -> Job | None:
        """An entry with its body; None: its tombstone has come in."""
        waiting = self._tools.store.desired(entry.key)
        return None if waiting is None else Job(entry, Desired.decode(waiting.body), waiting.trace)

    def repeated(self, entry: Entry) -> None:
        """This cause has its outcome, or gets it through another entry."""
        self._tools.settler.submit(Settlement(entry.record, entry.key))

    def replaced(self, loser: Entry, winner: Entry) -> None:
        """A newer state of the record is known."""
        if winner.cause == loser.cause:  # a hydrate that was answered twice: one cause has one outcome
            self.repeated(loser)
            return
        job = self.job(loser)
        if job is not None:
            self.superseded(job, Superseded(winner.generation, winner.cause))

    def superseded(self, job: Job, newer: Superseded) -> None:
        ending = Ending("superseded", superseded_by=newer, tries=job.entry.tries)
        outcome = outcome_of(job.desired, ending, now_ms=self._tools.clock.now_ms(), traceparent=job.traceparent)
        self._tools.settler.submit(
            Settlement(job.entry.record, job.entry.key, outcome=outcome, traceparent=job.traceparent)
        )

    def ended(self, job: Job, ending: Ending) -> asyncio.Future[None]:
        """Done once it is recorded."""
        desired, now_ms, traceparent = job.desired, self._tools.clock.now_ms(), job.traceparent
        record = job.entry.record
        before, attempt = self._tools.store.observed(record), self._tools.store.attempt(record)
        letter = None
        if ending.outcome == "dead_lettered":
            letter = dead_letter_of(desired, ending, now_ms=now_ms, traceparent=traceparent)
        return self._tools.settler.submit(
            Settlement(
                record,
                job.entry.key,
                outcome=outcome_of(desired, ending, now_ms=now_ms, traceparent=traceparent),
                observed=observed_after(desired, ending, before, now_ms=now_ms),
                attempt=doubt.settled(attempt, desired.generation) if attempt is not None else None,
                clears_attempt=attempt is not None,
                dead_letter=letter,
                traceparent=traceparent,
            )
        )
