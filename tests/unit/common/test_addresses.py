"""Where a flow may lead: what may stand in a base URL, and what a name may resolve to."""

from __future__ import annotations

import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.addresses import host_of, permitted
from ml_connector.common.errors import AddressRefused, InvalidSettings
from ml_connector.common.settings import Settings

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://acme.pipedrive.com", "acme.pipedrive.com"),
        ("https://ACME.Pipedrive.com:8443/gateway/v1", "acme.pipedrive.com"),
        ("https://93.184.216.34", "93.184.216.34"),
        ("https://[2606:2800:220:1::1]:443", "2606:2800:220:1::1"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("https://10.0.0.1", "10.0.0.1"),  # a setting says whether this network may be used
        ("http://127.0.0.1:8081", "127.0.0.1"),
        ("http://localhost:8081", "localhost"),
        ("http://[::1]:8081", "::1"),
    ],
)
def test_addresses_that_may_be_written(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "an address is https://<host>"),
        ("acme.pipedrive.com", "an address is https://<host>"),
        ("ftp://acme.pipedrive.com", "an address is https://<host>"),
        ("file:///etc/passwd", "an address is https://<host>"),
        ("https:acme.pipedrive.com", "an address is https://<host>"),
        ("https://a:b:c", "an address is https://<host>"),
        ("https://acme.test:", "an address is https://<host>"),
        ("https://acme.test:port", "an address is https://<host>"),
        ("https://acme.test?x=1", "letters, digits"),
        ("https://acme.test#x", "letters, digits"),
        ("https://acme.test:0", "a port is"),
        ("https://acme.test:65536", "a port is"),
        ("https://acme.test:" + "9" * 5000, "a port is"),
        ("https://acme.test/", "a path is"),
        ("https://acme.test/a/", "a path is"),
        ("https://acme.test//a", "a path is"),
        ("https://acme.test/../a", "a path is"),
        ("https://acme.test/%2e%2e/a", "a path is"),
        ("https://acme.test/a?x=1", "a path is"),
        ("https://user:secret@acme.test", "names no user"),
        ("https://acme.test@evil.test", "names no user"),
        ("https://acme.test/a@b", "names no user"),
        ("https://acme.test\\@evil.test", "backslashes"),
        (" https://acme.test", "no spaces"),
        ("https://acme.test ", "no spaces"),
        ("https://acme.test\n", "no spaces"),
        ("https://acme.test\x00", "no spaces"),
        ("https://acme.test\r\nHost: evil.test", "no spaces"),
        ("https://b\u00fccher.example", "xn--"),
        ("https://127\uff0e0.0.1", "xn--"),  # a full-width dot: some read it as 127.0.0.1
        ("https://\u2460\u2461\u2466.0.0.1", "xn--"),
        ("https://acme\u3002test", "xn--"),
        ("https://", "letters, digits"),
        ("https://.", "letters, digits"),
        ("https://acme.test.", "letters, digits"),
        ("https://127.0.0.1.", "letters, digits"),
        ("https://acme..test", "letters, digits"),
        ("https://-acme.test", "letters, digits"),
        ("https://acme-.test", "letters, digits"),
        ("https://ac*me.test", "letters, digits"),
        ("https://ac%6de.test", "letters, digits"),
        ("https://" + "a" * 64 + ".test", "letters, digits"),
        ("https://" + "a." * 127 + "test", "letters, digits"),
        ("https://2130706433", "four decimal"),
        ("https://0x7f000001", "four decimal"),
        ("https://0x7f.1", "four decimal"),
        ("https://127.1", "four decimal"),
        ("https://017700000001", "four decimal"),
        ("https://0177.0.0.1", "four decimal"),
        ("https://127.0.0.01", "four decimal"),
        ("https://127.0.0.0x1", "four decimal"),
        ("https://127.0.0.256", "four decimal"),
        ("https://1.2.3.4.5", "four decimal"),
        ("https://acme.0x", "four decimal"),
        ("https://[::ffff:127.0.0.1]", "not inside an IPv6"),
        ("https://[::ffff:7f00:1]", "not inside an IPv6"),
        ("https://[fe80::1%eth0]", "without a zone"),
        ("https://[127.0.0.1]", "IPv6 address"),
        ("https://[acme.test]", "IPv6 address"),
        ("https://[]", "IPv6 address"),
        ("https://::1", "an address is https://<host>"),
        ("http://acme.test", "plain http"),
        ("http://10.0.0.1", "plain http"),
        ("http://169.254.169.254", "plain http"),
        ("http://localhost.evil.test", "plain http"),
        ("http://127.0.0.1.evil.test", "plain http"),
        ("http://[::]:80", "plain http"),
        ("http://0.0.0.0", "plain http"),
    ],
)
def test_addresses_that_may_not_be_written(url: str, why: str) -> None:
    with pytest.raises(AddressRefused, match=why) as error:
        host_of(url)

    assert "secret" not in str(error.value).replace("mlc secrets set", "")


