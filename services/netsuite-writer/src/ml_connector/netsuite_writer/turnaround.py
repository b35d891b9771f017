"""Guess when a batch will have ended, from those before, so that one poll is enough. Pure."""

from __future__ import annotations

from typing import Final

FIRST_GUESS_S: Final = 1.0
MARGIN: Final = 1.02
EARLIER: Final = 0.97  # a batch that had ended at its first poll may have ended before
STEP: Final = 0.06  # of what has gone by, until the next poll
SHORTEST_S: Final = 0.05
LONGEST_S: Final = 15.0


class Turnaround:
    """Time from submission to end, for each record; all batches of one account."""

    def __init__(self) -> None:
        self._per_record_s: float | None = None

    def expected_s(self, records: int) -> float:
        """0 while nothing is known."""
        return 0.0 if self._per_record_s is None else self._per_record_s * records

    def first_poll_s(self, records: int) -> float:
        return self.expected_s(records) * MARGIN or FIRST_GUESS_S

    def next_poll_s(self, elapsed_s: float) -> float:
        """Until the poll after one that came too early."""
        share = STEP if self._per_record_s is not None else 0.3
        return min(LONGEST_S, max(SHORTEST_S, elapsed_s * share))

    def ended(self, records: int, elapsed_s: float, polls: int) -> None:
        """A batch was found ended, at its `polls`-th poll."""
        self._per_record_s = elapsed_s / max(1, records) * (EARLIER if polls == 1 else 1.0)
