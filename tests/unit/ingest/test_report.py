"""Why a delivery was refused, and what of it ingest tells."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.asking import Why
from ml_connector.common.credentials import BasicKey, HmacKey, WebhookBasic, WebhookHmac
from ml_connector.ingest.doors import Counts
from ml_connector.ingest.report import MOST_FLOWS, told, with_pushes
from ml_connector.ingest.verify import BasicProof, HmacProof, Proof, refused_for, verified_by

BODY = b"{}"
SIGNATURE = b"143ca8d517ba1b181025d732b1cf275d90104fca57bb02a565542978aa18c4b6"  # by openssl: HMAC-SHA256 of {} with s
HMAC = HmacProof.of(WebhookHmac(keys=(HmacKey("k", "s"),)))
BASIC = BasicProof.of(WebhookBasic(keys=(BasicKey("k", "a", "b"),)))


def pair(text: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(text.encode())


def signature(value: bytes) -> tuple[bytes, bytes]:
    return b"x-pipedrive-signature", value


@pytest.mark.parametrize(
    ("proofs", "headers", "why"),
    [
        ((HMAC,), [], "unsigned"),
        ((HMAC,), [pair("a:b")], "basic_instead"),
        ((HMAC,), [signature(b"0" * 64)], "signature"),
        ((HMAC,), [signature(b"0" * 64), pair("a:b")], "signature"),
        ((BASIC,), [], "no_basic"),
        ((BASIC,), [(b"authorization", b"Bearer x")], "no_basic"),
        ((BASIC,), [pair("a:c")], "basic"),
        ((HMAC, BASIC), [pair("a:b")], "basic_instead"),
        ((HMAC, BASIC), [signature(SIGNATURE)], "no_basic"),
        ((HMAC, BASIC), [signature(SIGNATURE), pair("a:c")], "basic"),
        ((HMAC, BASIC), [signature(b"0" * 64), pair("a:c")], "signature"),
    ],
)
def test_reason_is_the_first_thing_that_is_wrong(
    proofs: tuple[Proof, ...], headers: list[tuple[bytes, bytes]], why: Why
) -> None:
    assert verified_by(proofs, headers, BODY) is None
    assert refused_for(proofs, headers, BODY) == why


def test_keys_and_reasons_are_told_and_accepted_flows_are_not() -> None:
    """Keys also of a flow to which no delivery came yet."""
    refusing, well = Counts(accepted=3, accepted_ms=5), Counts(accepted=9, accepted_ms=9)
    refusing.refuse("basic", 7)
    refusing.refuse("basic", 8)

    found = told({"rotating": ("basic:a", "basic:b")}, {"refusing": refusing, "well": well})

    assert found["rotating"].keys == ("basic:a", "basic:b")
    assert [(one.why, one.count, one.last_ms) for one in found["refusing"].refused] == [("basic", 2, 8)]
    assert found["refusing"].accepted_ms == 5
    assert "well" not in found


@given(st.permutations(range(MOST_FLOWS + 50)))
def test_message_stays_small_and_holds_the_last_refusals(order: list[int]) -> None:
    """A thousand flows that a stranger tries must not make it a megabyte."""
    counts = {f"flow-{number}": Counts() for number in order}
    for number in order:
        counts[f"flow-{number}"].refuse("unsigned", 1_000 + number)

    found = told({"flow-0": ("basic:a", "basic:b")}, counts)

    assert set(found) == {"flow-0", *(f"flow-{number}" for number in range(50, MOST_FLOWS + 50))}


def test_what_netsuite_pushed_is_told_beside_the_deliveries() -> None:
    delivering, pushing = Counts(accepted=3, accepted_ms=5), Counts(accepted=1, accepted_ms=6)
    delivering.refuse("basic", 7)
    pushing.refuse("secret", 8)

    found = with_pushes(told({}, {"a": delivering}), {"a": pushing, "b": pushing, "silent": Counts()})

    assert set(found) == {"a", "b"}
    assert ([one.why for one in found["a"].refused], found["a"].pushed_ms) == (["basic"], 6)
    assert (
        [one.why for one in found["a"].pushes_refused] == [one.why for one in found["b"].pushes_refused] == ["secret"]
    )
