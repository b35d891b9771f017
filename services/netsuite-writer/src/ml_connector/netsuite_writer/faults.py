"""Let a record go on by itself after a fault of ours: an exception that nobody expected, an unreadable stored value.

In: what was being handled, and what was raised. Out: when it is handled again, later and later.
A fault says something about us, so it counts against no record (DESIGN rule 6), and it is told as an error only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ml_connector.common.errors import MustStop
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.schedule import Entry, Schedule

log = get_logger()

PutBack = Callable[[Entry, float], None]  # the entry, and after how many seconds


class Faults:
    """Those of one account's records."""

    def __init__(self, account: str, *, schedule: Schedule, put_back: PutBack, tools: Tools) -> None:
        self._account = account
        self._schedule = schedule
        self._put_back = put_back
        self._tools = tools

    @contextmanager
    def of(self, entry: Entry) -> Iterator[None]:
        """Whatever is raised within, the entry does not stay locked."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  of whatever kind: a fault of ours must not lose the record
            self.met(entry, error)

    def met(self, entry: Entry, error: Exception) -> None:
        """Give the entry back, unless that has happened already."""
        pause_s = self.told(entry, error)
        if self._schedule.runs(entry):
            self._put_back(entry, pause_s)

    def told(self, entry: Entry, error: Exception) -> float:
        """Only log it; the pause until it is worth another try."""
        entry.faults += 1
        tell = log.error if entry.faults == 1 else log.warning
        tell("record_fault", account=self._account, record_key=entry.record, count=entry.faults, exc_info=error)
        return self._tools.backoff_s(entry.faults)


class Postponed:
    """What met a fault where no entry keeps it: by key, when it is looked at again."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._faults: dict[str, int] = {}
        self._due_s: dict[str, float] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Whatever is raised within, the key is due again after a while."""
        try:
            yield
        except MustStop:
            raise
        except Exception as error:  # noqa: BLE001  as above
            self._met(key, error)
        else:
            self.forget(key)

    def forget(self, key: str) -> None:
        self._faults.pop(key, None)
        self._due_s.pop(key, None)

    def waits(self, key: str) -> bool:
        return self._due_s.get(key, float("-inf")) > self._tools.clock.monotonic_s()

    def due(self) -> list[str]:
        return [key for key in self._due_s if not self.waits(key)]

    def _met(self, key: str, error: Exception) -> None:
        self._faults[key] = count = self._faults.get(key, 0) + 1
        self._due_s[key] = self._tools.clock.monotonic_s() + self._tools.backoff_s(count)
        (log.error if count == 1 else log.warning)("record_fault", record_key=key, count=count, exc_info=error)
