"""Where connections really go, over real TLS on loopback: both clients, with the connections that their services make."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ml_connector.common.clock import ManualClock
from ml_connector.common.connecting import proxy_for, transport_through
from ml_connector.common.directory import Directory
from ml_connector.common.settings import Settings
from ml_connector.common.vault import SecretEntry
from ml_connector.netsuite_writer.netsuite.connections import Connections
from ml_connector.netsuite_writer.netsuite.reading import Reply
from ml_connector.resolver.pipedrive.clients import PipedriveClients
from ml_connector.resolver.resolve import Book
from ml_connector.resolver.settings import ResolverSettings
from support.state_topic import StateTopic

NAME: Final = "vendor.test"
LOOPBACK: Final = "127.0.0.1"

Get = Callable[[str], Awaitable[Reply]]


# -- a vendor ------------------------------------------------------------------------------------------------------------


@dataclass
class Authority:
    """A certificate authority of our own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.certificate = _certificate("test authority", self.key.public_key(), signed_by=self)
        self.file = self.folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str) -> ssl.SSLContext:
        """TLS of a server with these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(names[0], key.public_key(), signed_by=self, names=names)
        file = self.folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _certificate(
    subject: str, key: ec.EllipticCurvePublicKey, *, signed_by: Authority, names: tuple[str, ...] = ()
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return builder.sign(signed_by.key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)


@dataclass
class Vendor:
    """Counts who reaches it; `location` sends everyone elsewhere."""

    port: int = 0
    location: str = ""
    connections: int = 0
    hosts: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().lower().split("\r\n")
                self.hosts += [line.removeprefix("host: ") for line in lines if line.startswith("host: ")]
                status = f"302 Found\r\nlocation: {self.location}" if self.location else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        except asyncio.IncompleteReadError:
            writer.close()


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, *, location: str = "") -> AsyncIterator[Vendor]:
    vendor = Vendor(location=location)
    server = await asyncio.start_server(vendor.serve, LOOPBACK, 0, ssl=tls)
    vendor.port = server.sockets[0].getsockname()[1]
    async with server:
        yield vendor


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# -- the ways to it --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def netsuite_records(settings: Settings, url: str) -> AsyncIterator[Get]:
    connections = Connections(url, tls=settings.tls(), allowed=settings.allowed_networks, timeout_s=5)
    yield lambda url: connections.request("GET", url, content=None, headers={"authorization": "Bearer CANARY"})
    await connections.close()


@asynccontextmanager
async def netsuite_tokens(settings: Settings, url: str) -> AsyncIterator[Get]:
    made = transport_through(
        proxy_for(url), tls=settings.tls(), limits=httpx2.Limits(), allowed=settings.allowed_networks
    )
    async with httpx2.AsyncClient(transport=made, timeout=5, follow_redirects=False) as http:
        yield http.get


async def _nowhere(_: SecretEntry) -> None:
    """No token is refreshed here."""


@asynccontextmanager
async def pipedrive(settings: Settings, url: str) -> AsyncIterator[Get]:
    own = ResolverSettings.load(**settings.model_dump())
    clock = ManualClock()
    clients = PipedriveClients(
        own,
        cast(Directory, None),
        Book(lambda _: None),
        clock,
        keep=_nowhere,
        standing=lambda company: StateTopic().standing(company, clock),
    )
    yield clients._http_for(url, "acme").get
    await clients.close()


@pytest.fixture(params=[netsuite_records, netsuite_tokens, pipedrive])
def way(request: pytest.FixtureRequest) -> Callable[[Settings, str], Any]:
    return cast(Callable[[Settings, str], Any], request.param)


def settings(**more: Any) -> Settings:
    return Settings.load(kafka_bootstrap_servers="nowhere:1", **more)


class Names:
    """A resolver whose answers are told beforehand; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.asked = 0
        self._answers = list(answers)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._resolve)

    async def _resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        assert host == NAME, "an address that was checked is not resolved again"
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(2, 1, 6, "", (address, port)) for address in answer.split()]


# -- TLS -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [LOOPBACK, "localhost"])
async def test_authority_of_our_own_is_trusted_when_its_file_is_named(
    way: Any, authority: Authority, host: str
) -> None:
    async with serving(authority.server(host)) as vendor:
        url = f"https://{host}:{vendor.port}"
        async with way(settings(ca_file=authority.file), url) as get:
            assert (await get(url)).status_code == 200


