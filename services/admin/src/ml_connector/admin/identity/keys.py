"""The issuer's public keys: from a file, or by OpenID Connect discovery, fetched while requests go on.

In: the key id and the algorithm that a token names. Out: the published key of that id, bound to that algorithm.
Never: a key id as a path or an address; it only picks from what is published.
Sources: RFC 7517 (JWK), RFC 7518 section 6 (its members), OpenID Connect Discovery 1.0 sections 3 and 4.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import httpx2
import jwt
import msgspec

from ml_connector.admin.identity.roles import Unauthenticated
from ml_connector.common.clock import Clock
from ml_connector.common.errors import Malformed, TryLater
from ml_connector.common.logs import get_logger

log = get_logger()

FRESH_S: Final = 600.0  # so long a key that the issuer withdrew is still believed, if the issuer can be reached
PAUSE_S: Final = 10.0  # between two fetches: a flood of unknown key ids must not become one at the issuer
DEADLINE_S: Final = 5.0  # for both documents together; a browser's user still waits for it
MAX_DOCUMENT_BYTES: Final = 256 * 1024  # Entra's key set, the largest we know of, has about 20 KiB

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS: Final[dict[tuple[str, str | None], tuple[str, ...]]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}

# Key id, algorithm, key. An RSA key that names no algorithm (Entra's do not) fits several.
Published = dict[str, dict[str, jwt.PyJWK]]

Document = TypeVar("Document")


class Keys(Protocol):
    """Where a Verifier finds keys."""

    async def find(self, kid: str, *, algorithm: str) -> jwt.PyJWK:
        """Raises Unauthenticated for a key that is not published or not for `algorithm`, TryLater without any keys."""
        ...


class FileKeys:
    """A key set in a file. Looked at for each token, so that a key taken out of it is refused at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._published: Published | None = None
        self._changed_ns = -1
        self._reading = asyncio.Lock()

    async def find(self, kid: str, *, algorithm: str) -> jwt.PyJWK:
        async with self._reading:
            await self._read_if_changed()
        if self._published is None:
            raise TryLater(f"the public keys cannot be read: is {self._path.name} a JSON Web Key Set?")
        return pick(self._published, kid, algorithm)

    async def _read_if_changed(self) -> None:
        """Keep the former keys when the file is gone or broken: it may just be written."""
        try:
            changed_ns = (await asyncio.to_thread(self._path.stat)).st_mtime_ns
            if changed_ns != self._changed_ns:
                document = await asyncio.to_thread(self._path.read_bytes)
                self._changed_ns = changed_ns
                self._published = read_key_set(document)
        except (OSError, Malformed) as error:
            log.warning("keys_not_read", path=str(self._path), problem=_text_of(error))


class DiscoveredKeys:
    """The keys that an issuer's OpenID configuration leads to; the former ones while it does not answer."""

    def __init__(
        self,
        discovery_url: str,
        *,
        issuer: str,
        clock: Clock,
        client: httpx2.AsyncClient | None = None,
        tls: ssl.SSLContext | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`client`: somebody else's, who closes it; else one with `tls`."""
        self._url = discovery_url
        self._issuer = issuer
        self._clock = clock
        self._client = client or httpx2.AsyncClient(verify=tls or True)
        self._owns_client = client is None
        self._deadline_s = deadline_s
        self._published: Published | None = None
        self._fetched_s = -math.inf
        self._began_s = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str, *, algorithm: str) -> jwt.PyJWK:
        if self._published is None:
            await self._fetched()
        elif self._clock.monotonic_s() - self._fetched_s > FRESH_S:
            self._fetch_soon()
        if self._published is None:
            after_s = self._began_s + PAUSE_S - self._clock.monotonic_s()
            raise TryLater("the issuer's public keys cannot be fetched; the log says why", after_s=max(1.0, after_s))
        if kid not in self._published:
            await self._fetched()
        return pick(self._published, kid, algorithm)

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        if self._owns_client:
            await self._client.aclose()

    async def _fetched(self) -> None:
        """Wait for the fetch, if there may be one. Who stops waiting does not stop it for the others."""
        fetching = self._fetch_soon()
        if fetching is not None:
            await asyncio.wait([fetching])

    def _fetch_soon(self) -> asyncio.Task[None] | None:
        """The fetch that is going on; else a new one, but not within PAUSE_S of the last one's beginning."""
        if self._fetching is None or self._fetching.done():
            if self._clock.monotonic_s() - self._began_s < PAUSE_S:
                return None
            self._began_s = self._clock.monotonic_s()
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                self._published = await self._download()
            self._fetched_s = self._clock.monotonic_s()
        except Exception as error:  # noqa: BLE001  the top of a task; whatever it was, the next fetch may go better
            log.warning("keys_not_fetched", url=self._url, problem=_text_of(error))

    async def _download(self) -> Published:
        provider = _decoded(await self._get(self._url), _Provider)
        if provider.issuer != self._issuer:
            raise Malformed("the OpenID configuration is that of another issuer than MLC_ADMIN_ISSUER")
        if httpx2.URL(self._url).scheme == "https" and httpx2.URL(provider.jwks_uri).scheme != "https":
            raise Malformed("the OpenID configuration leads from https to something else")
        return read_key_set(await self._get(provider.jwks_uri))

    async def _get(self, url: str) -> bytes:
        """No redirect is followed. Nothing is unpacked either: some KiB could become gigabytes."""
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        body = bytearray()
        async with self._client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
            if answer.status_code != 200:
                raise Malformed(f"the issuer answers {answer.status_code}")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise Malformed(f"the issuer's document is larger than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(body)


class _Provider(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Description(msgspec.Struct):
    """What a key says of itself. `d` is there in private ones only."""

    kid: str
    kty: str
    use: str = "sig"
    alg: str | None = None
    crv: str | None = None
    d: str | None = None


def read_key_set(document: bytes) -> Published:
    """The keys that prove signatures, of those in the set. Raises Malformed if there are none."""
    published: Published = {}
    for entry in _decoded(document, _KeySet).keys:
        for kid, key in _usable(entry):
            published.setdefault(kid, {}).setdefault(key.algorithm_name, key)
    if not published:
        raise Malformed("the key set holds no public key with a `kid` that can prove signatures")
    return published


def _usable(entry: dict[str, Any]) -> list[tuple[str, jwt.PyJWK]]:
    """One for each algorithm. Never a private key: whoever can read it can sign."""
    try:
        said = msgspec.convert(entry, _Description)
        if not said.kid or said.use != "sig" or said.d is not None:
            return []
        fitting = _ALGORITHMS.get((said.kty, said.crv), ())
        return [(said.kid, jwt.PyJWK(entry, name)) for name in fitting if said.alg in {None, name}]
    except (msgspec.ValidationError, jwt.PyJWTError):
        return []  # of a kind that is not known here; the others may be


def pick(published: Published, kid: str, algorithm: str) -> jwt.PyJWK:
    """Raises Unauthenticated."""
    fitting = published.get(kid)
    if fitting is None:
        raise Unauthenticated("the token's key is none of the issuer's: get a new token")
    if algorithm not in fitting:
        raise Unauthenticated("the token's key is not for its algorithm")
    return fitting[algorithm]


def _decoded(document: bytes, kind: type[Document]) -> Document:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(f"not the JSON that {kind.__name__.strip('_')} should be") from error


def _text_of(error: Exception) -> str:
    return str(error) if isinstance(error, Malformed) else type(error).__name__
