"""What shall go wrong with requests, on command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(slots=True)
class Fault:
    """Requests whose path starts with `match` wait `delay_s`, then get `status` (0: the true answer). `count` None:
    until removed."""

    company: str | None
    match: str
    status: int
    delay_s: float
    count: int | None
    hits: int = 0

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """Raises ValueError and TypeError."""
        return cls(
            facts.get("company"),
            str(facts.get("match", "/")),
            int(facts.get("status", 0)),
            float(facts.get("delay_s", 0)),
            facts.get("count"),
        )

    def strikes(self, company: str, path: str) -> bool:
        """Counts it, if so."""
        fits = self.company in {None, company} and path.startswith(self.match)
        if not fits or (self.count is not None and self.hits >= self.count):
            return False
        self.hits += 1
        return True
