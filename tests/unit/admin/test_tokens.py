"""Which tokens are believed. Every bad one is made from one that is good otherwise, so that it is refused for its own reason."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from ml_connector.admin.identity.keys import FileKeys, pick, read_key_set
from ml_connector.admin.identity.roles import Actor, NotAllowed, Role, Unauthenticated
from ml_connector.admin.identity.tokens import MAX_BYTES, Verifier
from ml_connector.cli.tokens import jwks_of, new_signing_key
from ml_connector.common.clock import ManualClock
from ml_connector.common.errors import Malformed, TryLater

ISSUER = "https://login.example.com/realms/one"
AUDIENCE = "ml-connector"
NOW_S = 1_700_000_000
SKEW_S = 30
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")

PEM, STRANGERS_PEM = new_signing_key(), new_signing_key()
PUBLIC = load_pem_private_key(PEM.encode(), password=None).public_key()
ES_JWK: dict[str, Any] = jwks_of(PEM)["keys"][0]
KID = ES_JWK["kid"]
RSA_KEY = rsa.generate_private_key(65537, 2048)
SHORT_RSA_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505  it is there to be refused
ED_KEY = ed25519.Ed25519PrivateKey.generate()
P384_KEY = ec.generate_private_key(ec.SECP384R1())
RSA_JWK = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
JWKS = {
    "keys": [
        ES_JWK,
        {**RSA_JWK, "kid": "rsa"},
        {**RSA_JWK, "kid": "rsa-pinned", "alg": "RS256"},
        {**RSA_JWK, "kid": "encryption", "use": "enc"},
        {**RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), "kid": "private"},
        {**RSAAlgorithm.to_jwk(SHORT_RSA_KEY.public_key(), as_dict=True), "kid": "short"},
        {**OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True), "kid": "ed"},
        {**ECAlgorithm.to_jwk(P384_KEY.public_key(), as_dict=True), "kid": "p384"},
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-256", "kid": "broken", "x": 7, "y": "AA"},
        {"kty": "EC", "crv": "P-256", "kid": "off-curve", "x": "A" * 43, "y": "A" * 43},
        {"kty": ["EC"], "kid": {}},
    ]
}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "anna",
    "iat": NOW_S,
    "nbf": NOW_S,
    "exp": NOW_S + 600,
    "roles": ["operator"],
}


class Published:
    """The key set above, and which keys were asked for."""

    def __init__(self) -> None:
        self._published = read_key_set(json.dumps(JWKS).encode())
        self.asked: list[str] = []

    async def find(self, kid: str, *, algorithm: str) -> jwt.PyJWK:
        self.asked.append(kid)
        return pick(self._published, kid, algorithm)


def verifier(clock: ManualClock | None = None, keys: Published | None = None, **terms: Any) -> Verifier:
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ALGORITHMS,
        "clock_skew_s": SKEW_S,
        "roles_claim": "roles",
        "roles": {"viewer": "viewer", "operator": "operator", "admin": "admin"},
        "clock": clock or ManualClock(NOW_S * 1000),
    }
    return Verifier(keys or Published(), **{**given, **terms})


def segment(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(payload: bytes, header: dict[str, Any], key: Any) -> str:
    """As PyJWT signs, but with any header and any payload."""
    signed = f"{segment(header)}.{segment(payload)}"
    algorithm = jwt.get_algorithm_by_name(header["alg"])
    return f"{signed}.{segment(algorithm.sign(signed.encode(), algorithm.prepare_key(key)))}"


def token(key: Any = PEM, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good token but for what is given; None leaves a member out."""
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    head = {"alg": "ES256", "typ": "JWT", "kid": KID, **(header or {})}
    return sign(json.dumps(payload).encode(), {k: v for k, v in head.items() if v is not None}, key)


def unsigned(algorithm: Any, signature: str = "") -> str:
    return f"{segment({'alg': algorithm, 'kid': KID})}.{segment(CLAIMS)}.{signature}"


def hmac_with(secret: bytes, algorithm: str = "HS256") -> str:
    """What an attacker makes who knows the public key only; PyJWT refuses to."""
    signed = f"{segment({'alg': algorithm, 'kid': KID})}.{segment(CLAIMS)}"
    return f"{signed}.{segment(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def cut(whole: str) -> str:
    """With a signature that lacks its last bytes."""
    signed, _, signature = whole.rpartition(".")
    return f"{signed}.{segment(base64.urlsafe_b64decode(signature + '==')[:-3])}"


