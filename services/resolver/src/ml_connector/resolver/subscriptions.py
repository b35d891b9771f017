"""Which webhook subscriptions a flow needs, compared with those that are there. Pure.

In: the flow, and what Pipedrive lists. Out: where deliveries go; what to make, keep and remove.
Never: anything with another URL, whoever made it.

Pipedrive does not say with which user a webhook was made; its name, which is ours to choose, does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ml_connector.common.addresses import host_of
from ml_connector.common.asking import Subscription
from ml_connector.common.credentials import BasicKey
from ml_connector.common.errors import BadInput
from ml_connector.common.flows import Flow
from ml_connector.resolver.looks import DELIVERIES

EVERY: Final = "*"  # create, change and delete in one subscription


class Difference(NamedTuple):
    """`create`: entities."""

    create: tuple[str, ...]
    keep: tuple[Subscription, ...]
    remove: tuple[Subscription, ...]


class Renewal(NamedTuple):
    """`make`: none when it is there already, and only the old one must go."""

    old: Subscription
    make: bool


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


def refuse_unused(flow: Flow) -> None:
    """Raises BadInput when ingest takes no deliveries for the flow."""
    if flow.pipedrive.events == "none":
        raise BadInput(
            f"flow {flow.flow} takes no webhooks (pipedrive.events is none): it reads what changed on its schedule. "
            "If it shall take them, let events be webhooks and apply it"
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


def name_of(flow: str, entity: str, basic: BasicKey | None) -> str:
    return f"ml-connector {flow} {entity}" + ("" if basic is None else f" {basic.id}")


def renewals(there: Iterable[Subscription], flow: str, address: str, basic: BasicKey) -> tuple[Renewal, ...]:
    """What was not made with this key, oldest first. One at a time: never more than one above what there was.

    Raises BadInput when none is ours: whatever delivers to the flow would go on with the old key.
    """
    ours = sorted((one for one in there if leads_to(one, flow, address)), key=lambda one: one.id)
    if not ours:
        raise BadInput(
            f"no webhook leads to flow {flow}: `mlc webhooks install` makes them; if they lead to a relay, give its "
            "--url and --relay"
        )
    new = {_place(one) for one in ours if one.active and one.name == name_of(flow, one.entity, basic)}
    found: list[Renewal] = []
    for one in ours:
        if not (one.active and one.name == name_of(flow, one.entity, basic)):
            found.append(Renewal(one, make=_place(one) not in new))
            new.add(_place(one))
    return tuple(found)


def _place(one: Subscription) -> tuple[str, str, str]:
    return one.url.rstrip("/"), one.entity, one.action


def leads_to(one: Subscription, flow: str, address: str) -> bool:
    """Without an address: to the flow's path, on whichever host."""
    return is_ours(one, address) if address else one.url.rstrip("/").endswith(f"{DELIVERIES}{flow}")


def is_ours(one: Subscription, address: str) -> bool:
    """Whether it leads exactly there."""
    return one.url.rstrip("/") == address


def shown(there: Iterable[Subscription], flow: str, address: str) -> tuple[Subscription, ...]:
    """For a person. Without an address all are ours that lead to the flow's path, on whichever host."""
    return tuple(_shown(one, flow, address) for one in there)


def _shown(one: Subscription, flow: str, address: str) -> Subscription:
    ours = leads_to(one, flow, address)
    url = one.url if ours and address else _plain(one.url, path=ours)
    return msgspec.structs.replace(one, ours=ours, url=url, name="")


def _plain(url: str, *, path: bool) -> str:
    """Without a user, a password and a query; the path only where it is known."""
    try:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "?"
    return place + parts.path if path else place
