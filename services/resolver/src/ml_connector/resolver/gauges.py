"""What the resolver counts of what it has written, and shows of the companies it owns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from ml_connector.common import measuring, metrics, topics
from ml_connector.common.clock import Clock
from ml_connector.common.measuring import Reading
from ml_connector.resolver.companions import Companion
from ml_connector.resolver.message import Output
from ml_connector.resolver.pipedrive.clients import PipedriveClients
from ml_connector.resolver.standings import Standings


class _Outcome(msgspec.Struct):
    """Of an audit entry only this is read."""

    account: str
    outcome: str


_OUTCOME: Final = msgspec.json.Decoder(_Outcome)


def count(written: Sequence[Output]) -> None:
    """Each once, when the broker has it."""
    for output in written:
        if output.topic is topics.DEFERRED:
            measuring.count(metrics.DEFERRED)
        elif output.topic is topics.DEAD_LETTERS:
            stage = output.headers["dlq.stage"].decode()
            measuring.count(metrics.DEAD_LETTERS, output.partition_key.decode(), stage)
        elif output.topic is topics.AUDIT and output.key.endswith(b"/outcome"):
            found = _OUTCOME.decode(output.value or b"")
            measuring.count(metrics.OUTCOMES, found.account, found.outcome)


class Gauges:
    """`owns`: whether a company is ours now."""

    def __init__(
        self,
        clients: PipedriveClients,
        standings: Standings,
        companions: dict[str, Companion],
        owns: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._standings = standings
        self._companions = companions
        self._owns = owns
        self._clock = clock
        measuring.read(metrics.SET_ASIDE, self._set_aside)
        measuring.read(metrics.TOKENS_LEFT, self._tokens_left)
        measuring.read(metrics.TOKENS_LIMIT, self._tokens_limit)
        measuring.read(metrics.COMPANY_SUSPENDED, self._suspended)

    def _set_aside(self) -> list[Reading]:
        return [(one.waiting, {"topic": topic}) for topic, one in self._companions.items()]

    def _tokens_left(self) -> Iterator[Reading]:
        now_ms = self._clock.now_ms()
        for company, client in self._clients.by_company().items():
            if self._owns(company):
                yield client.budget.left(client.limits.daily_spendable, now_ms), {"company": company}

    def _tokens_limit(self) -> Iterator[Reading]:
        for company, client in self._clients.by_company().items():
            if self._owns(company):
                yield client.limits.daily_spendable, {"company": company}

    def _suspended(self) -> list[Reading]:
        return [(1, {"company": company}) for company in self._standings.suspended() if self._owns(company)]
