"""Print messages for people: time, key, headers that matter, the value."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from ml_connector.cli.reading import read_topic
from ml_connector.common.kafka.record import Record
from ml_connector.common.settings import Settings
from ml_connector.common.topics import SECRETS, Topic

MAX_VALUE_CHARS = 2000


def run(settings: Settings, topic: Topic, *, from_beginning: bool, count: int, as_json: bool) -> None:
    """Until `count` messages were printed, or Ctrl-C."""
    name = topic.full_name(settings.topic_prefix)
    records = read_topic(settings.kafka(), name, follow=True, from_beginning=from_beginning)
    for number, record in enumerate(records, start=1):
        facts = readable(record, hide=topic is SECRETS)
        sys.stdout.write((json.dumps(facts) if as_json else _line(facts)) + "\n")
        sys.stdout.flush()
        if number == count:
            return


def readable(record: Record, *, hide: bool) -> dict[str, Any]:
    """One message as plain values."""
    value: Any = None
    if record.value is not None:
        value = "(encrypted)" if hide else _value(record.value)
    return {
        "time": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode("utf-8", "replace"),
        "headers": {name: content.decode("utf-8", "replace") for name, content in record.headers.items()},
        "value": value,
    }


def _value(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value.decode("utf-8", "replace")


def _line(facts: dict[str, Any]) -> str:
    value = "(deleted)" if facts["value"] is None else json.dumps(facts["value"])
    return f"{facts['time']} {facts['partition']}/{facts['offset']} {facts['key']}\n    {value[:MAX_VALUE_CHARS]}"
