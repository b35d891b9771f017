"""What the writer shows of the accounts it owns, read when somebody looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

from ml_connector.common import measuring, metrics
from ml_connector.common.measuring import Reading
from ml_connector.netsuite_writer.account import Account
from ml_connector.netsuite_writer.partition import Partition

ALL_TYPES = "all"


class Gauges:
    """`partitions`: those that are owned now. `spelled`: an account's name as its flows have it."""

    def __init__(self, partitions: Callable[[], Collection[Partition]], spelled: Callable[[str], str]) -> None:
        self._partitions = partitions
        self._spelled = spelled
        measuring.read(metrics.SLOTS_USED, lambda: self._of_accounts(lambda one: one.gate.governor.in_flight))
        measuring.read(metrics.SLOTS_LIMIT, lambda: self._of_accounts(lambda one: one.gate.limit()))
        measuring.read(metrics.SLOTS_CEILING, lambda: self._of_accounts(lambda one: one.gate.governor.ceiling))
        measuring.read(metrics.UNSETTLED, lambda: self._of_accounts(len))
        measuring.read(metrics.IN_DOUBT, self._in_doubt)
        measuring.read(metrics.SUSPENDED, self._suspended)
        measuring.read(metrics.FLOW_HALTED, self._halted)
        measuring.read(metrics.PARTITIONS, self._states)
        measuring.read(metrics.UNREADABLE, self._unreadable)

    def _of_accounts(self, number: Callable[[Account], int]) -> Iterator[Reading]:
        for partition in self._partitions():
            for account in partition.accounts:
                yield number(account), {"account": self._spelled(account.name)}

    def _in_doubt(self) -> list[Reading]:
        found: Counter[str] = Counter()
        for partition in self._partitions():
            found.update({account.name: 0 for account in partition.accounts})
            found.update(one.record_key.partition("/")[0] for one in partition.store.attempts() if one.doubts)
        return [(count, {"account": self._spelled(name)}) for name, count in found.items()]

    def _suspended(self) -> Iterator[Reading]:
        for key in self._standing("account/"):
            name, _, record_type = key.partition("/")
            yield 1, {"account": self._spelled(name), "record_type": record_type or ALL_TYPES}

    def _halted(self) -> Iterator[Reading]:
        return ((1, {"flow": flow}) for flow in self._standing("flow/"))

    def _standing(self, prefix: str) -> Iterator[str]:
        for partition in self._partitions():
            for key in partition.store.standings():
                if key.startswith(prefix):
                    yield key.removeprefix(prefix)

    def _unreadable(self) -> Iterator[Reading]:
        return ((len(one.store.unreadable), {"partition": str(one.number)}) for one in self._partitions())

    def _states(self) -> list[Reading]:
        started = sum(partition.started for partition in self._partitions())
        restoring = len(self._partitions()) - started
        return [(started, {"state": "started"}), (restoring, {"state": "restoring"})]
