"""Jobs of the admin service: stop one or let it go on; look again and again until it stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.options import id_of
from ml_connector.cli.showing import say
from ml_connector.cli.showing import tell as tell_json
from ml_connector.common.errors import TryLater

LOOK_S = 1.0
PATIENCE_S: Final = 60.0  # as long as the service may not answer while somebody watches
INTERRUPTED: Final = 130  # as a shell reports SIGINT


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
