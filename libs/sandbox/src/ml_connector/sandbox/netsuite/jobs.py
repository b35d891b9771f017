"""Asynchronous requests and batches: `Prefer: respond-async` (Oracle chapter_161251386312, article_0127092747).

A job has one task per record. Where Oracle prints nothing, or two things, a switch decides.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.netsuite.accounts import Account
from ml_connector.sandbox.netsuite.errors import NetsuiteError, invalid_content, malformed, no_such_record, not_allowed
from ml_connector.sandbox.netsuite.journal import IDEMPOTENCY_KEY
from ml_connector.sandbox.netsuite.schema import TYPES
from ml_connector.sandbox.netsuite.shown import RECORD_PATH, links, moment
from ml_connector.sandbox.web import Reply, Request, json_reply

JOB_PATH: Final = "/services/rest/async/v1/job"
MAX_RECORDS: Final = 100
Execute = Callable[[Account, Request, str], Awaitable[Reply]]


@dataclass(slots=True)
class Task:
    """One record's request, and how it ended."""

    request: Request
    started_ms: int = 0
    ended_ms: int = 0
    result: Reply | None = None


@dataclass(slots=True)
class Job:
    """`key`: the idempotency key. `ended_ms` 0: not yet."""

    id: str
    tasks: list[Task]
    key: str = ""
    parallel: bool = False
    ended_ms: int = 0


@dataclass(slots=True)
class Shelf:
    """The jobs of one account."""

    processors: asyncio.Semaphore
    jobs: dict[str, Job] = field(default_factory=dict)
    by_key: dict[str, str] = field(default_factory=dict)


class Jobs:
    """All jobs. `execute` runs one record's request and returns what it would have answered."""

    def __init__(self, clock: Clock, execute: Execute) -> None:
        self._clock = clock
        self._execute = execute
        self._shelves: dict[str, Shelf] = {}
        self._ids = itertools.count(1)
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, account: Account, request: Request) -> Reply:
        """202 and where the job is. Raises NetsuiteError."""
        shelf = self._shelf(account)
        key = request.headers.get(IDEMPOTENCY_KEY, "")
        if key in shelf.by_key:
            raise NetsuiteError(
                400,
                "IDEMPOTENCY_ERROR",
                "A request with the same idempotency key is already submitted. "
                'See the "Location" header for a link to the previously submitted job',
                headers=_headers(account, shelf.by_key[key]),
            )
        parallel = 'batch-processing="parallel"' in request.headers.get("prefer", "")
        job = Job(str(next(self._ids)), [Task(one) for one in split(request)], key, parallel)
        shelf.jobs[job.id] = job
        if key:
            shelf.by_key[key] = job.id
        running = asyncio.create_task(self._run(account, shelf, job))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return Reply(202, b"", {"content-type": "application/json", **_headers(account, job.id)})

    def answer(self, account: Account, request: Request) -> Reply:
        """`GET /job/{id}[/task[/{t}[/result]]]`. Raises NetsuiteError."""
        if request.method != "GET":
            raise not_allowed("Jobs can only be read.")
        match request.path[len(JOB_PATH) :].strip("/").split("/"):
            case [job_id] if job_id:
                return json_reply(200, _job(account, self._find(account, job_id)))
            case [job_id, "task"]:
                return json_reply(200, _tasks(account, self._find(account, job_id)))
            case [job_id, "task", number]:
                return json_reply(200, _task(account, self._find(account, job_id), number))
            case [job_id, "task", number, "result"]:
                return _result(account, self._find(account, job_id), number)
        raise no_such_record()

    def _shelf(self, account: Account) -> Shelf:
        if account.name not in self._shelves:
            self._shelves[account.name] = Shelf(asyncio.Semaphore(account.switches.async_processors))
        return self._shelves[account.name]

    def _find(self, account: Account, job_id: str) -> Job:
        job = self._shelf(account).jobs.get(job_id)
        kept_ms = account.switches.job_retention_s * 1000
        if job is None or (job.ended_ms and self._clock.now_ms() - job.ended_ms > kept_ms):
            raise no_such_record()
        return job

    async def _run(self, account: Account, shelf: Shelf, job: Job) -> None:
        """Sequential by default since 2026.2 (Oracle release notes section_N3950559)."""
        async with shelf.processors:
            account.in_flight += account.switches.async_takes_slots
            if job.parallel:
                width = asyncio.Semaphore(account.switches.parallel_width)
                await asyncio.gather(*(self._run_task(account, job, task, width) for task in job.tasks))
            else:
                await self._run_in_order(account, job)
            account.in_flight -= account.switches.async_takes_slots
        job.ended_ms = self._clock.now_ms()

    async def _run_in_order(self, account: Account, job: Job) -> None:
        width = asyncio.Semaphore(1)
        stopped = False
        for task in job.tasks:
            if stopped:
                task.started_ms = task.ended_ms = self._clock.now_ms()
                task.result = NetsuiteError(400, "USER_ERROR", "Not executed: an earlier record failed.").reply()
                continue
            await self._run_task(account, job, task, width)
            stopped = account.switches.batch_stops_at_failure and _failed(task)

    async def _run_task(self, account: Account, job: Job, task: Task, width: asyncio.Semaphore) -> None:
        async with width:
            task.started_ms = self._clock.now_ms()
            task.result = await self._execute(account, task.request, job.id)
            task.ended_ms = self._clock.now_ms()


