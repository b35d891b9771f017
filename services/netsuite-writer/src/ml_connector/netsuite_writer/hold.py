"""Know which jobs a batch still has: should it break off, those must go back into the schedule, and only those.

In: what a batch does with its jobs, passed on to the account. Out: the jobs that have neither ended nor gone back.
"""

from __future__ import annotations

from collections.abc import Sequence

from ml_connector.netsuite_writer.job import Desk, Job, Ready, Told
from ml_connector.netsuite_writer.outcome import Ending
from ml_connector.netsuite_writer.schedule import Way


class Hold:
    """The desk of one account's batches."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._jobs: dict[str, Ready] = {}  # by record; each is in one batch at most

    def take(self, jobs: Sequence[Ready]) -> None:
        self._jobs |= {job.entry.record: job for job in jobs}

    def left(self, jobs: Sequence[Ready]) -> list[Ready]:
        """Those of these that are still held."""
        return [job for job in jobs if self._holds(job)]

    def follow(self, job: Ready, told: Told) -> Ending | None:
        ending = self._desk.follow(job, told)
        if ending is None:
            self._let_go(job)
        return ending

    async def end(self, job: Job, ending: Ending) -> None:
        self._let_go(job)  # what is being recorded has ended, although it takes a while
        await self._desk.end(job, ending)

    def fault(self, job: Job, error: Exception) -> None:
        self._let_go(job)
        self._desk.fault(job, error)

    def go_first(self, job: Job, way: Way) -> None:
        self._let_go(job)
        self._desk.go_first(job, way)

    def go_later(self, job: Job, way: Way) -> None:
        self._let_go(job)
        self._desk.go_later(job, way)

    def _holds(self, job: Job) -> bool:
        return self._jobs.get(job.entry.record) is job

    def _let_go(self, job: Job) -> None:
        if self._holds(job):
            del self._jobs[job.entry.record]
