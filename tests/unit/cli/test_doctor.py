"""`mlc doctor`: what a person reads, and what a script learns."""

from __future__ import annotations

from typing import Any

import pytest

from ml_connector.cli.doctor import exit_code, summary
from unit.cli.conftest import Mlc, Service

PATH = "POST flows/acme-eu/check"


def finding(check: str, result: str, says: str = "as it should be", fix: str = "", took_ms: int = 12) -> dict[str, Any]:
    return {"check": check, "result": result, "says": says, "fix": fix, "took_ms": took_ms}


def answer(*findings: dict[str, Any]) -> dict[str, Any]:
    ok = all(one["result"] != "failed" for one in findings)
    return {"flow": "acme-eu", "version": 3, "environment": "sandbox", "ok": ok, "findings": list(findings)}


GOOD = finding("netsuite.address", "ok")
WARNING = finding("netsuite.tba", "warning", "TBA ends", "use OAuth 2.0")
FAILED = finding("netsuite.authentication", "failed", "NetSuite does not know the certificate", "upload it", 340)
SKIPPED = finding("netsuite.currencies", "skipped", "not looked at", took_ms=0)


@pytest.mark.parametrize(
    ("findings", "code", "strict"),
    [
        ([GOOD], 0, 0),
        ([GOOD, WARNING], 0, 1),
        ([GOOD, FAILED, SKIPPED], 1, 1),
        ([GOOD, SKIPPED], 0, 1),
        ([], 0, 0),
    ],
)
def test_exit_codes(findings: list[dict[str, Any]], code: int, strict: int) -> None:
    assert exit_code(answer(*findings), strict=False) == code
    assert exit_code(answer(*findings), strict=True) == strict


def test_each_finding_is_a_line_with_its_time_and_the_fix(service: Service, mlc: Mlc) -> None:
    service.put(PATH, answer(GOOD, FAILED, SKIPPED))

    ran = mlc("doctor", "acme-eu")

    lines = ran.out.splitlines()
    assert ran.code == 1
    assert lines[0] == "flow acme-eu, version 3, sandbox"
    assert lines[1].split() == ["ok", "netsuite.address", "12", "ms", "as", "it", "should", "be"]
    assert lines[2].startswith("FAILED") and "340 ms  NetSuite does not know the certificate" in lines[2]
    assert lines[3].strip() == "fix: upload it"
    assert lines[-1] == "1 ok, 1 failed, 1 skipped"


def test_summary_counts() -> None:
    assert summary(answer(GOOD, WARNING, WARNING)) == "1 ok, 2 warnings"


def test_what_the_vendors_say_cannot_act_on_the_terminal(service: Service, mlc: Mlc) -> None:
    service.put(PATH, answer(finding("netsuite.authentication", "failed", "\x1b[2Jno\nname", "\x1b]0;x\x07")))

    ran = mlc("doctor", "acme-eu")

    assert "\x1b" not in ran.out and "\x07" not in ran.out


def test_json_is_the_services_answer(service: Service, mlc: Mlc) -> None:
    service.put(PATH, answer(GOOD, FAILED))

    ran = mlc("doctor", "acme-eu", "--json")

    assert (ran.code, ran.json) == (1, answer(GOOD, FAILED))


def test_name_that_could_be_another_path_is_refused(service: Service, mlc: Mlc) -> None:
    assert mlc("doctor", "../replays").code == 2
    assert service.asked == []


def test_unknown_flow_says_so(service: Service, mlc: Mlc) -> None:
    service.put(PATH, {"problem": "there is no flow 'acme-eu'", "details": []}, status=404)

    assert (mlc("doctor", "acme-eu").code, mlc("doctor", "acme-eu").err) == (2, "mlc: there is no flow 'acme-eu'\n")
