"""What was probably meant by a name that is not there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

LIKE: Final = 0.7  # of `difflib`: one or two letters of a short name
MAX_CHARS: Final = 200  # longer names are no slips of the keyboard, and comparing them takes time


def meant(name: str, known: Iterable[str], *, like: float = LIKE) -> str | None:
    """The known name that is most like it, whatever the letter case."""
    if len(name) > MAX_CHARS:
        return None
    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=like)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'companyName'?`, to be appended; empty when nothing is like it."""
    found = meant(name, known)
    return f"; did you mean {found!r}?" if found is not None else ""
