"""How the process of a service begins and ends."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ml_connector.common import logs, telemetry
from ml_connector.common.errors import ConnectorError, InvalidSettings
from ml_connector.common.logs import get_logger
from ml_connector.common.settings import Settings

log = get_logger()

S = TypeVar("S", bound=Settings)


def run(service: str, settings: type[S], serve: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    """Exit code 0 after a signal, 1 when it cannot go on or another process must take over, 2 for wrong settings."""
    import uvloop

    try:
        given = settings.load()
        logs.configure(service, level=given.log_level, form=given.log_format)
        telemetry.configure(service)
        allow_files()
        uvloop.run(serve(given))
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    except ConnectorError as error:
        log.error("must_stop", problem=str(error))
        raise SystemExit(1) from error


def allow_files() -> None:
    """As many as the system lets us open: 1,024 is a usual limit until one asks, and a thousand accounts take more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
