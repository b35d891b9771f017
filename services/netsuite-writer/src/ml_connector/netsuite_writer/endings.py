"""Settle the jobs of one account: each cause gets its one outcome.

In: a job and how it ended. Out: a settlement, recorded once its transaction is committed.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from ml_connector.common.generation import REST_READ_SLACK_MS
from ml_connector.common.wire import Attempt, Desired, Superseded
from ml_connector.netsuite_writer import doubt
from ml_connector.netsuite_writer.accept import remember
from ml_connector.netsuite_writer.job import Job, Tools
from ml_connector.netsuite_writer.outcome import Ending, dead_letter_of, observed_after, outcome_of
from ml_connector.netsuite_writer.schedule import Entry
from ml_connector.netsuite_writer.settlement import Settlement

READ_AGAIN_MS: Final = REST_READ_SLACK_MS + 10_000  # a read before this, or a slower one, would not be newer


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
        self._tools.settler.submit(self._loss(job, newer))

    def _loss(self, job: Job, newer: Superseded) -> Settlement:
        ending = Ending("superseded", superseded_by=newer, tries=job.entry.tries)
        outcome = outcome_of(job.desired, ending, now_ms=self._tools.clock.now_ms(), traceparent=job.traceparent)
        return Settlement(job.entry.record, job.entry.key, outcome=outcome, traceparent=job.traceparent)

    def ended(self, job: Job, ending: Ending) -> asyncio.Future[None]:
        """Done once it is recorded."""
        desired, now_ms, traceparent = job.desired, self._tools.clock.now_ms(), job.traceparent
        record = job.entry.record
        before, attempt = self._tools.store.observed(record), self._tools.store.attempt(record)
        losses = self._losses(job.entry)
        observed = observed_after(desired, ending, before, now_ms=now_ms)
        for loss in losses:  # should its cause come once more, it has its outcome
            settled = remember(observed, loss.outcome.cause if loss.outcome else "", now_ms=now_ms)
            observed = msgspec.structs.replace(observed, settled=settled)
        letter = None
        if ending.outcome == "dead_lettered":
            letter = dead_letter_of(desired, ending, now_ms=now_ms, traceparent=traceparent)
        return self._tools.settler.submit(
            Settlement(
                record,
                job.entry.key,
                outcome=outcome_of(desired, ending, now_ms=now_ms, traceparent=traceparent),
                observed=observed,
                attempt=self._stays(job, attempt, now_ms),
                clears_attempt=attempt is not None or job.entry.contested,
                dead_letter=letter,
                traceparent=traceparent,
                losses=losses,
            )
        )

    def _losses(self, entry: Entry) -> list[Settlement]:
        """Of those with an equal generation, which end with it."""
        jobs = [self.job(rival) for rival in entry.rivals.values() if rival.key != entry.key]
        newer = Superseded(entry.generation, entry.cause)
        return [self._loss(job, newer) for job in jobs if job is not None]

    def _stays(self, job: Job, attempt: Attempt | None, now_ms: int) -> Attempt | None:
        """What stays in doubt. Which of two equal generations is newer, only a later read can tell."""
        desired = job.desired
        if not job.entry.contested:
            return doubt.settled(attempt) if attempt is not None else None
        if attempt is None:
            attempt = doubt.attempt_of(
                desired, job.entry.record, desired.generation, owner=self._tools.owner, at_ms=now_ms
            )
        read_at_ms = max(now_ms, desired.generation.source_version) + READ_AGAIN_MS
        return doubt.contested(attempt, read_at_ms - int(self._tools.settings.quiet_s * 1000))
