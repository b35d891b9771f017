"""The judge of what we ask of the vendors lets nothing else through."""

from __future__ import annotations

import pytest

from support.allowed_requests import netsuite_strays, pipedrive_strays

RECORD = "/services/rest/record/v1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v2/organizations/5"),
        ("POST", "/api/v1/webhooks"),
        ("DELETE", "/api/v1/webhooks/7"),
        ("POST", "/oauth/token"),
    ],
)
def test_pipedrive_is_read(method: str, path: str) -> None:
    assert pipedrive_strays([{"method": method, "path": path}]) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v2/organizations"),
        ("PATCH", "/api/v2/deals/5"),
        ("DELETE", "/api/v2/persons/5"),
        ("PUT", "/api/v1/webhooks/7"),
        ("POST", "/api/v1/webhooks/7/more"),
    ],
)
def test_anything_else_at_pipedrive_is_a_stray(method: str, path: str) -> None:
    assert pipedrive_strays([{"method": method, "path": path}]) == [f"{method} {path}"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{RECORD}/customer/eid:pd-org-1"),
        ("POST", f"{RECORD}/opportunity"),
        ("PATCH", f"{RECORD}/contact/17"),
        ("POST", "/services/rest/query/v1/suiteql?limit=1"),
        ("POST", "/services/rest/auth/oauth2/v1/token"),
        ("GET", f"{RECORD}/metadata-catalog/customer"),
    ],
)
def test_three_record_types_are_written(method: str, path: str) -> None:
    assert netsuite_strays([{"method": method, "path": path}]) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{RECORD}/invoice/eid:pd-org-1"),
        ("POST", f"{RECORD}/customer/1/!transform/salesOrder"),
        ("POST", f"{RECORD}/customerPayment"),
        ("DELETE", "/services/rest/async/v1/job/1"),
        ("POST", "/app/site/hosting/restlet.nl"),
    ],
)
def test_anything_else_at_netsuite_is_a_stray(method: str, path: str) -> None:
    assert netsuite_strays([{"method": method, "path": path}]) == [f"{method} {path}"]
