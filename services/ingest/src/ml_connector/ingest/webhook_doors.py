"""What each flow's address for webhooks of Pipedrive needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ml_connector.common import headers as h
from ml_connector.common.credentials import WebhookBasic, WebhookHmac
from ml_connector.common.directory import Directory, LiveFlow
from ml_connector.common.errors import SecretUnreadable
from ml_connector.common.measuring import Reading
from ml_connector.ingest.doors import Door, Doors
from ml_connector.ingest.verify import BasicProof, HmacProof, Proof

_PROOFS: Final = {WebhookHmac: "hmac-sha256", WebhookBasic: "basic"}  # as `verify` names them


class WebhookDoors(Doors):
    """All flows' addresses for webhooks."""

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self._rotating: dict[str, tuple[str, ...]] = {}
        self._changed = {live.flow.flow for live in directory.flows()}

    def problems(self) -> list[str]:
        """Why this process should get no deliveries. A flow whose secret opens nowhere is closed alone."""
        doors = (self.find(live.flow.flow) for live in self._directory.flows())
        return [door.problem for door in doors if door is not None and door.problem is not None and door.elsewhere]

    def readings(self) -> list[Reading]:
        """The counts, for the metric; a flow's series begin together, at its first delivery."""
        return [
            (number, {"flow": flow, "result": result})
            for flow, counts in self._counts.items()
            if counts.accepted or counts.refused or counts.unavailable
            for result, number in (
                ("accepted", counts.accepted),
                ("refused", counts.refused),
                ("unavailable", counts.unavailable),
            )
        ]

    def rotating(self) -> dict[str, tuple[str, ...]]:
        """Of each flow with two keys for the same proof: all that it believes, as its next delivery will meet them.

        It looks at what has changed since it was asked last, and makes no door: only a changed credential is opened.
        """
        changed, self._changed = self._changed, set()
        for name in changed:
            live = self._directory.flow(name)
            believed = () if live is None else self._believed(live)
            if believed:
                self._rotating[name] = believed
            else:
                self._rotating.pop(name, None)
        return dict(self._rotating)

    def _believed(self, live: LiveFlow) -> tuple[str, ...]:
        """Empty while no key is rotated."""
        if live.flow.pipedrive.events == "none":
            return ()
        try:
            given = list(self._credentials(live))
        except SecretUnreadable:
            return ()
        if all(len(one.keys) < 2 for one in given):
            return ()
        return tuple(f"{_PROOFS[type(one)]}:{key.id}" for one in given for key in one.keys)

    def _forget(self, flows: set[str]) -> None:
        super()._forget(flows)
        self._changed |= flows

    def _make(self, live: LiveFlow) -> Door | None:
        flow = live.flow
        if flow.pipedrive.events == "none":
            return None
        company = flow.pipedrive.company.encode()
        stamped = {h.FLOW: flow.flow.encode(), h.COMPANY: company, h.ACCOUNT: flow.netsuite.account.encode()}
        return self._door(live, flow.pipedrive.webhook.allow_from, key=company, stamped=stamped)

    def _proofs(self, live: LiveFlow) -> Iterator[Proof]:
        for one in self._credentials(live):
            yield HmacProof.of(one) if isinstance(one, WebhookHmac) else BasicProof.of(one)

    def _credentials(self, live: LiveFlow) -> Iterator[WebhookHmac | WebhookBasic]:
        """Raises SecretUnreadable."""
        flow = live.flow
        owner, environment, verify = f"flow/{flow.flow}", flow.environment, flow.pipedrive.webhook.verify
        if verify in {"hmac-sha256", "both"}:
            yield self._directory.secret(WebhookHmac, owner=owner, environment=environment)
        if verify in {"basic", "both"}:
            yield self._directory.secret(WebhookBasic, owner=owner, environment=environment)
