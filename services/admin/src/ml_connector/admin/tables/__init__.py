"""What the admin service keeps in SQL. All but `outbox`, `lease` and `connecting` can be rebuilt from the topics alone.

Times are ms since the epoch. A generation is two columns, compared in that order. `alembic` makes these tables from
`migrations/`; a test compares the two.
"""

from __future__ import annotations

from ml_connector.admin.tables.columns import metadata
from ml_connector.admin.tables.comparisons import compared, difference, drift, polled
from ml_connector.admin.tables.flows import active_flow, flow, flow_version, secret
from ml_connector.admin.tables.history import act, act_target, cause, named, newest, outcome, step
from ml_connector.admin.tables.letters import dead_letter, discarded, edited
from ml_connector.admin.tables.reading import connecting, lease, origin, outbox, position
from ml_connector.admin.tables.replays import job, job_item
from ml_connector.admin.tables.syncs import catch_up, deliveries, heard, schedule, sync, sync_walk
from ml_connector.admin.tables.work import accepted, observed, parked, standing, waiting

__all__ = [
    "accepted",
    "act",
    "act_target",
    "active_flow",
    "catch_up",
    "cause",
    "compared",
    "connecting",
    "dead_letter",
    "deliveries",
    "difference",
    "discarded",
    "drift",
    "edited",
    "flow",
    "flow_version",
    "heard",
    "job",
    "job_item",
    "lease",
    "metadata",
    "named",
    "newest",
    "observed",
    "origin",
    "outbox",
    "outcome",
    "parked",
    "polled",
    "position",
    "schedule",
    "secret",
    "standing",
    "step",
    "sync",
    "sync_walk",
    "waiting",
]
