"""What never changes in a flow's life, and what no two flows of a NetSuite account share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ml_connector.common.flows import Flow


class Identity(NamedTuple):
    """The environment follows from the account."""

    flow: str
    company: str
    account: str
    prefix: str


def identity_of(flow: Flow) -> Identity:
    return Identity(flow.flow, flow.pipedrive.company, flow.netsuite.account, flow.external_ids)


def identity_problems(flow: Flow, known: Iterable[Identity]) -> list[str]:
    """Against every flow that there is, each as `path: what`. Empty: it may be applied."""
    mine = identity_of(flow)
    return [
        problem
        for other in known
        for problem in (_changed(mine, other) if other.flow == mine.flow else _clashes(mine, other))
    ]


def _changed(now: Identity, before: Identity) -> list[str]:
    pairs = {
        "pipedrive.company": (now.company, before.company),
        "netsuite.account": (now.account, before.account),
        "external_ids": (now.prefix, before.prefix),
    }
    return [
        f"{path}: was {was!r} and never changes in a flow's life: give the flow another name"
        for path, (is_, was) in pairs.items()
        if is_ != was
    ]


def _clashes(mine: Identity, other: Identity) -> list[str]:
    """NetSuite compares external ids without regard to case."""
    if mine.account == other.account and mine.prefix.lower() == other.prefix.lower():
        return [f"external_ids: flow {other.flow!r} of the same account uses {other.prefix!r} already"]
    return []
