"""Believe a bearer token, or say why not.

In: the value of an Authorization header. Out: an Actor, or Unauthenticated, NotAllowed, TryLater (no keys yet).
Never: a key, an address or an algorithm that the token brings along (`jwk`, `jku`, `x5u`, `x5c` mean nothing here).
Sources: RFC 7519 (claims), RFC 8725 (what goes wrong with JWTs), RFC 6750 (Bearer).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import jwt
from jwt.types import Options

from ml_connector.admin.identity.keys import Keys
from ml_connector.admin.identity.roles import Actor, NotAllowed, Role, Unauthenticated
from ml_connector.common.clock import Clock

MAX_BYTES: Final = 16 * 1024  # of the header; a token with some hundred groups has about 8 KiB
MAX_SUBJECT: Final = 200  # characters; OpenID Connect allows 255, issuers use about 40

# What is off is checked here: the times against the clock that was given, where PyJWT takes the system's.
_OPTIONS: Final[Options] = {
    "require": ["exp", "iss", "aud", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_jti": False,
    "verify_sub": False,
    "enforce_minimum_key_length": True,
}


class Verifier:
    """What one issuer's tokens must be like."""

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str,
        audience: str,
        algorithms: Iterable[str],
        clock_skew_s: float,
        roles_claim: str,
        roles: Mapping[str, str],
        clock: Clock,
    ) -> None:
        """`roles`: the issuer's names and what they are here; raises KeyError for a role that does not exist here."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = tuple(algorithms)
        self._skew_s = clock_skew_s
        self._roles_claim = roles_claim
        self._roles = {name: Role[role] for name, role in roles.items()}
        self._clock = clock

    async def verify(self, authorization: str | None) -> Actor:
        """Raises Unauthenticated, NotAllowed; TryLater while the issuer's keys have never been read."""
        token = _bearer(authorization)
        kid, algorithm = self._named_in(token)
        claims = self._believe(token, await self._keys.find(kid, algorithm=algorithm))
        self._refuse_other_times(claims)
        return Actor(_subject(claims), self._role(claims))

    def _named_in(self, token: str) -> tuple[str, str]:
        """Key id and algorithm, as yet unproven. The algorithm comes first: a bad one is worth no look at the keys."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise Unauthenticated("the token is malformed") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Unauthenticated(f"the token's algorithm is none of {', '.join(self._algorithms)}")
        if "crit" in header:
            raise Unauthenticated("the token has extensions (`crit`) that are not understood here")
        if not kid:  # required even where there is one key: the day a second one comes must not be the day it fails
            raise Unauthenticated("the token does not name its key (`kid`)")
        return str(kid), algorithm

    def _believe(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        """The claims, once signature, issuer and audience are proven. One of several audiences is enough."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                options=_OPTIONS,
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(self._why(error)) from error

    def _why(self, error: jwt.PyJWTError) -> str:
        match error:
            case jwt.InvalidSignatureError():
                return "the token's signature is not that of its key"
            case jwt.MissingRequiredClaimError():
                return f"the token has no `{error.claim}`"
            case jwt.InvalidIssuerError():
                return f"the token's `iss` is not {self._issuer}"
            case jwt.InvalidAudienceError():
                return f"the token's `aud` is not {self._audience}"
            case jwt.InvalidKeyError():
                return "the token's key is too short to be safe"
            case _:
                return "the token is malformed"

    def _refuse_other_times(self, claims: Mapping[str, Any]) -> None:
        now_s = self._clock.now_ms() / 1000
        if now_s >= _time_s(claims, "exp") + self._skew_s:
            raise Unauthenticated("the token has expired: get a new one")
        for claim in ("nbf", "iat"):
            if claim in claims and now_s < _time_s(claims, claim) - self._skew_s:
                raise Unauthenticated(f"the token is not valid yet (`{claim}`): are both clocks right?")

    def _role(self, claims: Mapping[str, Any]) -> Role:
        """The highest of those that mean something here."""
        known = [self._roles[name] for name in _names_at(claims, self._roles_claim) if name in self._roles]
        if not known:
            accepted = ", ".join(sorted(self._roles))
            raise NotAllowed(f"the token's `{self._roles_claim}` holds no role that is known here: {accepted}")
        return max(known)


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Unauthenticated("no token: send `Authorization: Bearer <token>`")
    if len(authorization) > MAX_BYTES:
        raise Unauthenticated(f"the token is larger than {MAX_BYTES} bytes")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("not a bearer token: send `Authorization: Bearer <token>`")
    if not token.isascii():
        raise Unauthenticated("the token is malformed")
    return token.strip(" ")


def _time_s(claims: Mapping[str, Any], name: str) -> float:
    """Seconds since the epoch. JSON as Python reads it knows Infinity, which would be a token for ever."""
    value = claims[name]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise Unauthenticated(f"the token's `{name}` is not a time in seconds")


def _subject(claims: Mapping[str, Any]) -> str:
    """Printable, as it is kept in SQL and in the audit: databases refuse NUL, UTF-8 half a surrogate pair."""
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise Unauthenticated(f"the token's `sub` is not a printable text of 1 to {MAX_SUBJECT} characters")
    return subject


def _names_at(claims: Mapping[str, Any], path: str) -> list[str]:
    """A list, or a text with spaces. A claim that is itself called `path` comes first: `https://example.com/roles`."""
    found: Any = claims
    for part in [path] if path in claims else path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    names = found.split() if isinstance(found, str) else found
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
