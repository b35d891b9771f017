"""Faults of ours in a simulated process: the next calls of one of its parts raise what nobody expects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from ml_connector.netsuite_writer import match, readback
from ml_connector.netsuite_writer.batch import Batches
from ml_connector.netsuite_writer.call import Caller
from ml_connector.netsuite_writer.endings import Endings
from ml_connector.netsuite_writer.follow import Follower
from ml_connector.netsuite_writer.hydrates import Hydrates
from ml_connector.netsuite_writer.readying import Readying
from ml_connector.netsuite_writer.settlement import Settler
from ml_connector.netsuite_writer.standings import Standings
from ml_connector.netsuite_writer.store import Store
from ml_connector.netsuite_writer.suspensions import Suspensions
from ml_connector.netsuite_writer.taking import Taking
from ml_connector.netsuite_writer.unanswered import Unanswered

# Where a record is locked or a slot is taken, and what is called there.
PLACES: Final[dict[str, tuple[Any, str]]] = {
    "accept": (Taking, "_way"),
    "judge": (Readying, "_under_parent"),
    "closed": (Suspensions, "closed"),
    "read": (Store, "observed"),
    "body": (Endings, "job"),
    "prepare": (Caller, "prepare"),
    "announce": (Caller, "_attempt"),
    "follow": (Follower, "follow"),
    "floods": (Standings, "floods"),
    "end": (Endings, "ended"),
    "seal": (Settler, "_send"),
    "lose": (Endings, "_loss"),
    "match": (match, "decide"),
    "read back": (readback, "held"),
    "result": (Batches, "_result"),
    "doubt": (Unanswered, "note"),
    "hydrate": (Hydrates, "_send"),
}
LOGGED: Final = frozenset({"record_fault", "batch_failed", "pump_failed"})


class OurFaults:
    """How many calls of each place shall fail yet; `met`: how many did."""

    def __init__(self) -> None:
        self.left: Counter[str] = Counter()
        self.met: Counter[str] = Counter()

    @contextmanager
    def installed(self) -> Iterator[None]:
        with ExitStack() as patches:
            for place, (owner, name) in PLACES.items():
                patches.enter_context(patch.object(owner, name, self._faulty(place, getattr(owner, name))))
            yield

    def _faulty(self, place: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if self.left[place] > 0:
                self.left[place] -= 1
                self.met[place] += 1
                raise ZeroDivisionError(place)
            return real(*given, **named)

        return call
