"""What the ingest processes say of themselves (`common/asking.py`): the last word of each that lives.

One that was killed says nothing any more; it counts until its messages have failed to come a few times.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ml_connector.common.asking import INGEST, TOLD_EVERY_S, AtIngest
from ml_connector.common.clock import Clock
from ml_connector.common.errors import BadInput
from ml_connector.common.logs import get_logger

log = get_logger()

LIVE_S: Final = 3 * TOLD_EVERY_S  # two of its messages may be lost, or late
LISTEN_S: Final = 1.5 * TOLD_EVERY_S  # then every one that lives has been heard


class _Word(NamedTuple):
    said: AtIngest
    heard_s: float


class Ingests:
    """`hear` on the event loop; the rest may be asked from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._words: dict[str, _Word] = {}
        self._since_s: float | None = None

    def begin(self) -> None:
        """From now on every message comes here."""
        self._since_s = self._clock.monotonic_s()

    def hear(self, key: str, value: bytes) -> None:
        try:
            said = AtIngest.decode(value)
        except BadInput as error:
            log.warning("message_refused", topic="connector.replies", problem=str(error))
            return
        if key != f"{INGEST}{said.instance}":
            log.warning("message_refused", topic="connector.replies", problem="it belongs under another key")
            return
        self._words = {name: word for name, word in self._words.items() if name != said.instance and self._lives(word)}
        if not said.left:
            self._words[said.instance] = _Word(said, self._clock.monotonic_s())

    def live(self) -> list[AtIngest]:
        """By instance."""
        return [word.said for _, word in sorted(self._words.items()) if self._lives(word)]

    @property
    def unheard_s(self) -> float:
        """How long one that lives may still be unknown here; 0: all are known."""
        if self._since_s is None:
            return LISTEN_S
        return max(0.0, self._since_s + LISTEN_S - self._clock.monotonic_s())

    def _lives(self, word: _Word) -> bool:
        return self._clock.monotonic_s() - word.heard_s < LIVE_S
