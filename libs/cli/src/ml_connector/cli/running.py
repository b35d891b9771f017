"""What `mlc up` leaves for `mlc` in other terminals of the same folder: where everything is, in `var/up.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def _file() -> Path:
    return Path(os.environ.get("MLC_UP_FILE", "var/up.json"))


def tell(environment: Mapping[str, str]) -> None:
    """Readable by this user alone: it holds keys."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"pid": os.getpid(), "environment": dict(environment)}))


def forget() -> None:
    """The stack is stopped."""
    _file().unlink(missing_ok=True)


def borrow() -> None:
    """Work with the running stack, unless the environment names another one."""
    if "MLC_KAFKA_BOOTSTRAP_SERVERS" in os.environ or "MLC_ADMIN_URL" in os.environ:
        return
    try:
        told = json.loads(_file().read_text())
        os.kill(told["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing runs here, or it was killed
    for name, value in told["environment"].items():
        os.environ.setdefault(name, value)
