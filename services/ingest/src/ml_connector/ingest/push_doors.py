"""What each flow's address for pushes of NetSuite needs. A flow without a shared secret has none."""

from __future__ import annotations

from collections.abc import Iterator

from ml_connector.common import headers as h
from ml_connector.common.credentials import NetsuitePush
from ml_connector.common.directory import LiveFlow
from ml_connector.common.drift import PUSHED
from ml_connector.ingest.doors import Door, Doors
from ml_connector.ingest.verify import Proof, SecretProof


class PushDoors(Doors):
    """All flows' addresses for pushes."""

    def _make(self, live: LiveFlow) -> Door | None:
        flow = live.flow
        if not self._directory.version_of(NetsuitePush, owner=f"flow/{flow.flow}"):
            return None
        account = flow.netsuite.account.encode()
        stamped = {h.KIND: PUSHED, h.FLOW: flow.flow.encode(), h.ACCOUNT: account}
        return self._door(live, flow.netsuite.push.allow_from, key=account, stamped=stamped)

    def _proofs(self, live: LiveFlow) -> Iterator[Proof]:
        flow = live.flow
        secret = self._directory.secret(NetsuitePush, owner=f"flow/{flow.flow}", environment=flow.environment)
        yield SecretProof.of(secret)
