"""The alert rules fire when they should, on metrics that there are; each has a page whose commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML
from typer._click.exceptions import UsageError  # typer has its own click

from ml_connector.cli.dashboard import dashboard, document
from ml_connector.cli.main import app
from ml_connector.common.metrics import VOCABULARY
from support.postgres import Missing
from support.promtool import promtool

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["Symptom", "Check", "Act", "Verify"]
KUBECTL = {"get", "logs", "describe", "rollout", "scale"}
# What Prometheus adds to every series, and what belongs to a histogram.
ADDED = {"job", "le"}


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load((MONITORING / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panel_queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def checked(*arguments: str, folder: Path) -> str:
    """What promtool says, which must be content."""
    try:
        told = promtool(*arguments, folder=folder)
    except Missing as missing:
        pytest.skip(str(missing))
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout + told.stderr


# -- rules and queries -------------------------------------------------------------------------------------------------


def test_rules_are_what_prometheus_takes_and_fire_as_their_cases_say() -> None:
    assert f"{len(rules())} rules found" in checked("check", "rules", "alerts.yaml", folder=MONITORING)
    assert "SUCCESS" in checked("test", "rules", "alerts_test.yaml", folder=MONITORING)


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    cases = YAML(typ="safe").load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}

    assert fired == {rule["alert"] for rule in rules()}


def test_queries_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(panel_queries())]
    with (tmp_path / "queries.yaml").open("w") as file:
        YAML().dump({"groups": [{"name": "dashboard", "rules": recorded}]}, file)

    assert f"{len(recorded)} rules found" in checked("check", "rules", "queries.yaml", folder=tmp_path)


def unknown(query: str) -> set[str]:
    """Metrics that nobody exports, labels that none of the query's metrics has."""
    series: dict[str, tuple[str, ...]] = {}
    for metric in VOCABULARY:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        series |= {f"{metric.in_prometheus}{suffix}": metric.attributes for suffix in suffixes}
    names = set(re.findall(r"\bml_connector_\w+", query))
    labels = {attribute.replace(".", "_") for name in names for attribute in series.get(name, ())} | ADDED
    grouped = {one.strip() for found in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for one in found.split(",")}
    chosen = {one for found in re.findall(r"{([^}]*)}", query) for one in re.findall(r"(\w+)\s*[=!]", found)}
    return {name for name in names if name not in series} | ((grouped | chosen) - labels)


@pytest.mark.parametrize("query", [*(rule["expr"] for rule in rules()), *panel_queries()])
def test_query_names_only_metrics_and_labels_of_the_vocabulary(query: str) -> None:
    assert "ml_connector_" in query
    assert unknown(query) == set()


def test_a_typo_in_a_query_is_found() -> None:
    assert unknown('sum by (acount) (ml_connector_outcome_total{stage="x"})') == {
        "acount",
        "ml_connector_outcome_total",
        "stage",
    }


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(panel_queries())

    assert [metric.name for metric in VOCABULARY if metric.in_prometheus not in shown] == []


def test_dashboard_is_as_its_program_makes_it() -> None:
    told = (MONITORING / "dashboard.json").read_text()

    assert told == document(), "run: python -m ml_connector.cli.dashboard > deploy/monitoring/dashboard.json"


# -- runbooks ----------------------------------------------------------------------------------------------------------


def commands(page: str) -> Iterator[list[str]]:
    for block in re.findall(r"```\n(.*?)```", page, re.DOTALL):
        yield from (shlex.split(line) for line in block.splitlines())


def refuse_unknown(words: list[str]) -> None:
    """As `mlc` itself reads its arguments; nothing is done. Raises UsageError."""
    command: Any = typer.main.get_command(app)
    context = None
    rest = words[1:]
    while hasattr(command, "commands"):
        context = command.context_class(command, info_name=command.name, parent=context)
        name = rest.pop(0) if rest else ""
        command = command.get_command(context, name)
        if command is None:
            raise UsageError(f"{' '.join(words)}: no command {name!r}")
    command.parse_args(command.context_class(command, info_name=command.name, parent=context), rest)


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    alerts = {rule["alert"] for rule in rules()}

    assert {page.stem for page in RUNBOOKS.glob("*.md")} == alerts
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


@pytest.mark.parametrize("name", sorted(rule["alert"] for rule in rules()))
def test_page_says_what_to_do_with_commands_that_exist(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    metrics = {metric.in_prometheus for metric in VOCABULARY}

    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert set(re.findall(r"\bml_connector_\w+", page)) <= metrics
    for other in re.findall(r"\]\((\w+\.md)\)", page):
        assert (RUNBOOKS / other).exists()
    for words in commands(page):
        match words[0]:
            case "mlc":
                refuse_unknown(words)
            case "kubectl":
                assert words[1] in KUBECTL
            case "curl":
                assert re.fullmatch(r"http://POD:\d+/(livez|readyz|metrics)", words[-1])
            case other:
                pytest.fail(f"{other}: what is that?")


@pytest.mark.parametrize("line", ["mlc nothing", "mlc flows", "mlc flows list --al", "mlc doctor", "mlc dlq show a b"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(UsageError):
        refuse_unknown(line.split())
