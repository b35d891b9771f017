"""Ask the service of this container whether it may be given work: the image's HEALTHCHECK.

`python -m ml_connector.common.probe [url]`; the exit code is 0 for a 200. Never: anything that is slow to import.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 4.0  # the image's HEALTHCHECK gives up after 5 s


def answer(url: str) -> tuple[bool, str]:
    """Whether it is well, and what it said."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        got = connection.getresponse()
        return got.status == 200, got.read(500).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as error:
        return False, f"{url} does not answer ({type(error).__name__})"
    finally:
        connection.close()


if __name__ == "__main__":
    default = f"http://127.0.0.1:{os.environ.get('MLC_HTTP_PORT', '0')}/readyz"
    well, said = answer(sys.argv[1] if len(sys.argv) > 1 else default)
    sys.stdout.write(f"{said}\n")
    raise SystemExit(0 if well else 1)
