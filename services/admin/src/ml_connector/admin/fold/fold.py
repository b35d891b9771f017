"""Apply a batch of messages of one topic to the tables.

The tables are a function of what the topics hold: the order in which topics and partitions are read does not matter,
and what is read again changes nothing. Within a partition messages come in order. What cannot be read is logged and
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection

from ml_connector.admin.fold.audit import fold_audit
from ml_connector.admin.fold.companies import fold_state
from ml_connector.admin.fold.flows import fold_flows
from ml_connector.admin.fold.jobs import fold_jobs
from ml_connector.admin.fold.letters import fold_letters
from ml_connector.admin.fold.secrets import fold_secrets
from ml_connector.admin.fold.work import fold_deferred, fold_desired, fold_events, fold_observed
from ml_connector.common import topics
from ml_connector.common.kafka.record import Record
from ml_connector.common.topics import Topic

_FOLDS: Final[dict[Topic, Callable[[Connection, Sequence[Record]], None]]] = {
    topics.FLOWS: fold_flows,
    topics.SECRETS: fold_secrets,
    topics.EVENTS: fold_events,
    topics.PIPEDRIVE_REQUESTS: fold_events,
    topics.DEFERRED: fold_deferred,
    topics.STATE: fold_state,
    topics.DESIRED: fold_desired,
    topics.OBSERVED: fold_observed,
    topics.DEAD_LETTERS: fold_letters,
    topics.AUDIT: fold_audit,
    topics.JOBS: fold_jobs,
}

# The topics that the tables are made from.
READ: Final = tuple(_FOLDS)


def fold(connection: Connection, topic: Topic, records: Sequence[Record]) -> None:
    """In the caller's transaction."""
    if records:
        _FOLDS[topic](connection, records)
