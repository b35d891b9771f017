"""Ask NetSuite about a batch: whether its job has ended, what it holds since, in which order its tasks are.

In: a job's id, what was sent. Out: what NetSuite says, or `Gone`. Never: verdicts on records, what becomes of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from ml_connector.common.keys import RecordType
from ml_connector.common.logs import get_logger
from ml_connector.netsuite_writer import readback, settle
from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.netsuite.client import NetsuiteClient
from ml_connector.netsuite_writer.netsuite.reading import last_segment, read_json
from ml_connector.netsuite_writer.settle import Answer
from ml_connector.netsuite_writer.turnaround import Guess, Turnaround

log = get_logger()

Said = TypeVar("Said")

TRIES: Final = 5  # of one question about a job, before its records go by single calls


class Gone(Exception):
    """NetSuite does not know the job, or a submission that may arrive yet: what becomes of its records is in doubt."""


class Questions:
    """Those of one account."""

    def __init__(self, account: str, *, client: NetsuiteClient, tools: Tools) -> None:
        self._account = account
        self._client = client
        self._tools = tools
        self._turnaround = Turnaround()

    def expected_s(self, records: int) -> float:
        """How long a job of so many takes."""
        return self._turnaround.expected_s(records)

    async def completed(self, job_id: str, records: int) -> None:
        """Return once the job has ended. Raises Gone."""
        clock = self._tools.clock
        guess, lost = Guess(records, clock.monotonic_s()), 0
        while lost < TRIES:
            await clock.sleep(self._turnaround.wait_s(guess, clock.monotonic_s()))
            response = await self._client.job(job_id)
            guess.polls += 1
            if response.answer.status == 200 and _object(response.body).get("completed") is True:
                self._turnaround.ended(guess, clock.monotonic_s())
                return
            lost = lost + 1 if response.answer.status == 404 else 0
        raise Gone

    async def held(self, kind: RecordType, sent: Mapping[str, bytes]) -> dict[str, str]:
        """External id -> internal id of the records that NetSuite holds exactly as they were sent."""
        bodies = {external_id: _object(body) for external_id, body in sent.items()}
        if not bodies:
            return {}
        suiteql = readback.query(kind, bodies)
        answer, rows = await self._asked(lambda: self._client.query(suiteql))
        if answer.status == 200:
            return readback.held(kind, bodies, rows)
        log.warning("read_back_refused", account=self._account, kind=kind, code=answer.code)
        return {}

    async def task_numbers(self, job_id: str) -> list[str]:
        """Ids of the tasks in order. Printed lists have several self links in one item: all are walked."""
        answer, body = await self._asked(lambda: self._tasks(job_id))
        if answer.status != 200:
            return []
        links = (link for item in _objects(_object(body), "items") for link in _objects(item, "links"))
        return [last_segment(str(link.get("href", ""))) for link in links if link.get("rel") == "self"]

    async def _tasks(self, job_id: str) -> tuple[Answer, bytes]:
        response = await self._client.job(f"{job_id}/task/")
        return response.answer, response.body

    async def _asked(self, ask: Callable[[], Awaitable[tuple[Answer, Said]]]) -> tuple[Answer, Said]:
        """The answer to a question, however often it takes."""
        failures = 0
        while True:
            answer, said = await ask()
            failures += 1
            if settle.fault_of(answer) is None or failures == TRIES:
                return answer, said
            await self._tools.clock.sleep(self._tools.backoff_s(failures))


def _object(body: bytes) -> dict[str, Any]:
    found = read_json(body)
    return found if isinstance(found, dict) else {}


def _objects(of: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list's members that are objects; in an answer of another shape there are none."""
    found = of.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
