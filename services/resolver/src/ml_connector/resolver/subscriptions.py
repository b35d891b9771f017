"""Which webhook subscriptions a flow needs, compared with those that are there. Pure.

In: the flow, and what Pipedrive lists. Out: where deliveries go; what to make, keep and remove.
Never: anything with another URL, whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ml_connector.common.addresses import host_of
from ml_connector.common.asking import Subscription
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow
from ml_connector.resolver.looks import DELIVERIES

EVERY: Final = "*"  # create, change and delete in one subscription


class Difference(NamedTuple):
    """`create`: entities."""

    create: tuple[str, ...]
    keep: tuple[Subscription, ...]
    remove: tuple[Subscription, ...]


def address_of(flow: str, url: str, *, relay: bool) -> str:
    """The URL to subscribe: a relay's as it is, else ingest's with the flow's path. Raises AddressRefused."""
    address = url.rstrip("/")
    host_of(address)
    path = f"{DELIVERIES}{flow}"
    return address if relay or address.endswith(path) else address + path


def refuse_unsigned(flow: Flow, *, relay: bool) -> None:
    """Raises BadInput when ingest would not believe what Pipedrive itself delivers."""
    verify = flow.pipedrive.webhook.verify
    if verify != "basic" and not relay:
        raise BadInput(
            f"flow {flow.flow} wants signed deliveries (pipedrive.webhook.verify is {verify}), and Pipedrive does not "
            "sign: it only offers HTTP Basic. Give the URL of a relay that signs, with --relay; or let verify be basic"
        )


def compare(entities: Iterable[str], there: Sequence[Subscription], address: str) -> Difference:
    """Of two that are the same the older one stays; one that Pipedrive has switched off is made anew."""
    wanted = set(entities)
    keep: dict[str, Subscription] = {}
    remove: list[Subscription] = []
    for one in sorted((one for one in there if is_ours(one, address)), key=lambda one: one.id):
        needed = one.entity in wanted and one.action == EVERY and one.active
        if needed and one.entity not in keep:
            keep[one.entity] = one
        else:
            remove.append(one)
    return Difference(tuple(sorted(wanted - keep.keys())), tuple(keep.values()), tuple(remove))


def is_ours(one: Subscription, address: str) -> bool:
    """Whether it leads exactly there."""
    return one.url.rstrip("/") == address


def shown(there: Iterable[Subscription], flow: str, address: str) -> tuple[Subscription, ...]:
    """For a person. Without an address all are ours that lead to the flow's path, on whichever host."""
    return tuple(_shown(one, flow, address) for one in there)


def _shown(one: Subscription, flow: str, address: str) -> Subscription:
    ours = is_ours(one, address) if address else one.url.rstrip("/").endswith(f"{DELIVERIES}{flow}")
    return msgspec.structs.replace(one, ours=ours, url=one.url if ours and address else _plain(one.url, path=ours))


def _plain(url: str, *, path: bool) -> str:
    """Without a user, a password and a query; the path only where it is known."""
    try:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "?"
    return place + parts.path if path else place
