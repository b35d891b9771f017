"""The flows of this process, compiled when they are first asked for: as they are now, or as they once were. Pure."""

from __future__ import annotations

from typing import Protocol

from ml_connector.common import headers as h
from ml_connector.common.directory import LiveFlow
from ml_connector.common.flows import Flow
from ml_connector.resolver.message import Message
from ml_connector.resolver.plan import FlowPlan, compile_flow


class Flows(Protocol):
    def flow(self, name: str) -> LiveFlow | None: ...

    def version(self, name: str, version: int) -> Flow | None: ...


class Plans:
    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._active: dict[str, FlowPlan] = {}
        self._versions: dict[tuple[str, int], FlowPlan] = {}

    def forget(self, name: str) -> None:
        """Compile it anew when asked next."""
        self._active.pop(name, None)
        self._versions = {at: plan for at, plan in self._versions.items() if at[0] != name}

    def active(self, name: str) -> FlowPlan | None:
        """The flow as it is now; None when there is none of that name."""
        plan = self._active.get(name)
        if plan is None:
            live = self._flows.flow(name)
            if live is None:
                return None
            plan = self._active[name] = compile_flow(live.flow, live.version)
        return plan

    def mapping(self, message: Message, plan: FlowPlan) -> FlowPlan | None:
        """The version that the message asks for, else `plan`, the active one, which says whose company and account it
        is in any case. None when there is no such version."""
        if h.MAPPING_VERSION not in message.headers:
            return plan
        version = h.number(message.headers, h.MAPPING_VERSION, 0)
        if version == plan.version:
            return plan
        name = plan.flow.flow
        found = self._versions.get((name, version))
        if found is None:
            flow = self._flows.version(name, version)
            if flow is None:
                return None
            flow = flow.model_copy(update={"pipedrive": plan.flow.pipedrive, "netsuite": plan.flow.netsuite})
            found = self._versions[name, version] = compile_flow(flow, version)
        return found