def altered() -> str:
    """Somebody else's claims under a good signature."""
    head, _, signature = token().split(".")
    return f"{head}.{segment({**CLAIMS, 'roles': ['admin']})}.{signature}"


NESTED = b'{"a":' * 2000 + b"1" + b"}" * 2000
ALG = "algorithm is none of RS256, PS256, ES256, EdDSA"
SIGNATURE = "signature is not that of its key"
NO_KEY = "key is none of the issuer's"
MALFORMED = "the token is malformed"
STRANGERS_JWK = jwks_of(STRANGERS_PEM)["keys"][0]

BAD: dict[str, tuple[Callable[[], str | None], str]] = {
    "absent": (lambda: None, "no token"),
    "empty": (lambda: "", "no token"),
    "basic": (lambda: "Basic " + token(), "not a bearer token"),
    "bare": (token, "not a bearer token"),
    "oversized": (lambda: "Bearer " + token(groups="g" * MAX_BYTES), "larger than 16384 bytes"),
    # malformed
    "nothing after the scheme": (lambda: "Bearer ", MALFORMED),
    "two segments": (lambda: "Bearer " + token().rsplit(".", 1)[0], MALFORMED),
    "four segments": (lambda: "Bearer " + token() + ".AAAA", MALFORMED),
    "not base64": (lambda: "Bearer " + token().replace(".", ".!", 1), MALFORMED),
    "not ASCII": (lambda: "Bearer " + token() + "\xe4", MALFORMED),
    "half a pair": (lambda: "Bearer " + token() + "\udc80", MALFORMED),
    "NUL": (lambda: "Bearer " + token() + "\0", MALFORMED),
    "header is a list": (lambda: f"Bearer {segment(b'[]')}." + token().split(".", 1)[1], MALFORMED),
    "header nested deeply": (lambda: f"Bearer {segment(NESTED)}.{segment(b'{}')}.AAAA", MALFORMED),
    "header of a huge number": (lambda: f"Bearer {segment(b'1' * 5000)}.{segment(b'{}')}.AAAA", MALFORMED),
    "payload is a list": (lambda: "Bearer " + sign(b"[]", {"alg": "ES256", "kid": KID}, PEM), MALFORMED),
    "payload is no JSON": (lambda: "Bearer " + sign(b"\xff", {"alg": "ES256", "kid": KID}, PEM), MALFORMED),
    "payload detached": (lambda: "Bearer " + token(header={"b64": False}), MALFORMED),
    # algorithm
    "alg none": (lambda: "Bearer " + unsigned("none"), ALG),
    "alg None": (lambda: "Bearer " + unsigned("None"), ALG),
    "alg none, good signature": (lambda: "Bearer " + unsigned("none", token().rsplit(".", 1)[1]), ALG),
    "alg null": (lambda: "Bearer " + unsigned(None), ALG),
    "alg a list": (lambda: "Bearer " + unsigned(["ES256"]), ALG),
    "alg in other case": (lambda: "Bearer " + unsigned("es256", token().rsplit(".", 1)[1]), ALG),
    "alg not accepted here": (lambda: "Bearer " + token(P384_KEY, header={"alg": "ES384", "kid": "p384"}), ALG),
    "HMAC with the public key as PEM": (
        lambda: "Bearer " + hmac_with(PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        ALG,
    ),
    "HMAC with the public key as DER": (
        lambda: "Bearer " + hmac_with(PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        ALG,
    ),
    "HMAC with the public key as JWK": (lambda: "Bearer " + hmac_with(json.dumps(ES_JWK).encode()), ALG),
    "HMAC called ES256": (
        lambda: "Bearer " + hmac_with(PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "ES256"),
        SIGNATURE,
    ),
    # key and signature
    "wrong key": (lambda: "Bearer " + token(STRANGERS_PEM), SIGNATURE),
    "altered claims": (lambda: "Bearer " + altered(), SIGNATURE),
    "empty signature": (lambda: "Bearer " + token().rsplit(".", 1)[0] + ".", SIGNATURE),
    "short signature": (lambda: "Bearer " + cut(token()), SIGNATURE),
    "short EdDSA signature": (
        lambda: "Bearer " + cut(token(ED_KEY, header={"alg": "EdDSA", "kid": "ed"})),
        SIGNATURE,
    ),
    "unknown key": (lambda: "Bearer " + token(STRANGERS_PEM, header={"kid": STRANGERS_JWK["kid"]}), NO_KEY),
    "kid absent": (lambda: "Bearer " + token(header={"kid": None}), "does not name its key"),
    "kid empty": (lambda: "Bearer " + token(header={"kid": ""}), "does not name its key"),
    "kid a number": (lambda: "Bearer " + token(header={"kid": 1}), MALFORMED),
    "kid a path": (lambda: "Bearer " + token(header={"kid": "../../../dev/null"}), NO_KEY),
    "kid SQL": (lambda: "Bearer " + token(header={"kid": f"x' UNION SELECT '{KID}"}), NO_KEY),
    "kid an address": (lambda: "Bearer " + token(header={"kid": "https://evil.example.com/jwks"}), NO_KEY),
    "kid of another case": (lambda: "Bearer " + token(header={"kid": KID.swapcase()}), NO_KEY),
    "jwk brought along": (lambda: "Bearer " + token(STRANGERS_PEM, header={"jwk": STRANGERS_JWK}), SIGNATURE),
    "jku brought along": (
        lambda: "Bearer " + token(STRANGERS_PEM, header={"jku": "https://evil.example.com/jwks"}),
        SIGNATURE,
    ),
    "x5u brought along": (
        lambda: "Bearer " + token(STRANGERS_PEM, header={"x5u": "https://evil.example.com/pem"}),
        SIGNATURE,
    ),
    "crit unknown": (lambda: "Bearer " + token(header={"crit": ["exp"], "exp": 1}), MALFORMED),
    "crit known to PyJWT": (lambda: "Bearer " + token(header={"crit": ["b64"], "b64": True}), "extensions (`crit`)"),
    "key of another type": (lambda: "Bearer " + token(RSA_KEY, header={"alg": "RS256"}), "not for its algorithm"),
    "key of another curve": (lambda: "Bearer " + token(header={"kid": "p384"}), "not for its algorithm"),
    "key for another algorithm": (
        lambda: "Bearer " + token(RSA_KEY, header={"alg": "PS256", "kid": "rsa-pinned"}),
        "not for its algorithm",
    ),
    "key for encryption": (lambda: "Bearer " + token(RSA_KEY, header={"alg": "RS256", "kid": "encryption"}), NO_KEY),
    "key whose private half is published": (
        lambda: "Bearer " + token(RSA_KEY, header={"alg": "RS256", "kid": "private"}),
        NO_KEY,
    ),
    "key that is broken": (lambda: "Bearer " + token(header={"kid": "broken"}), NO_KEY),
    "key too short": (lambda: "Bearer " + token(SHORT_RSA_KEY, header={"alg": "RS256", "kid": "short"}), "too short"),
    # times
    "expired": (lambda: "Bearer " + token(exp=NOW_S - SKEW_S), "has expired"),
    "expiry absent": (lambda: "Bearer " + token(exp=None), "has no `exp`"),
    "expiry a text": (lambda: "Bearer " + token(exp=str(NOW_S + 600)), "`exp` is not a time"),
    "expiry true": (lambda: "Bearer " + token(exp=True), "`exp` is not a time"),
    "expiry never": (lambda: "Bearer " + token(exp=math.inf), "`exp` is not a time"),
    "expiry not a number": (lambda: "Bearer " + token(exp=math.nan), "`exp` is not a time"),
    "expiry beyond all time": (lambda: "Bearer " + token(exp=10**400), "`exp` is not a time"),
    "not valid yet": (lambda: "Bearer " + token(nbf=NOW_S + SKEW_S + 1), "not valid yet (`nbf`)"),
    "issued in the future": (lambda: "Bearer " + token(iat=NOW_S + SKEW_S + 1), "not valid yet (`iat`)"),
    "nbf a text": (lambda: "Bearer " + token(nbf="now"), "`nbf` is not a time"),
    # whom it is from, whom it is for, whom it is about
    "wrong audience": (lambda: "Bearer " + token(aud="somebody-else"), f"`aud` is not {AUDIENCE}"),
    "audience longer": (lambda: "Bearer " + token(aud=f"{AUDIENCE}-2"), f"`aud` is not {AUDIENCE}"),
    "other audiences": (lambda: "Bearer " + token(aud=["a", "b"]), f"`aud` is not {AUDIENCE}"),
    "audience an object": (lambda: "Bearer " + token(aud={AUDIENCE: 1}), f"`aud` is not {AUDIENCE}"),
    "audience absent": (lambda: "Bearer " + token(aud=None), "has no `aud`"),
    "wrong issuer": (lambda: "Bearer " + token(iss="https://evil.example.com"), f"`iss` is not {ISSUER}"),
    "issuer with a slash": (lambda: "Bearer " + token(iss=f"{ISSUER}/"), f"`iss` is not {ISSUER}"),
    "issuer a list": (lambda: "Bearer " + token(iss=[ISSUER]), f"`iss` is not {ISSUER}"),
    "issuer absent": (lambda: "Bearer " + token(iss=None), "has no `iss`"),
    "subject absent": (lambda: "Bearer " + token(sub=None), "has no `sub`"),
    "subject empty": (lambda: "Bearer " + token(sub=""), "`sub` is not a printable text"),
    "subject a number": (lambda: "Bearer " + token(sub=7), "`sub` is not a printable text"),
    "subject too long": (lambda: "Bearer " + token(sub="a" * 201), "`sub` is not a printable text"),
    "subject with NUL": (lambda: "Bearer " + token(sub="a\0"), "`sub` is not a printable text"),
    "subject with half a pair": (lambda: "Bearer " + token(sub="\ud800"), "`sub` is not a printable text"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_token_is_refused_for_its_own_reason(name: str) -> None:
    make, reason = BAD[name]
    authorization = make()

    with pytest.raises(Unauthenticated) as refused:
        await verifier().verify(authorization)

    assert reason in str(refused.value)
    assert authorization is None or len(authorization) < 20 or authorization[-20:] not in str(refused.value)


@pytest.mark.parametrize("name", [name for name, (_, reason) in BAD.items() if reason == ALG])
async def test_algorithm_is_refused_before_any_key_is_looked_up(name: str) -> None:
    keys = Published()

    with pytest.raises(Unauthenticated):
        await verifier(keys=keys).verify(BAD[name][0]())

    assert keys.asked == []


@pytest.mark.parametrize(
    "good",
    [
        f"Bearer {token()}",
        f"bearer  {token()} ",
        f"Bearer {token(RSA_KEY, header={'alg': 'RS256', 'kid': 'rsa'})}",
        f"Bearer {token(RSA_KEY, header={'alg': 'PS256', 'kid': 'rsa'})}",  # Entra's keys name no algorithm
        f"Bearer {token(RSA_KEY, header={'alg': 'RS256', 'kid': 'rsa-pinned'})}",
        f"Bearer {token(ED_KEY, header={'alg': 'EdDSA', 'kid': 'ed'})}",
        f"Bearer {token(header={'jku': 'https://evil.example.com/jwks'})}",  # ignored, not followed
        f"Bearer {token(aud=['account', AUDIENCE])}",
        f"Bearer {token(nbf=None, iat=None)}",
        f"Bearer {token(exp=NOW_S + 0.5)}",
        f"Bearer {token(exp=NOW_S - SKEW_S + 1)}",
        f"Bearer {token(nbf=NOW_S + SKEW_S, iat=NOW_S + SKEW_S)}",
        f"Bearer {token(groups='g' * 8000)}",
    ],
)
async def test_good_token_is_believed(good: str) -> None:
    assert await verifier().verify(good) == Actor("anna", Role.operator)


async def test_token_expires_by_the_given_clock() -> None:
    clock = ManualClock(NOW_S * 1000)
    checks, good = verifier(clock), f"Bearer {token()}"
    clock.advance(600 + SKEW_S - 1)
    await checks.verify(good)

    clock.advance(1)

    with pytest.raises(Unauthenticated, match="has expired"):
        await checks.verify(good)


@pytest.mark.parametrize(
    ("claim", "claims", "expected"),
    [
        ("roles", {"roles": ["viewer"]}, Role.viewer),
        ("roles", {"roles": ["viewer", "admin", "operator", "offline_access"]}, Role.admin),
        ("roles", {"roles": "viewer operator"}, Role.operator),
        ("realm_access.roles", {"realm_access": {"roles": ["admin"]}}, Role.admin),  # Keycloak
        ("https://example.com/roles", {"https://example.com/roles": ["admin"]}, Role.admin),  # Auth0: dots in a name
        ("roles", {"roles": ["admins-are-us"]}, None),
        ("roles", {"roles": "administrator"}, None),
        ("roles", {"roles": ["Admin"]}, None),
        ("roles", {"roles": [["admin"], {"admin": 1}, None, 3]}, None),
        ("roles", {"roles": {"admin": True}}, None),
        ("roles", {"roles": True}, None),
        ("roles", {"roles": None}, None),
        ("realm_access.roles", {"realm_access": ["roles", "admin"], "roles": ["admin"]}, None),
    ],
)
async def test_highest_known_role_wins(claim: str, claims: dict[str, Any], expected: Role | None) -> None:
    checks = verifier(roles_claim=claim)
    good = f"Bearer {token(**{'roles': None, **claims})}"

    if expected is None:
        with pytest.raises(NotAllowed, match=f"`{claim}` holds no role that is known here: admin, operator, viewer"):
            await checks.verify(good)
    else:
        assert (await checks.verify(good)).role == expected


async def test_issuers_own_role_names_are_mapped() -> None:
    checks = verifier(roles={"sales-ops": "operator", "everybody": "viewer"})

    found = await checks.verify(f"Bearer {token(roles=['everybody', 'sales-ops', 'admin'])}")

    assert found.role == Role.operator


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*CLAIMS, "alg", "kid", "crit", "b64", "jwk", "typ"])


def only_refused(authorization: str) -> None:
    try:
        asyncio.run(verifier().verify(authorization))
    except (Unauthenticated, NotAllowed) as error:
        str(error).encode()


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_be_refused(value: bytes) -> None:
    only_refused(value.decode("latin-1"))
    only_refused("Bearer " + value.decode("latin-1"))


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=100))
def test_no_segments_do_anything_but_be_refused(header: bytes, payload: bytes, signature: bytes) -> None:
    only_refused(f"Bearer {segment(header)}.{segment(payload)}.{segment(signature)}")


