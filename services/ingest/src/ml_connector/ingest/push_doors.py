"""What each flow's address for pushes of NetSuite needs. A flow without a shared secret has none."""

from __future__ import annotations

from ml_connector.common import headers as h
from ml_connector.common.credentials import NetsuitePush
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.drift import PUSHED
from ml_connector.common.errors import SecretUnreadable
from ml_connector.ingest.doors import Counts, Door
from ml_connector.ingest.verify import Proof, SecretProof


class PushDoors:
    """All flows' addresses for pushes."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._doors: dict[str, Door | None] = {}
        self._counts: dict[str, Counts] = {}
        directory.on_change(self._doors.clear)

    def find(self, name: str) -> Door | None:
        """None: there is no such flow, or it takes no pushes."""
        if name not in self._doors:
            live = self._directory.flow(name)
            if live is None:  # not kept: strangers may think of many names
                return None
            self._doors[name] = self._make(live)
        return self._doors[name]

    def counts(self) -> dict[str, Counts]:
        """By flow."""
        return self._counts

    def _make(self, live: LiveFlow) -> Door | None:
        flow, owner = live.flow, f"flow/{live.flow.flow}"
        if not self._directory.version_of(NetsuitePush, owner=owner):
            return None
        proofs: tuple[Proof, ...] = ()
        problem = None
        try:
            secret = self._directory.secret(NetsuitePush, owner=owner, environment=flow.environment)
            proofs = (SecretProof.of(secret),)
        except SecretUnreadable as error:
            problem = str(error)
        account = flow.netsuite.account.encode()
        stamped = {h.KIND: PUSHED, h.FLOW: flow.flow.encode(), h.ACCOUNT: account}
        counts = self._counts.setdefault(flow.flow, Counts())
        return Door(flow.flow, proofs, flow.netsuite.push.allow_from, problem, account, stamped, counts)
