"""Say in time when an account's certificate ends: NetSuite then refuses every login, and only a person can help.

In: the accounts that are written to, their credentials. Out: a warning a day, and a metric of the seconds left.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from ml_connector.common.clock import Clock
from ml_connector.common.credentials import NetsuiteM2M
from ml_connector.common.directory import Directory
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.flows import Flow
from ml_connector.common.logs import get_logger
from ml_connector.common.measuring import Reading

log = get_logger()

LOOK_S: Final = 600.0  # the certificates are read anew each time, since a credential may have been replaced
SOON: Final = timedelta(days=30)  # NetSuite's own mails come 2 months, 1 month and 14 days ahead
AGAIN: Final = timedelta(days=1)


class Expiry:
    """Of one process; it warns of the accounts that it has written to since its start."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._look_at_s = 0.0
        self._looked_at: frozenset[str] = frozenset()
        self._warned: dict[str, datetime] = {}
        self._ends: dict[str, datetime] = {}

    def look(self, accounts: frozenset[str]) -> None:
        """Now and then, at new ones at once, at whatever pace it is called. `accounts`: in small letters."""
        new, self._looked_at = accounts - self._looked_at, accounts
        if self._clock.monotonic_s() >= self._look_at_s:
            self._look_at_s = self._clock.monotonic_s() + LOOK_S
            self._ends = self._look_at(accounts)
        elif new:
            self._ends = {**self._ends, **self._look_at(new)}

    def _look_at(self, accounts: frozenset[str]) -> dict[str, datetime]:
        flows = {
            live.flow.netsuite.account: live.flow
            for account in accounts
            for live in self._directory.flows_of(account)
            if live.flow.netsuite.auth == NetsuiteM2M.NAME
        }
        ends = {name: end for name, flow in flows.items() if (end := self._end(flow)) is not None}
        for name, end in ends.items():
            self._warn(name, end)
        return ends

    def readings(self) -> list[Reading]:
        """Seconds left, negative afterwards. Called by the exporter's thread: it reads one finished dict."""
        now = self._now()
        return [(int((end - now).total_seconds()), {"account": name}) for name, end in self._ends.items()]

    def _end(self, flow: Flow) -> datetime | None:
        """None when the credential does not say; one that cannot be read is told by the login itself."""
        owner = f"netsuite/{flow.netsuite.account}"
        try:
            held = self._directory.secret(NetsuiteM2M, owner=owner, environment=flow.environment)
        except SecretUnreadable:
            return None
        certificate = held.certificate()
        return None if certificate is None else certificate.ends

    def _warn(self, name: str, end: datetime) -> None:
        now = self._now()
        if end - now < SOON and now >= self._warned.get(name, now - AGAIN) + AGAIN:
            self._warned[name] = now
            log.warning("certificate_ends", account=name, days_left=(end - now).days)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
