"""Which addresses a flow may name, and which of those that a name resolves to may be connected to. Pure.

In: a base URL as somebody wrote it; what the resolver answered. Out: its host; the addresses to connect to, or
`AddressRefused` with the reason. Never: resolves, connects, reads settings.
Sources: RFC 6890 and IANA's special-purpose registries by way of `ipaddress`; RFC 6052 (NAT64); URL Standard, "ends in
a number" (which hosts other programs read as an IPv4 address).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from ml_connector.common.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_HOST_CHARS: Final = 253  # RFC 1035, without the root's dot

_URL = re.compile(r"(?P<scheme>https?)://(?P<host>\[[^\[\]/]*\]|[^\[\]/:]*)(?P<port>:[0-9]+)?(?P<path>/.*)?", re.DOTALL)
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+")  # no `..`, nothing escaped, no slash at the end
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # the only part of IPv6 that is handed out for hosts
_NAT64: Final = IPv6Network("64:ff9b::/96")
# IETF's own (a cloud keeps its metadata there) and 6to4 relays: global to some versions of `ipaddress`.
_NOT_PUBLIC: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))


def host_of(url: str) -> str:
    """The host of a base URL, in lower case and without brackets. Raises AddressRefused with what to change."""
    if not url.isascii():
        raise AddressRefused("only ASCII may stand in an address; write an international name in its xn-- form")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise AddressRefused("no spaces, control characters or backslashes may stand in an address")
    if "@" in url:
        raise AddressRefused("an address names no user or password; credentials are set by `mlc secrets set`")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise AddressRefused("an address is https://<host>, with a port and a path if needed")
    port = (parts["port"] or ":443")[1:]
    if len(port) > 5 or not 1 <= int(port) <= 65535:
        raise AddressRefused("a port is a number from 1 to 65535")
    if parts["path"] is not None and not _PATH.fullmatch(parts["path"]):
        raise AddressRefused("a path is made of plain names, without a slash at its end, a query or a fragment")
    host = _read_host(parts["host"])
    if parts["scheme"] == "http" and not is_loopback(host):
        raise AddressRefused("plain http is for loopback only; use https")
    return host


def is_loopback(host: str) -> bool:
    """Whether a host says of itself that it is this machine: stand-ins are reached so. Not what it resolves to."""
    literal = literal_of(host)
    return host == "localhost" if literal is None else literal.is_loopback


def literal_of(host: str) -> Address | None:
    """The address, if the host is written as one."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def permitted(host: str, answers: Sequence[str], allowed: Sequence[Network]) -> list[str]:
    """What may be connected to for `host`, in the resolver's order. One bad answer refuses all: a name that is public
    and private at once is somebody's trick, or a mistake. Raises AddressRefused."""
    if not answers:
        raise AddressRefused(f"{host} has no address")
    for answer in answers:
        address = _meant_by(ip_address(answer))
        fits = address.is_loopback if is_loopback(host) else _is_public(address) or _is_in(address, allowed)
        if not fits:
            raise AddressRefused(
                f"{host} is at {address}, which is not public: MLC_ALLOWED_NETWORKS names networks that may be used"
            )
    return list(answers)


def _read_host(text: str) -> str:
    if text.startswith("["):
        return _read_ipv6(text[1:-1])
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_ipv4(text)
    if len(text) > MAX_HOST_CHARS or not all(map(_LABEL.fullmatch, labels)):
        raise AddressRefused("a host is made of names of letters, digits and hyphens with dots between them")
    return text.lower()


def _read_ipv4(text: str) -> str:
    """Four decimal numbers. Octal, hexadecimal, or fewer numbers are read differently by different programs."""
    try:
        return str(IPv4Address(text))
    except ValueError as error:
        raise AddressRefused("an IPv4 address is written as four decimal numbers without leading zeros") from error


def _read_ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError as error:
        raise AddressRefused("in brackets stands an IPv6 address") from error
    if address.scope_id is not None:
        raise AddressRefused("an IPv6 address is written without a zone")
    if address.ipv4_mapped is not None:
        raise AddressRefused("an IPv4 address is written as such, not inside an IPv6 address")
    return str(address)


def _meant_by(address: Address) -> Address:
    """Where packets for it end: the IPv4 address inside an IPv6 address (mapped, NAT64, 6to4), or itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local:
        return False
    return not _is_in(address, _NOT_PUBLIC) if isinstance(address, IPv4Address) else address in _GLOBAL_UNICAST


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
