"""`mlc pipedrive connect`: what is printed, for how long it waits, and how it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from unit.cli.conftest import Mlc, Service

ASK = "POST pipedrive/acme/connect"
URL = "https://oauth.pipedrive.com/oauth/authorize?client_id=c&redirect_uri=https%3A%2F%2Fops&state=" + "s" * 43
CONNECT = ("pipedrive", "connect", "acme")
BUSY = httpx2.Response(503, json={"problem": "the topics are not read to their ends", "details": []})


def asked(version: int = 1, *, ends_in_s: float = 600) -> dict[str, Any]:
    ends = datetime.now(UTC) + timedelta(seconds=ends_in_s)
    return {"authorize_url": URL, "expires_at": ends.isoformat(), "environment": "sandbox", "version": version}


def stored(version: int) -> dict[str, Any]:
    others = [{"key": "pipedrive/acme/oauth2-client", "version": 99}, {"key": "pipedrive/acme-2/oauth2", "version": 99}]
    return {"secrets": [*others, *([{"key": "pipedrive/acme/oauth2", "version": version}] if version else [])]}


def test_address_is_printed_alone_and_what_to_do_beside_it(service: Service, mlc: Mlc) -> None:
    service.put(ASK, asked())

    ran = mlc(*CONNECT, "--environment", "production", "--reason", "the first time")

    assert (ran.code, ran.out) == (0, f"{URL}\n")
    assert "logged in to acme in Pipedrive as an administrator" in ran.err and "for sandbox" in ran.err
    assert [one.body for one in service.asked] == [{"environment": "production", "reason": "the first time"}]


def test_wait_ends_with_a_newer_version(service: Service, mlc: Mlc) -> None:
    service.put(ASK, asked(version=3))
    service.put("GET secrets", stored(3), BUSY, stored(3), stored(4))

    ran = mlc(*CONNECT, "--wait")

    assert ran.code == 0
    assert ran.out == f"{URL}\nacme is connected: pipedrive/acme/oauth2 has version 4\n"


def test_first_grant_is_newer_than_none(service: Service, mlc: Mlc) -> None:
    service.put(ASK, asked(version=0))
    service.put("GET secrets", stored(0), stored(1))

    assert mlc(*CONNECT, "--wait").code == 0


def test_wait_ends_when_the_address_does(service: Service, mlc: Mlc) -> None:
    service.put(ASK, asked(ends_in_s=0.05))
    service.put("GET secrets", stored(1))

    ran = mlc(*CONNECT, "--wait")

    assert ran.code == 1 and "acme was not connected in time" in ran.err


def test_who_stops_waiting_is_told_that_it_goes_on(service: Service, mlc: Mlc) -> None:
    service.put(ASK, asked())
    service.put("GET secrets", KeyboardInterrupt())

    ran = mlc(*CONNECT, "--wait")

    assert ran.code == 130 and "the address stays good" in ran.err


@pytest.mark.parametrize(("more", "version"), [((), None), (("--wait",), 2)])
def test_json_is_one_object(service: Service, mlc: Mlc, more: tuple[str, ...], version: int | None) -> None:
    service.put(ASK, asked())
    service.put("GET secrets", stored(2))

    ran = mlc(*CONNECT, "--json", *more)

    assert ran.code == 0
    assert (ran.json["authorize_url"], ran.json["version"], ran.json["connected"]) == (URL, 1, version)


def test_what_the_service_refuses_is_said(service: Service, mlc: Mlc) -> None:
    problem = "the app's client id and client secret are not stored: mlc secrets set pipedrive/acme oauth2-client"
    service.put(ASK, {"problem": problem, "details": []}, status=409)

    ran = mlc(*CONNECT)

    assert (ran.code, ran.out) == (2, "") and problem in ran.err


@pytest.mark.parametrize("arguments", [("Acme/x",), ("acme", "--environment", "test")])
def test_what_is_written_wrongly_is_not_sent(service: Service, mlc: Mlc, arguments: tuple[str, ...]) -> None:
    assert mlc("pipedrive", "connect", *arguments).code == 2
    assert service.asked == []
