"""Who acts, and how much they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ml_connector.common.errors import ConnectorError


class Role(IntEnum):
    """Each may do all that those before it may."""

    viewer = 1
    operator = 2
    admin = 3


@dataclass(frozen=True, slots=True)
class Actor:
    """Whom a token speaks for. `subject` is the issuer's name for them, as the audit keeps it."""

    subject: str
    role: Role


class Unauthenticated(ConnectorError):
    """No token, or none that is believed. The text never holds anything from the token."""


class NotAllowed(ConnectorError):
    """Known, but without the role that this needs."""
