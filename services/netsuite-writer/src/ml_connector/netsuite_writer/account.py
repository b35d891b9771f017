"""The work of one NetSuite account: what may run now runs, within the account's slots. Here its parts are put together.

taking.py     desired states come in, and batches that a former owner left
readying.py   may a record be written now? if not, it waits for something, or ends
starting.py   single calls and batches begin, as the gate has room (gate.py, govern.py)
desk.py       what becomes of them: an ending, once more, a wait
"""

from __future__ import annotations

from ml_connector.common import topics
from ml_connector.common.wire import BatchJob
from ml_connector.netsuite_writer.adopt import Adoption
from ml_connector.netsuite_writer.batch import Batches
from ml_connector.netsuite_writer.call import Caller
from ml_connector.netsuite_writer.comparing import Comparing
from ml_connector.netsuite_writer.desk import AccountDesk
from ml_connector.netsuite_writer.gate import Gate
from ml_connector.netsuite_writer.hydrates import Hydrates
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.readying import Readying
from ml_connector.netsuite_writer.schedule import Schedule
from ml_connector.netsuite_writer.shared import Shared
from ml_connector.netsuite_writer.standings import Standings
from ml_connector.netsuite_writer.starting import Starting
from ml_connector.netsuite_writer.store import Waiting
from ml_connector.netsuite_writer.suspensions import Suspensions
from ml_connector.netsuite_writer.taking import Taking
from ml_connector.netsuite_writer.tasks import Tasks


class Account:
    """One account, within one assignment of its partition."""

    def __init__(self, name: str, *, gate: Gate, client: NetsuiteClient, tools: Tools) -> None:
        settings = tools.settings
        self.name = name
        self.gate = gate
        self.hydrates = Hydrates(tools)
        self.comparing = Comparing(name, client=client, store=tools.store, clock=tools.clock)
        self._schedule = schedule = Schedule(
            {"live": settings.turns_live, "replay": settings.turns_replay, "backfill": settings.turns_backfill}
        )
        self._standings = standings = Standings(tools)
        self._suspensions = suspensions = Suspensions(name, gate=gate, standings=standings, tools=tools)
        self._tasks = tasks = Tasks(name)
        shared = Shared(name, schedule, standings, suspensions, tasks, tools)
        desk = AccountDesk(shared, pump=self.pump, arm=self._arm)
        caller = Caller(client=client, tools=tools)
        gate.admit = caller.prove
        adoption = Adoption(client, desk, tasks.spawn, topic=topics.DESIRED.full_name(tools.settings.topic_prefix))
        self._taking = Taking(shared, desk=desk, hydrates=self.hydrates, pump=self.pump)
        self._starting = Starting(
            shared,
            gate=gate,
            readying=Readying(shared, desk=desk, adoption=adoption, hydrates=self.hydrates),
            adoption=adoption,
            caller=caller,
            batches=Batches(name, client=client, caller=caller, desk=desk, tools=tools),
            desk=desk,
        )

    def accept(self, waiting: Waiting) -> None:
        """Take in one desired state; `pump` starts what may run."""
        self._taking.accept(waiting)

    def resume(self, stored: BatchJob) -> None:
        """A batch that a former owner left behind: its records are locked until it has ended. Call before `accept`."""
        self._starting.resume(stored, self._taking.resumed(stored))

    def pump(self) -> None:
        """Start everything that may run now."""
        self._starting.pump()

    def look_again(self) -> None:
        """Now and then what is blocked is judged anew from the stored state: one entry of each key, which releases the
        others if it may go (ten thousand children of one parent would hold up everybody else)."""
        for on in self._schedule.blocked_on():
            self._schedule.release_one(on)
        self.pump()

    def unsettled(self, record: str) -> bool:
        return self._schedule.newest(record) is not None

    def __len__(self) -> int:
        return len(self._schedule)

    async def stop(self, within_s: float) -> None:
        """Start nothing more; wait for what is in flight, then give it up. Batches are left to the next owner."""
        self._starting.stop()
        self._suspensions.let_go()
        await self._tasks.stop(within_s)
        self._standings.stop()

    def _arm(self) -> None:
        self._starting.arm()
