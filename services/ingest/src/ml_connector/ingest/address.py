"""Which address a delivery comes from, when proxies stand in front. Pure.

In: the peer of the connection, the `X-Forwarded-For` headers, the networks of our own proxies. Out: the address that no
proxy of ours vouches for. A header that a stranger sent counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORWARDED_FOR = b"x-forwarded-for"


def client_address(peer: str, forwarded: Iterable[bytes], trusted: Sequence[Network]) -> Address | None:
    """None when an address that must be believed cannot be read."""
    hops = [hop.strip() for value in forwarded for hop in value.decode("latin-1").split(",")]
    found = _read(peer)
    while found is not None and hops and any(found in network for network in trusted):
        found = _read(hops.pop())
    return found


def _read(text: str) -> Address | None:
    """An IPv4 address that came in IPv6 clothes is the IPv4 address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