@given(st.dictionaries(NAMES, ANY_JSON, max_size=4), st.dictionaries(NAMES, ANY_JSON, max_size=4))
def test_no_members_do_anything_but_be_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Also under a good signature: an issuer may let its users choose some of it."""
    signed = sign(json.dumps({**CLAIMS, **claims}).encode(), {"alg": "ES256", "kid": KID}, PEM)
    head = segment({"alg": "ES256", "kid": KID, **header})

    only_refused(f"Bearer {signed}")
    only_refused(f"Bearer {head}.{signed.split('.', 1)[1]}")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_token_with_one_other_byte_is_not_believed(place: int, change: int) -> None:
    good = token().encode()
    place %= len(good)
    other = good[:place] + bytes([good[place] ^ change]) + good[place + 1 :]

    with pytest.raises(Unauthenticated):
        asyncio.run(verifier().verify("Bearer " + other.decode("latin-1")))


# -- keys in a file --------------------------------------------------------------------------------------------------


def publish(path: Path, document: Any, *, at_s: int) -> None:
    path.write_text(json.dumps(document))
    os.utime(path, (at_s, at_s))


async def test_file_with_a_new_key_is_read_again_and_an_old_key_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    publish(path, jwks_of(PEM), at_s=1)
    keys = FileKeys(path)
    await keys.find(KID, algorithm="ES256")

    publish(path, jwks_of(STRANGERS_PEM), at_s=2)

    assert (await keys.find(STRANGERS_JWK["kid"], algorithm="ES256")).key_id == STRANGERS_JWK["kid"]
    with pytest.raises(Unauthenticated, match="none of the issuer's"):
        await keys.find(KID, algorithm="ES256")


@pytest.mark.parametrize("broken", ['{"keys": [', "[]", '{"keys": []}', '{"keys": 1}', "\0"])
async def test_broken_file_leaves_the_former_keys(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "jwks.json"
    publish(path, jwks_of(PEM), at_s=1)
    keys = FileKeys(path)
    await keys.find(KID, algorithm="ES256")

    path.write_text(broken)
    found = await keys.find(KID, algorithm="ES256")
    path.unlink()

    assert found is await keys.find(KID, algorithm="ES256")


async def test_without_a_file_it_is_try_later_until_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    keys = FileKeys(path)
    with pytest.raises(TryLater, match=r"jwks\.json"):
        await keys.find(KID, algorithm="ES256")

    publish(path, jwks_of(PEM), at_s=1)

    await keys.find(KID, algorithm="ES256")


def test_key_set_says_what_is_wrong_without_quoting_it() -> None:
    with pytest.raises(Malformed) as refused:
        read_key_set(b'{"keys": [{"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}]}')

    assert "no public key" in str(refused.value) and "c2VjcmV0" not in str(refused.value)
