"""Words that several messages share."""

from __future__ import annotations

from typing import Literal

import msgspec

Lane = Literal["live", "replay", "backfill"]

# What the writer shall make of a record. The last four only ever come of what was read.
Action = Literal[
    "upsert",  # NetSuite shall hold `fields`
    "inactivate",  # the object was deleted or merged away: the record stays, inactive (a lost opportunity)
    "ignore",  # the object was deleted, and the flow says to leave its record alone
    "gone",  # the object does not exist in Pipedrive
    "merged",  # the object now is part of `merged_to`
    "unmapped",  # the flow does not map this entity
    "rejected",  # the mapping does not fit the object (`reason`)
]

OutcomeKind = Literal["written", "superseded", "ignored", "dead_lettered"]

# Where a record failed: the stage is part of a dead letter and of its group.
Stage = Literal["decode", "map", "orphan", "write", "vendor"]

# The bytes of a JSON value that is not there (an empty default is left out on the wire).
NO_JSON = msgspec.Raw(b"")
