"""Credentials: each has a name and an owner; what is wrong with one is told without anything of it."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.common.credentials import KINDS, Credential
from ml_connector.common.errors import SecretUnreadable


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_says_whose_it_is(kind: type[Credential]) -> None:
    assert kind.OWNER in {"flow", "pipedrive", "netsuite"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("api-token", {"CANARY": "x"}, "it may only hold token"),
        ("api-token", {"token": "x", "CANARY - at `$.CANARY": "x"}, "it may only hold token"),
        ("api-token", {"token": {"CANARY": "CANARY"}}, "Expected `str`"),
        ("webhook-hmac", {"keys": "CANARY"}, "Expected `array`"),
        ("webhook-hmac", {"keys": [{"id": "CANARY"}]}, "missing required field `secret` - at `$.keys[0]`"),
        ("oauth2", {"refresh_token": "CANARY", "api_domain": "http://CANARY"}, "api_domain is no https://HOST"),
        ("oauth2-m2m", {"client_id": "CANARY", "certificate_id": 5, "private_key_pem": ""}, "$.certificate_id"),
    ],
)
def test_no_error_quotes_a_value_or_an_unknown_member(name: str, value: dict[str, Any], told: str) -> None:
    with pytest.raises(SecretUnreadable) as error:
        KINDS[name].read(value)
    assert told in str(error.value) and "CANARY" not in str(error.value)
