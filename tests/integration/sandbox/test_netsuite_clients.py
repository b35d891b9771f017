"""Other people's clients, unmodified but for the host, and the push of a user event script."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from netsuite import Config, NetSuiteRestApi, TokenAuth
from netsuite.exceptions import NetsuiteAPIRequestError

from contract.netsuite.account import unique
from support.netsuite_standin import NetsuiteProcess

KEYS = {"consumer_key": "ck", "consumer_secret": "c&s", "token_id": "ti", "token_secret": "t/s"}


class LocalApi(NetSuiteRestApi):  # type: ignore[misc]  # it has no types
    """PyPI netsuite 0.12.0; only the host is another."""

    base = ""

    def _make_url(self, subpath: str) -> str:
        return f"{self.base}/services/rest{subpath}"


@pytest.fixture(scope="module")
def tls_netsuite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetsuiteProcess]:
    """The client signs nothing that is not HTTPS."""
    with NetsuiteProcess(tmp_path_factory.mktemp("tls")) as process, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(process.certificate))
        yield process


def client(netsuite: NetsuiteProcess, **changes: str) -> LocalApi:
    account = f"{unique('6').upper().replace('-', '_')}"
    netsuite.admin("POST", "accounts", {"account": account, **KEYS})
    api = LocalApi(Config(account=account, auth=TokenAuth(**(KEYS | changes))))
    api.base = netsuite.url
    return api


async def test_the_python_client_creates_reads_changes_and_queries(tls_netsuite: NetsuiteProcess) -> None:
    """Token-based authentication with query parameters in the signature."""
    api = client(tls_netsuite)
    body = {"companyName": "Ünique & Söhne", "subsidiary": {"id": "1"}}

    await api.put("/record/v1/customer/eid:pd-org-1", json=body)
    await api.patch("/record/v1/customer/eid:pd-org-1", json={"comments": "a b"})
    record = await api.get("/record/v1/customer/eid:pd-org-1", params={"expandSubResources": "true"})
    rows = await api.suiteql("SELECT id, companyname FROM customer WHERE externalid = 'pd-org-1'", limit=10)
    listed = await api.get("/record/v1/customer", params={"q": 'companyName CONTAIN "& S"', "limit": 5})
    schema = await api.jsonschema("customer")
    openapi = await api.openapi(["customer"])

    assert (record["companyName"], record["comments"]) == ("Ünique & Söhne", "a b")
    assert rows["items"] == [{"links": [], "id": record["id"], "companyname": "Ünique & Söhne"}]
    assert [item["id"] for item in listed["items"]] == [record["id"]]
    assert "companyName" in schema["properties"]
    assert list(openapi["components"]["schemas"]) == ["customer"]
    await api.delete("/record/v1/customer/eid:pd-org-1")
    with pytest.raises(NetsuiteAPIRequestError, match="404"):
        await api.get("/record/v1/customer/eid:pd-org-1")


@pytest.mark.parametrize("wrong", ["consumer_secret", "token_secret", "token_id", "consumer_key"])
async def test_a_wrong_signature_is_a_failed_login(tls_netsuite: NetsuiteProcess, wrong: str) -> None:
    with pytest.raises(NetsuiteAPIRequestError, match="INVALID_LOGIN"):
        await client(tls_netsuite, **{wrong: "x"}).get("/record/v1/customer")


async def test_a_signature_is_good_once_and_not_for_long(tls_netsuite: NetsuiteProcess) -> None:
    """Nonce and timestamp are checked."""
    api = client(tls_netsuite)
    first = await api.request("GET", "/record/v1/customer")
    signed = {"authorization": first.request.headers["authorization"]}

    again = tls_netsuite.http.get(str(first.request.url), headers=signed)
    tls_netsuite.admin("POST", "clock", {"advance_s": 600})
    try:
        late = await api.request("GET", "/record/v1/customer")
    finally:
        tls_netsuite.admin("POST", "clock", {"advance_s": -600})

    assert (first.status_code, again.status_code, late.status_code) == (200, 401, 401)


def test_a_script_tells_of_each_change(netsuite: NetsuiteProcess) -> None:
    """By the API or by a person in NetSuite's own pages; with the shared secret."""
    heard: list[tuple[str, dict[str, Any]]] = []
    enough = threading.Event()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append((self.headers["x-netsuite-shared-secret"], json.loads(body)))
            self.send_response(204)
            self.end_headers()
            if len(heard) == 3:
                enough.set()

        def log_message(self, *words: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        name = unique("7")
        account = netsuite.account(name, push_url=f"http://127.0.0.1:{server.server_port}/push", push_secret="s3cret")
        internal_id = account.create(externalId="pd-org-9")
        netsuite.admin("PATCH", f"records/{name}/customer/{internal_id}", {"comments": "by hand"})
        netsuite.admin("DELETE", f"records/{name}/customer/{internal_id}")
        assert enough.wait(10)
    finally:
        server.shutdown()
        server.server_close()

    assert {secret for secret, _ in heard} == {"s3cret"}
    assert sorted(body["event"] for _, body in heard) == ["create", "delete", "edit"]
    assert {(body["account"], body["recordType"], body["id"], body["externalId"]) for _, body in heard} == {
        (name, "customer", internal_id, "pd-org-9")
    }
