"""Where a company's administrator is asked, where the code is exchanged, and whether a grant is that company's.

In: the active flows. Out: addresses, or Conflict with what to change. Never: I/O.
Sources: facts/pipedrive.md section 7 (authorize and token stand side by side; `api_domain` names the company).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ml_connector.admin.flows.look import Known
from ml_connector.admin.replay.control import Conflict
from ml_connector.common.addresses import host_of
from ml_connector.common.flows import Environment, PipedriveSide

VENDOR: Final = "pipedrive.com"
VENDOR_TOKEN_URL: Final[str] = PipedriveSide.model_fields["oauth_url"].default


class Side(NamedTuple):
    """What a flow says of Pipedrive's addresses."""

    flow: str
    auth: str
    oauth_url: str
    base_url: str | None


def sides_of(found: Sequence[Known], company: str, environment: Environment) -> list[Side]:
    """From the documents as they stand: also those that this release would not take any more."""
    documents = [(known.version.flow, known.version.document) for known in found]
    return [
        Side(
            flow,
            document["pipedrive"].get("auth", PipedriveSide.model_fields["auth"].default),
            document["pipedrive"].get("oauth_url", VENDOR_TOKEN_URL),
            document["pipedrive"].get("base_url"),
        )
        for flow, document in documents
        if document["environment"] == environment and document["pipedrive"]["company"] == company
    ]


def token_url_of(company: str, sides: Sequence[Side]) -> str:
    """That of the flows which log in by OAuth; of all while none does; Pipedrive's own before there is a flow. Raises
    Conflict: a code of one token endpoint must not be shown to another."""
    asked = [side for side in sides if side.auth == "oauth2"] or sides
    found = {side.oauth_url: side.flow for side in asked}
    if len(found) > 1:
        names = ", ".join(sorted(found.values()))
        raise Conflict(f"the flows of {company} name different token endpoints ({names}): give them one oauth_url")
    return next(iter(found), VENDOR_TOKEN_URL)


def authorize_url_of(token_url: str) -> str:
    """Beside it, as Pipedrive has them. Raises Conflict."""
    beside, _, last = token_url.rpartition("/")
    if last != "token":
        raise Conflict("pipedrive.oauth_url of the flow must end in /token: people agree at /authorize beside it")
    return f"{beside}/authorize"


def is_granted_by(company: str, api_domain: str, *, token_url: str, sides: Sequence[Side]) -> bool:
    """Below pipedrive.com only the company's own domain: that of its flows' `base_url`, else `<company>.pipedrive.com`.
    Elsewhere (a stand-in, a gateway) a domain names no company: it must be a host that the flows name themselves."""
    host = host_of(api_domain)
    own = {host_of(side.base_url) for side in sides if side.base_url is not None}
    if not any(map(_is_vendors, own)):
        own.add(f"{company}.{VENDOR}")
    return host in own or (not _is_vendors(host) and host == host_of(token_url))


def _is_vendors(host: str) -> bool:
    return f".{host}".endswith(f".{VENDOR}")
