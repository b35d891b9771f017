"""What the owner of a company or an account is asked, and what it answers.

A request is a message in `pipedrive.requests` or `netsuite.requests` with `headers.KIND` and `headers.REQUEST_ID`; the
answer is in `connector.replies` under that id. Nothing waits for it but who asked: a lost one is asked again.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ml_connector.common.codec import Wire

CheckResult = Literal["ok", "warning", "failed", "skipped"]


class Check(Wire, frozen=True):
    """Kind `check`: look at your side of this flow, from the name in DNS to the permissions."""

    flow: str


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at. `says` and `fix` are sentences for a person; neither holds a secret."""

    check: str  # "<side>.<what>": "netsuite.authentication"
    result: CheckResult
    says: str
    fix: str = ""
    took_ms: int = 0


class Checked(Wire, frozen=True):
    """The answer to a Check, in the order in which things were looked at."""

    findings: tuple[Finding, ...]
