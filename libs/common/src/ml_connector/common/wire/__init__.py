"""What travels between the services. One struct per message; golden files in tests/data/wire keep them honest."""

from __future__ import annotations

from ml_connector.common.wire.audit import Act, ActKind, Outcome, Received, Resolved, Superseded, Try
from ml_connector.common.wire.desired import Desired, Origin, Parent, Reference, ReferenceKind
from ml_connector.common.wire.jobs import Edited, JobState, Mapping, ReplayItem, ReplayItems, ReplayJob
from ml_connector.common.wire.observed import Attempt, BatchJob, Doubt, Member, Observed, Settled, Standing
from ml_connector.common.wire.pipedrive import Hydrate, StoredBudget, StoredDefinitions, StoredStages
from ml_connector.common.wire.replies import Preview, Source, Step
from ml_connector.common.wire.words import NO_JSON, Action, Lane, OutcomeKind, Stage

__all__ = [
    "NO_JSON",
    "Act",
    "ActKind",
    "Action",
    "Attempt",
    "BatchJob",
    "Desired",
    "Doubt",
    "Edited",
    "Hydrate",
    "JobState",
    "Lane",
    "Mapping",
    "Member",
    "Observed",
    "Origin",
    "Outcome",
    "OutcomeKind",
    "Parent",
    "Preview",
    "Received",
    "Reference",
    "ReferenceKind",
    "ReplayItem",
    "ReplayItems",
    "ReplayJob",
    "Resolved",
    "Settled",
    "Source",
    "Stage",
    "Standing",
    "Step",
    "StoredBudget",
    "StoredDefinitions",
    "StoredStages",
    "Superseded",
    "Try",
]
