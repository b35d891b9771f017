"""Who may open a connection to whom, by the NetworkPolicies of a set of manifests. Pure.

A pod that no policy selects may do everything: `*`. Policies add to each other; a connection between two of our pods
needs one at each end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from support.manifests import FOREIGN, Manifest, pods_of

Reach = tuple[str, str, Any]  # from, to, port
ANYBODY: Final = "*"


def leaving(manifests: Iterable[Manifest]) -> set[Reach]:
    """What egress allows; addresses are as they are written, pods of others are what they are found by."""
    return set(_allowed(list(manifests), "Egress", "egress", "to"))


def coming(manifests: Iterable[Manifest]) -> set[Reach]:
    """What ingress allows."""
    return {(peer, pod, port) for pod, peer, port in _allowed(list(manifests), "Ingress", "ingress", "from")}


def pods(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The pod templates by the name of their service; a Job of a service has a name of its own."""
    found = {}
    for one in manifests:
        if (template := pods_of(one)) is not None:
            found[one["metadata"]["name"]] = template
    return found


def _allowed(manifests: list[Manifest], kind: str, rules: str, end: str) -> Iterator[Reach]:
    policies = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
    templates = pods(manifests)
    for name, template in templates.items():
        mine = [one for one in policies if kind in one["policyTypes"] and _selects(one["podSelector"], template)]
        if not mine:
            yield name, ANYBODY, ANYBODY
        for rule in (rule for one in mine for rule in one.get(rules, [])):
            peers = [(who, pod) for peer in rule.get(end, [{}]) for who, pod in _peers(peer, templates)]
            for who, pod in peers:
                for port in rule.get("ports", [{"port": ANYBODY}]):
                    yield name, who, _number(port["port"], template if kind == "Ingress" else pod)


def _peers(peer: Manifest, templates: dict[str, Manifest]) -> Iterator[tuple[str, Manifest | None]]:
    labels = {
        **peer.get("namespaceSelector", {}).get("matchLabels", {}),
        **peer.get("podSelector", {}).get("matchLabels", {}),
    }
    if "ipBlock" in peer:
        yield peer["ipBlock"]["cidr"], None
    elif not labels:
        yield ANYBODY, None
    elif labels.keys() & FOREIGN:
        yield ",".join(sorted(labels.values())), None
    else:
        yield from ((name, pod) for name, pod in templates.items() if _selects(peer["podSelector"], pod))


def _selects(selector: Manifest, template: Manifest) -> bool:
    assert selector.keys() <= {"matchLabels"}, "only matchLabels is understood here"
    wanted: dict[str, str] = selector.get("matchLabels", {})
    labels: dict[str, str] = template["metadata"]["labels"]
    return wanted.items() <= labels.items()


def _number(port: int | str, pod: Manifest | None) -> int | str:
    """A port's number; a name is that of a container's port of the pod that is connected to."""
    if pod is None:
        return port
    declared = {one["name"]: one["containerPort"] for box in pod["spec"]["containers"] for one in box.get("ports", [])}
    number: int | str = declared.get(port, port)
    return number
