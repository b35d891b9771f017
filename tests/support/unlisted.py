"""In CI, a skip, an xfail or a rerun must be listed in tests/allowed_skips.toml with its reason, or the run fails."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parent.parent / "allowed_skips.toml"
WATCHED = ("skipped", "xfailed", "xpassed", "rerun")


def unlisted(reports: dict[str, list[str]], allowed: dict[str, str]) -> list[str]:
    """The tests that did not simply run, and that nobody has given a reason for."""
    return [f"{kind}: {test}" for kind, tests in reports.items() for test in tests if not allowed.get(test)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _unlisted_of(terminalreporter.config):
        terminalreporter.write_line(f"not listed in {ALLOWED.name}: {line}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") and _unlisted_of(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unlisted_of(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return []
    reports = {kind: [r.nodeid for r in reporter.stats.get(kind, [])] for kind in WATCHED}
    return unlisted(reports, tomllib.loads(ALLOWED.read_text()).get("allowed", {}))
