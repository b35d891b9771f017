"""The search for secrets finds them in every form; a search that finds nothing would pass any run."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable

import pytest

from support.canaries import Canaries

SECRET = 'canary/with+odd "characters" ä'
PEM = (
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\nshort\n-----END PRIVATE KEY-----\n"
)


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret.encode(),
        lambda secret: json.dumps({"a": secret}).encode(),
        lambda secret: urllib.parse.urlencode({"a": secret}).encode(),
        lambda secret: urllib.parse.quote(secret, safe="").encode(),
        lambda secret: secret.encode().hex().encode(),
        lambda secret: base64.b64encode(secret.encode()),
        lambda secret: base64.b64encode(b"u:" + secret.encode() + b"!"),
        lambda secret: base64.urlsafe_b64encode(b"user:" + secret.encode()),
    ],
)
def test_secret_is_found_in_any_form(form: Callable[[str], bytes]) -> None:
    assert Canaries({"it": SECRET}).found_in(b"before " + form(SECRET) + b" after") == {"it"}


def test_line_of_a_key_is_found_wherever_it_stands() -> None:
    line = PEM.splitlines()[1]

    assert Canaries({"key": PEM}).found_in(json.dumps({"pem": PEM}).encode()) == {"key"}
    assert Canaries({"key": PEM}).found_in(line.encode()) == {"key"}


def test_what_is_not_there_is_not_found() -> None:
    assert Canaries({"it": SECRET, "key": PEM}).found_in(b"-----BEGIN PRIVATE KEY----- short canary") == set()


def test_secret_that_chance_could_find_is_refused() -> None:
    with pytest.raises(AssertionError, match="too short"):
        Canaries({"it": "short"})
