"""What the demo tells in the end: the sum, the latency, the story of one record, the dead letter, what to try next."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from ml_connector.cli.accounting import Account, sentences
from ml_connector.cli.reading import newest_by_key, read_topic
from ml_connector.common import topics
from ml_connector.common.dead_letters import DeadLetter

HERO = "Earlier than its company"  # the deal that arrived before its organization
SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """From ingest's receipt to the settled write, of events that were written."""

    p50_ms: float
    p99_ms: float


def latency_of(kafka: Mapping[str, str]) -> Latency:
    took = sorted(
        outcome["at_ms"] - outcome["received_at_ms"]
        for outcome in _outcomes(kafka)
        if outcome["outcome"] == "written" and not outcome["cause"].startswith("hyd:")
    )
    if not took:
        return Latency(0, 0)
    return Latency(statistics.median(took), took[min(len(took) - 1, int(len(took) * 0.99))])


def print_summary(kafka: Mapping[str, str], account: Account, latency: Latency, differences: list[str]) -> None:
    out = Console(highlight=False, soft_wrap=True)
    out.rule("accounting: every accepted event has exactly one fate")
    for line in sentences({"1234567_SB1": account}):
        out.print(line)
    out.rule("NetSuite, read back through its REST API")
    out.print("every record is as it should be" if not differences else f"{len(differences)} differences:")
    for line in differences[:SHOWN_DIFFERENCES]:
        out.print(f"  {line}", markup=False)
    out.print(f"latency from webhook to settled write: p50 {latency.p50_ms:.0f} ms, p99 {latency.p99_ms:.0f} ms")
    out.rule("the story of one record, from the audit topic")
    for line in story(kafka, HERO):
        out.print(line, markup=False)
    out.rule("what a person has to look at")
    for letter in dead_letters(kafka):
        out.print(f"  {letter.record_key}: {letter.code} at stage {letter.stage}: {letter.message}", markup=False)
    out.rule("what to try next")
    out.print("  mlc up                            everything in this terminal, until Ctrl-C")
    out.print("  mlc tail audit --from-beginning   with MLC_KAFKA_BOOTSTRAP_SERVERS from the ready line")
    out.print("  docs/architecture.md              the way of an event through the code")


def story(kafka: Mapping[str, str], name: str) -> list[str]:
    """Everything that happened to the record of the first event with this name."""
    entries = {key: json.loads(value) for key, value in newest_by_key(kafka, topics.AUDIT.full_name("")).items()}
    first = next((e for k, e in entries.items() if k.endswith("/received") and e.get("name") == name), None)
    if first is None:
        return [f"  no event of {name!r} is in the audit"]
    cause = first["cause"]
    steps = [entry | {"step": key.rpartition("/")[2]} for key, entry in entries.items() if key.startswith(f"{cause}/")]
    order = {"received": 0, "resolved": 1, "outcome": 2}
    return [_step(step) for step in sorted(steps, key=lambda step: order[step["step"]])]


def _step(entry: Mapping[str, Any]) -> str:
    at = _time(entry.get("at_ms") or entry["received_at_ms"])
    match entry["step"]:
        case "received":
            what = f"{entry['action']} of {entry['entity']} {entry['source_id']}, verified by {entry['verified_by']}"
            return f"  {at} received  {what}\n      trace {entry.get('trace')}"
        case "resolved":
            return f"  {at} resolved  to {entry['record_key']}\n      fields {', '.join(entry.get('fields', []))}"
    answer = f"NetSuite id {entry.get('internal_id')}" if entry.get("internal_id") else entry.get("reason", "")
    tries = [f"{t['method']} {t['path']} -> {t['status']} in {t['took_ms']} ms" for t in entry.get("tries", [])]
    return f"  {at} {entry['outcome']}   {answer}\n      {'; '.join(tries)}"


def dead_letters(kafka: Mapping[str, str]) -> list[DeadLetter]:
    topic = topics.DEAD_LETTERS.full_name("")
    return [DeadLetter.read(record.value, record.headers) for record in read_topic(kafka, topic)]


def _outcomes(kafka: Mapping[str, str]) -> list[dict[str, Any]]:
    audit = newest_by_key(kafka, topics.AUDIT.full_name(""))
    return [json.loads(value) for key, value in audit.items() if key.endswith("/outcome")]


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