def split(request: Request) -> list[Request]:
    """A batch's records as requests of their own; any other request is its own only record. Raises NetsuiteError."""
    kind, _, name = request.path[len(RECORD_PATH) :].partition("/")
    is_collection = "type=collection" in request.headers.get("content-type", "").replace(" ", "")
    headers = {k: v for k, v in request.headers.items() if k not in {"prefer", "content-type", IDEMPOTENCY_KEY}}
    if name or not (is_collection or "ids" in request.query):
        return [_with_headers(request, headers=headers)]
    if kind not in TYPES:
        raise NetsuiteError(404, "NONEXISTENT_ID", f"Record type '{kind}' does not exist.")
    if request.method in {"GET", "DELETE"}:
        ids = [one for one in request.query.get("ids", "").split(",") if one]
        found = [(one, b"") for one in ids]
    else:
        found = [_addressed(request.method, item) for item in _items(request)]
    if not 1 <= len(found) <= MAX_RECORDS:
        raise invalid_content(f"A batch has 1 to {MAX_RECORDS} records.", path="items")
    return [Request(request.method, f"{RECORD_PATH}{kind}/{one}".rstrip("/"), {}, headers, body) for one, body in found]


def _items(request: Request) -> list[dict[str, Any]]:
    try:
        items = request.json()["items"]
    except (ValueError, KeyError, TypeError):
        raise malformed() from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise malformed()
    return items


def _addressed(method: str, item: dict[str, Any]) -> tuple[str, bytes]:
    """Which record an item means: PATCH by id or external id, PUT by external id only, POST none yet."""
    if method == "POST":
        return "", msgspec.json.encode(item)
    internal_id, external_id = item.get("id") if method == "PATCH" else None, item.get("externalId")
    if internal_id is None and external_id is None:
        raise invalid_content("Each record of the batch needs an externalId.", path="items")
    body = msgspec.json.encode({name: value for name, value in item.items() if name not in {"id", "externalId"}})
    return (str(internal_id) if internal_id is not None else f"eid:{external_id}"), body


def _with_headers(request: Request, *, headers: dict[str, str]) -> Request:
    return Request(request.method, request.path, request.query, headers, request.body, request.url)


def _headers(account: Account, job_id: str) -> dict[str, str]:
    base = "" if account.switches.job_location == "relative" else f"https://{account.host}"
    return {"preference-applied": "respond-async", "location": f"{base}{JOB_PATH}/{job_id}"}


def _failed(task: Task) -> bool:
    return task.result is not None and task.result.status >= 400


def _job(account: Account, job: Job) -> dict[str, Any]:
    own = f"https://{account.host}{JOB_PATH}/{job.id}"
    return {
        "links": links(own),
        "completed": bool(job.ended_ms),
        "id": job.id,
        "progress": "succeeded" if job.ended_ms else "pending",
        "task": {"links": links(f"{own}/task")},
    }


def _tasks(account: Account, job: Job) -> dict[str, Any]:
    own = f"https://{account.host}{JOB_PATH}/{job.id}/task"
    addresses = [links(f"{own}/{number}") for number in range(1, len(job.tasks) + 1)]
    if account.switches.task_list == "one_item":
        items = [{"links": list(itertools.chain.from_iterable(addresses))}]
    else:
        items = [{"links": address} for address in addresses]
    return {"links": links(own), "count": len(items), "items": items}


def _of(job: Job, number: str) -> Task:
    if not number.isdigit() or not 1 <= int(number) <= len(job.tasks):
        raise no_such_record()
    return job.tasks[int(number) - 1]


def _task(account: Account, job: Job, number: str) -> dict[str, Any]:
    task = _of(job, number)
    own = f"https://{account.host}{JOB_PATH}/{job.id}/task/{number}"
    if task.result is None:
        return {"links": links(own), "completed": False, "id": number, "progress": "pending"}
    return {
        "links": [{"rel": "related", "href": f"{own}/result"}, *links(own)],
        "completed": True,
        "endTime": moment(task.ended_ms),
        "id": number,
        "progress": account.switches.failed_progress if _failed(task) else "succeeded",
        "startTime": moment(task.started_ms),
    }


def _result(account: Account, job: Job, number: str) -> Reply:
    task = _of(job, number)
    if task.result is None:
        raise NetsuiteError(400, "INVALID_REQUEST", "The task has not completed yet.")
    if _failed(task) and account.switches.failed_result == "ok_status":
        return Reply(200, task.result.body, task.result.headers)
    return task.result
