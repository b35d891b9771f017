"""How long a service may take from SIGTERM to its end, by its own deadlines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ml_connector.common.kafka.transaction import COMMIT_TIMEOUT_S
from support import variables

FLUSH_S: Final = 10.0  # a producer's end (common/kafka/producer.py)
# What each does one after the other: settings that say how long.
STEPS: Final[dict[str, tuple[str, ...]]] = {
    "ingest": ("farewell_s", "drain_s"),
    "resolver": ("request_timeout_s",),  # the one under way
    "netsuite-writer": ("drain_s",),
    "admin": (),
}
AND_THEN_S: Final = {"netsuite-writer": COMMIT_TIMEOUT_S}  # of the last settlement


def drains_s(service: str, given: Mapping[str, object]) -> float:
    """With the variables that it is given; the settings' defaults else."""
    fields = variables.settings_of(service).model_fields
    steps_s = [float(str(given.get(f"MLC_{name}".upper(), fields[name].default))) for name in STEPS[service]]
    return sum(steps_s) + AND_THEN_S.get(service, 0.0) + FLUSH_S