@given(st.text(max_size=40))
def test_anything_else_is_refused_or_a_plain_host(text: str) -> None:
    try:
        host = host_of(f"https://{text}")
    except AddressRefused:
        return

    assert host.isascii()
    assert not set(host) & set("@/\\?#%[] ")


NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104  refused, not listened on
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "2001::1",  # Teredo
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
]


@pytest.mark.parametrize("answer", NOT_PUBLIC)
def test_no_name_leads_to_a_private_address(answer: str) -> None:
    with pytest.raises(AddressRefused, match="MLC_ALLOWED_NETWORKS"):
        permitted("vendor.test", [answer], ())


@pytest.mark.parametrize("address", [text for text in NOT_PUBLIC if not text.startswith(("127.", "::1"))])
def test_an_address_is_no_better_when_it_stands_in_the_url(address: str) -> None:
    with pytest.raises(AddressRefused):
        permitted(address, [address], ())


@pytest.mark.parametrize("answer", [PUBLIC, "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"])
def test_public_addresses_may_be_connected_to(answer: str) -> None:
    assert permitted("vendor.test", [answer], ()) == [answer]


def test_one_private_answer_refuses_all() -> None:
    """Otherwise the one that answers first, or last, is a matter of luck."""
    with pytest.raises(AddressRefused, match=r"vendor\.test is at 10\.0\.0\.1"):
        permitted("vendor.test", [PUBLIC, "10.0.0.1"], ())


def test_name_without_an_address_is_refused() -> None:
    with pytest.raises(AddressRefused):
        permitted("vendor.test", [], ())


def test_allowed_network_opens_itself_alone() -> None:
    allowed = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]

    assert permitted("vendor.test", ["10.1.2.3", "fd00::1", "::ffff:10.0.0.1", PUBLIC], allowed)
    for other in ("192.168.1.1", "169.254.169.254", "fc00::1"):
        with pytest.raises(AddressRefused):
            permitted("vendor.test", [other], allowed)


def test_loopback_is_for_those_that_say_so() -> None:
    """`mlc up` reaches its stand-ins so; a name that only resolves to it does not."""
    assert permitted("127.0.0.1", ["127.0.0.1"], ())
    assert permitted("localhost", ["::1", "127.0.0.1"], ())
    for host, answer in (("vendor.test", "127.0.0.1"), ("localhost", PUBLIC), ("localhost", "10.0.0.1")):
        with pytest.raises(AddressRefused):
            permitted(host, [answer], ())


def settings(**more: object) -> Settings:
    return Settings.load(kafka_bootstrap_servers="nowhere:1", **more)


def test_tls_is_verified_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLC_VERIFY", "MLC_TLS_VERIFY", "MLC_INSECURE", "MLC_SSL_VERIFY", "PYTHONHTTPSVERIFY"):
        monkeypatch.setenv(name, "0")

    context = settings().tls()

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_ca_file_that_holds_none_stops_the_start(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(InvalidSettings, match="MLC_CA_FILE"):
        settings(ca_file=file).tls()


def test_allowed_networks_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLC_ALLOWED_NETWORKS", '["10.0.0.0/8", "fd00::/8"]')

    assert settings().allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize("text", ['["10.0.0.1/8"]', '["everything"]'])
def test_network_that_is_none_stops_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLC_ALLOWED_NETWORKS", text)

    with pytest.raises(InvalidSettings, match="MLC_ALLOWED_NETWORKS"):
        settings()
