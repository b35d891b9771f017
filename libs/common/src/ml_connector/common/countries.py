"""From a country's name to its ISO 3166 code: NetSuite wants `DE` where Pipedrive holds what a map service called it.

Names come from Unicode CLDR, in the languages of Pipedrive's pages; codes of two and three letters are taken as well.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from babel import Locale
from babel.core import get_global

# English first: where two languages use one name for different countries, it decides.
LANGUAGES: Final = (
    "en", "es", "pt", "de", "fr", "it", "nl", "pl", "cs", "sv", "nb", "da", "fi", "et", "lv", "lt", "hu", "ro", "ru",
    "uk", "tr", "id", "vi", "ja", "ko", "zh",
)  # fmt: skip

# What people and map services still say in English, where CLDR has only the newer or the shorter name.
OTHER_NAMES: Final = {
    "Great Britain": "GB",
    "England": "GB",
    "Scotland": "GB",
    "Wales": "GB",
    "Northern Ireland": "GB",
    "The Netherlands": "NL",
    "Turkey": "TR",
    "Czech Republic": "CZ",
    "Ivory Coast": "CI",
    "Macedonia": "MK",
    "Swaziland": "SZ",
    "Burma": "MM",
    "Cape Verde": "CV",
    "East Timor": "TL",
    "Republic of Korea": "KR",
    "Russian Federation": "RU",
    "Hong Kong": "HK",
    "Macau": "MO",
    "United States of America": "US",
}


def country_code(name: str) -> str | None:
    """The code of two letters, whatever the case; None when no country is called so."""
    return _codes().get(_plain(name))


@cache
def _codes() -> dict[str, str]:
    found: dict[str, str] = {}
    for language in LANGUAGES:
        for code, name in Locale(language).territories.items():
            if _is_country(code):
                found.setdefault(_plain(name), code)
                found.setdefault(_plain(code), code)
    for alias, codes in get_global("territory_aliases").items():  # UK, DEU, ...
        if alias.isalpha() and len(codes) == 1:
            found.setdefault(_plain(alias), codes[0])
    return found | {_plain(name): code for name, code in OTHER_NAMES.items()}


def _is_country(code: str) -> bool:
    """Two letters, and not one of CLDR's own (the euro area, outlying Oceania, unknown)."""
    return len(code) == len("DE") and code.isalpha() and code not in {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}


def _plain(name: str) -> str:
    return "".join(name.casefold().replace(".", "").split())
