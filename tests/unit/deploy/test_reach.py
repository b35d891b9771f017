"""Who reaches whom: nobody but whom the tables here name. A door that one policy opens, another opens, too."""

from __future__ import annotations

import pytest

from support.kustomize import DEPLOY, build, built
from support.reaching import ANYBODY, Reach, coming, leaving, pods

OUTSIDE = {"0.0.0.0/0", "::/0"}
NAMES = {("kube-dns,kube-system", 53)}
TELEMETRY = {("observability", 4318)}
VENDORS = {(network, 443) for network in OUTSIDE}
BASE = {
    "ingest": NAMES | TELEMETRY,
    "resolver": NAMES | TELEMETRY | VENDORS,
    "netsuite-writer": NAMES | TELEMETRY | VENDORS,
    "admin": NAMES | TELEMETRY | VENDORS,
    "admin-migrate": NAMES,
}
BROKERS = {("Kafka,kafka", 9093)}
DATABASE = {("10.20.30.0/24", 5432)}
LOCAL = {
    ("ingest", "kafka", 9092),
    ("resolver", "kafka", 9092),
    ("netsuite-writer", "kafka", 9092),
    ("admin", "kafka", 9092),
    ("topics", "kafka", 9092),
    ("admin", "postgres", 5432),
    ("admin-migrate", "postgres", 5432),
}
STAND_INS = {
    ("flow", "kafka", 9092),
    ("flow", "resolver", 8092),
    ("flow", "netsuite-writer", 8091),
    ("resolver", "ingest", 8080),
}
SERVED = {
    ("gateway", "ingest", 8080),
    ("gateway", "admin", 8080),
    ("monitoring", "ingest", 9090),
    ("monitoring", "admin", 9090),
    ("monitoring", "resolver", 8080),
    ("monitoring", "netsuite-writer", 8080),
}


def flat(table: dict[str, set[tuple[str, int]]]) -> set[Reach]:
    return {(name, *end) for name, ends in table.items() for end in ends}


def test_base_lets_nobody_reach_a_broker_or_a_database() -> None:
    assert leaving(build(DEPLOY / "base")) == flat(BASE)


def test_production_names_its_brokers_and_its_database() -> None:
    serving = {name: ends | BROKERS for name, ends in BASE.items() if name != "admin-migrate"}
    both = {"admin": serving["admin"] | DATABASE, "admin-migrate": NAMES | DATABASE}

    assert leaving(built("production")) == flat({**serving, **both})
    assert coming(built("production")) == SERVED


@pytest.mark.parametrize(("overlay", "expected"), [("local", LOCAL), ("trial", LOCAL | STAND_INS)])
def test_own_pods_reach_each_other_as_far_as_they_must(overlay: str, expected: set[Reach]) -> None:
    manifests = built(overlay)
    ours = pods(manifests).keys()

    assert {one for one in leaving(manifests) if one[1] in ours} == expected
    assert {one for one in coming(manifests) if one[0] in ours} == expected
    assert {one for one in coming(manifests) if one[0] not in ours} == SERVED
    others = {one for one in leaving(manifests) if one[1] not in ours}
    assert others == flat(BASE) | {(name, *end) for name in ours for end in NAMES}


def test_public_addresses_are_those_outside() -> None:
    """The cluster's own, those of its nodes and the cloud's metadata are not among them."""
    for one in built("production"):
        for rule in one["spec"].get("egress", []) if one["kind"] == "NetworkPolicy" else []:
            for peer in rule["to"]:
                if peer.get("ipBlock", {}).get("cidr") in OUTSIDE:
                    assert set(peer["ipBlock"]["except"]) >= (
                        {"fc00::/7", "fe80::/10"}
                        if peer["ipBlock"]["cidr"] == "::/0"
                        else {"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}
                    )


def test_pod_without_a_policy_would_be_noticed() -> None:
    policies = {"deny-all", "kafka"}
    manifests = [
        one for one in built("local") if one["kind"] != "NetworkPolicy" or one["metadata"]["name"] not in policies
    ]

    assert (ANYBODY, "kafka", ANYBODY) in coming(manifests)