async def test_unknown_authority_is_refused(way: Any, authority: Authority) -> None:
    async with serving(authority.server(LOOPBACK)) as vendor:
        url = f"https://{LOOPBACK}:{vendor.port}"
        async with way(settings(), url) as get:
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await get(url)
        assert vendor.hosts == []


async def test_certificate_of_another_name_is_refused(way: Any, authority: Authority) -> None:
    async with serving(authority.server("other.test")) as vendor:
        url = f"https://{LOOPBACK}:{vendor.port}"
        async with way(settings(ca_file=authority.file), url) as get:
            with pytest.raises(httpx2.ConnectError, match="not valid for"):
                await get(url)
        assert vendor.hosts == []


# -- where names lead ------------------------------------------------------------------------------------------------------


async def test_name_that_leads_to_loopback_is_refused(
    way: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, LOOPBACK)
    async with serving(authority.server(NAME)) as vendor:
        url = f"https://{NAME}:{vendor.port}"
        async with way(settings(ca_file=authority.file), url) as get:
            with pytest.raises(httpx2.ConnectError, match="MLC_ALLOWED_NETWORKS"):
                await get(url)
        assert vendor.connections == 0


@pytest.mark.parametrize("host", ["10.255.255.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0x7f000001", "127.1"])
async def test_private_address_in_the_url_is_refused_before_connecting(way: Any, host: str) -> None:
    """Even those that a flow cannot name; and at once, so that nobody learns from the time what is there."""
    url = f"https://{host}:9"
    async with way(settings(), url) as get:
        with pytest.raises(httpx2.ConnectError, match=r"MLC_ALLOWED_NETWORKS|does not resolve|not a canonical"):
            await asyncio.wait_for(get(url), 2)


async def test_connection_goes_to_the_address_that_was_checked(
    way: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers otherwise when asked again is not asked again. TLS and Host still say the name; and what
    has a connection already resolves nothing."""
    names = Names(monkeypatch, LOOPBACK, "127.0.0.99")
    async with serving(authority.server(NAME)) as vendor:
        url = f"https://{NAME}:{vendor.port}"
        allowed = settings(ca_file=authority.file, allowed_networks=["127.0.0.0/8"])
        async with way(allowed, url) as get:
            answers = [await get(url), await get(url), await get(url)]

        assert [answer.status_code for answer in answers] == [200] * 3
        assert (vendor.connections, names.asked) == (1, 1)
        assert set(vendor.hosts) == {f"{NAME}:{vendor.port}"}


async def test_next_address_is_tried_when_one_does_not_answer(
    way: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, f"127.0.0.99 {LOOPBACK}")
    async with serving(authority.server(NAME)) as vendor:
        url = f"https://{NAME}:{vendor.port}"
        async with way(settings(ca_file=authority.file, allowed_networks=["127.0.0.0/8"]), url) as get:
            assert (await get(url)).status_code == 200


async def test_no_redirect_is_followed(way: Any) -> None:
    async with serving() as inside, serving(location=f"http://{LOOPBACK}:{inside.port}/secret") as vendor:
        url = f"http://{LOOPBACK}:{vendor.port}"
        async with way(settings(), url) as get:
            answer = await get(url)

        assert answer.status_code == 302
        assert inside.connections == 0


@pytest.mark.parametrize(("no_proxy", "through_proxy"), [("", True), ("vendor.test", False)])
async def test_proxy_of_the_environment_is_used_unless_the_host_is_excepted(
    way: Any, monkeypatch: pytest.MonkeyPatch, no_proxy: str, through_proxy: bool
) -> None:
    """The proxy resolves names then, so what we would have refused is its business (docs/unproven.md)."""
    Names(monkeypatch, "10.0.0.1")
    reached: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, LOOPBACK, 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://{LOOPBACK}:{port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        async with way(settings(), f"https://{NAME}") as get:
            with pytest.raises(httpx2.HTTPError):
                await get(f"https://{NAME}")

    assert [line.startswith(b"CONNECT vendor.test:443 ") for line in reached] == [True] * through_proxy
