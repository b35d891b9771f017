"""Whom an X-Forwarded-For header convinces."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from ml_connector.ingest.address import client_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", [b"198.51.100.1"], "203.0.113.7"),  # a stranger's header counts for nothing
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # what stands before it, the stranger wrote
        ("10.0.0.1", [b"1.1.1.1, 198.51.100.1, 10.0.0.9"], "198.51.100.1"),
        ("10.0.0.1", [b"1.1.1.1", b"198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("fd00::1", [b"2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", [b"unknown"], None),
        ("10.0.0.1", [b"198.51.100.1:443"], None),
        ("", [], None),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str, forwarded: list[bytes], expected: str | None) -> None:
    found = client_address(peer, forwarded, PROXIES)

    assert found == (None if expected is None else ip_address(expected))
