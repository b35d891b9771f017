"""Guess when a batch will have ended, from those before, so that one poll is enough. Pure; the caller passes `now_s`.

No more batches are under way than NetSuite runs at once (`MLC_JOBS_AT_ONCE`), so none waits for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_GUESS_S: Final = 1.0
MARGIN: Final = 1.02
HALF: Final = 0.5  # until a poll has come too early, nobody knows how much before the poll a batch had ended
EARLIER: Final = 0.94  # after that, look a little earlier each time,
FORGET: Final = 0.998  # but not before the time that was too early; which is forgotten faster and faster
STEP: Final = 0.05  # of what a batch takes, until the next poll
UNKNOWN_STEP: Final = 0.3  # of what has gone by, while nothing is known
SHORTEST_S: Final = 0.05
LONGEST_S: Final = 15.0


@dataclass(slots=True, eq=False)
class Guess:
    """One batch under way."""

    records: int
    submitted_s: float
    polls: int = 0
    missed_s: float | None = None  # when a poll came too early


class Turnaround:
    """The batches of one account; all times per record."""

    def __init__(self) -> None:
        self._takes_s: float | None = None
        self._too_early_s = 0.0
        self._hits = 0  # first polls in a row that were enough

    def expected_s(self, records: int) -> float:
        """0 while nothing is known."""
        return 0.0 if self._takes_s is None else self._takes_s * records

    def wait_s(self, guess: Guess, now_s: float) -> float:
        """Until its next poll; from the second one on the last came too early."""
        expected_s = self.expected_s(guess.records)
        if guess.polls == 0:
            return expected_s * MARGIN or FIRST_GUESS_S
        guess.missed_s = now_s
        step_s = expected_s * STEP or (now_s - guess.submitted_s) * UNKNOWN_STEP
        return min(LONGEST_S, max(SHORTEST_S, step_s))

    def ended(self, guess: Guess, now_s: float) -> None:
        """A poll has found it ended."""
        records = max(1, guess.records)
        took_s = (now_s - guess.submitted_s) / records
        if guess.missed_s is None:
            took_s = max(took_s * (EARLIER if self._too_early_s else HALF), self._too_early_s)
            self._hits += 1
            self._too_early_s *= FORGET**self._hits
        else:
            self._hits = 0
            self._too_early_s = (guess.missed_s - guess.submitted_s) / records
        self._takes_s = took_s
