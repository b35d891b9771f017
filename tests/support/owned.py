"""One partition at work for one office's account: what its topics held, and what comes in afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from ml_connector.common.kafka.record import Record
from ml_connector.common.kafka.transaction import TransactionalProducer
from ml_connector.common.wire import Desired
from ml_connector.netsuite_writer.account import Account
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.partition import Partition
from support.desired import ACCOUNT, key_of
from support.office import Office, Vendor, written

QUIET_S: Final = 900.0


class Owned:
    """A partition that one office's account works for."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self._offset = 0
        self.partition = Partition(
            0,
            desired_topic="desired",
            observed_topic="observed",
            tools=office.tools,
            producer=cast(TransactionalProducer, office.producer),
            make_account=self._make,
        )

    def _make(self, name: str, flow: str, tools: Tools) -> Account | None:
        return self.office.account if name == ACCOUNT.lower() and tools.flows.flow(flow) else None

    def _records(self, entries: Mapping[str, bytes | None]) -> list[Record]:
        made = []
        for key, value in entries.items():
            made.append(Record("t", 0, self._offset, key.encode(), value, {}, 0))
            self._offset += 1
        return made

    def observe(self, entries: Mapping[str, bytes | None], *, ended: bool = False) -> None:
        self.partition.fold_observed(self._records(entries), ended=ended)

    def desire(self, *states: Desired) -> None:
        """They come in."""
        self.partition.fold_desired(self._records({key_of(one): one.encode() for one in states}), ended=False)

    def start(self, kept: Mapping[str, bytes | None], *waiting: Desired) -> None:
        """Both topics are read to their end."""
        self.partition.fold_desired(self._records({key_of(one): one.encode() for one in waiting}), ended=True)
        self.observe(kept, ended=True)

    async def pass_time(self, seconds: float) -> None:
        await self.office.pass_time(seconds)
        await self.partition.tick()
        await self.office.pass_time(0)

    def outcomes(self, *states: Desired) -> list[str]:
        return [self.office.outcome(one) for one in states]

    @property
    def asked_again(self) -> list[tuple[str, bool]]:
        return [(one.source_id, one.force) for one in self.office.messages.hydrates if one.reason == "in doubt"]


@asynccontextmanager
async def owned(vendor: Vendor = lambda _: written("7"), **more: Any) -> AsyncIterator[Owned]:
    office = Office(vendor, quiet_s=QUIET_S, **more)
    made = Owned(office)
    yield made
    await made.office.close()
    made.partition._settling.cancel()
