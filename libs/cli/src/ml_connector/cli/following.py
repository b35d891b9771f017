"""Jobs of the admin service: stop one or let it go on; follow it until it stands still; who made it and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.progress import Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import id_of
from ml_connector.cli.say import err, fail
from ml_connector.cli.showing import age, say, when
from ml_connector.cli.showing import tell as tell_json
from ml_connector.common.errors import TryLater

LOOK_S = 1.0
PATIENCE_S: Final = 60.0  # as long as the service may not answer while somebody watches
INTERRUPTED: Final = 130  # as a shell reports SIGINT


def follow(
    api: AdminApi,
    path: str,
    first: Answer,
    *,
    moves: Callable[[Answer], bool],
    at: Callable[[Answer], Mapping[str, Any]],
    bar: Sequence[ProgressColumn] = (),
    left: str,
) -> Answer:
    """Until it stands still, with a line of progress on a terminal. Ctrl-C ends only the watching.

    `at`: the task's members, of which `description` and `now` are texts; `left`: what is said of one that is left.
    """
    now = TextColumn("{task.fields[now]}", markup=False)
    columns = TextColumn("{task.description}"), *bar, TimeElapsedColumn(), now
    try:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task(**{"total": None, **at(first)})
            return until_still(api, path, first, moves=moves, tell=lambda one: progress.update(task, **at(one)))
    except KeyboardInterrupt:
        raise fail(left, INTERRUPTED) from None


def until_still(
    api: AdminApi, path: str, first: Answer, *, moves: Callable[[Answer], bool], tell: Callable[[Answer], None]
) -> Answer:
    """The last answer. `tell` gets each one. A service that is started again meanwhile is waited for."""
    answer, misses = first, 0
    while moves(answer):
        time.sleep(LOOK_S)
        try:
            answer, misses = api.get(path), 0
        except TryLater:
            misses += 1
            if misses * LOOK_S >= PATIENCE_S:
                raise
        tell(answer)
    return answer


def change(jobs: str, job: str, what: str, reason: str, *, sentence: Callable[[Answer], str], as_json: bool) -> Answer:
    """Do it (`syncs`, the id, `pause`), and say how the job stands then."""
    with AdminApi.here() as api:
        answer = api.post(f"{jobs}/{id_of(job)}/{what}", {"reason": reason})
    tell_json(answer) if as_json else say(sentence(answer))
    return answer


def provenance(job: Answer) -> list[tuple[str, object]]:
    """Lines of `facts`: why and by whom it was made, when, and when it changed."""
    made, changed = (f"{when(job[at])} ({age(job[at])} ago)" for at in ("created_at", "changed_at"))
    return [("reason", job["reason"]), ("by", job["actor"]), ("made", made), ("changed", changed)]
