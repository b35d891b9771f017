"""What the person sees who comes back from Pipedrive: what happened, and what to do next.

Plain HTML without style, script or picture, under the Guard's headers. Never: anything of the query, a secret.
"""

from __future__ import annotations

import html
from enum import StrEnum
from typing import Final, NamedTuple


class Ending(StrEnum):
    """How it went; also what the audit and the log call it."""

    connected = "connected"
    denied = "denied"
    refused = "refused"
    malformed = "malformed"
    unknown = "unknown"
    expired = "expired"
    used = "used"
    wrong_company = "wrong_company"
    code_refused = "code_refused"
    client_refused = "client_refused"
    unreachable = "unreachable"
    not_kept = "not_kept"


class Page(NamedTuple):
    status: int
    title: str
    text: str


_AGAIN: Final = "For a new link run mlc pipedrive connect again."
# No status is 500: the Guard says that itself, when this service has a fault.
PAGES: Final = {
    Ending.connected: Page(200, "Connected", "The access is stored, encrypted. You may close this page."),
    Ending.denied: Page(403, "Not connected: access was denied", f"Nothing is stored. If that was a mistake: {_AGAIN}"),
    Ending.refused: Page(
        502,
        "Not connected: Pipedrive refused",
        f"Nothing is stored. Look at the app in Pipedrive's Developer Hub: is its callback URL this page's? {_AGAIN}",
    ),
    Ending.malformed: Page(
        400, "This is no answer of Pipedrive", f"The address is not complete, or was changed. {_AGAIN}"
    ),
    Ending.unknown: Page(400, "Not known here", f"Nobody here asked for this, or it was long ago. {_AGAIN}"),
    Ending.expired: Page(410, "Too late", f"A link is good for ten minutes. Nothing is stored. {_AGAIN}"),
    Ending.used: Page(
        409,
        "Used already",
        f"A link is good once. If the first answer said that it is connected, nothing is left to do. Else: {_AGAIN}",
    ),
    Ending.wrong_company: Page(
        409,
        "Not connected: this is another company",
        "Nothing is stored. Remove the app from the company that you allowed it in, log in to the right company in "
        f"Pipedrive, and begin anew. {_AGAIN}",
    ),
    Ending.code_refused: Page(
        502,
        "Not connected: Pipedrive does not accept its own code",
        f"It was used already, took longer than five minutes, or belongs to another app. Nothing is stored. {_AGAIN}",
    ),
    Ending.client_refused: Page(
        502,
        "Not connected: Pipedrive does not accept the app",
        "Client id or client secret are wrong. Store the right ones by mlc secrets set, as oauth2-client. " + _AGAIN,
    ),
    Ending.unreachable: Page(
        502, "Not connected: Pipedrive did not answer", f"Nothing is stored. Wait a minute. {_AGAIN}"
    ),
    Ending.not_kept: Page(
        503, "Not connected: it could not be stored", f"The log of the admin service says why. {_AGAIN}"
    ),
}


def page_of(ending: Ending, company: str) -> str:
    """`company`: ours, from the database; empty when it is not known."""
    page = PAGES[ending]
    about = f"<p>Pipedrive company: {html.escape(company)}</p>\n" if company else ""
    title = html.escape(page.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n<h1>{title}</h1>\n{about}<p>{html.escape(page.text)}</p>\n</body>\n</html>\n"
    )
