"""A comparison: what NetSuite should hold by Pipedrive and the mapping, beside what it does hold.

The company's owner walks as for a sync (`SyncPage.purpose`), and asks the account's owner by `Compare`, in
`netsuite.requests`, key: the account, with `headers.KIND`. That one reads NetSuite, and tells by `Compared`, in
`audit`, key: `compared_key`. A comparison is no cause: it accepts nothing, writes nothing to NetSuite, and whatever is
compared twice is told under the same key.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ml_connector.common import cause
from ml_connector.common.codec import Wire
from ml_connector.common.covering import MAX_ID, pack
from ml_connector.common.drift import ASSERT_JOB
from ml_connector.common.generation import Generation
from ml_connector.common.keys import Entity, RecordType, is_source_id, record_key
from ml_connector.common.wire import Action, Parent, Reference

COMPARE: Final = b"compare"
CENSUS: Final = b"census"
MOST_RECORDS: Final = 500  # of one request: so many ids are asked for in one query
MOST_BYTES: Final = 1024 * 1024  # of one request

_KEY: Final = re.compile(r"([^/]+)/compared/(\w+)/(-?[0-9]{1,9})/([0-9]{1,9})\Z")

# What is wrong with one record. Who is equal is only counted.
Found = Literal[
    "missing",  # NetSuite has no record of that external id
    "different",  # some field
    "inactive",  # and should not be; fields may differ, too
    "active",  # though its object is deleted in Pipedrive
    "extra",  # a record of the flow's external ids whose object is not in Pipedrive
    "waiting",  # not all that is to be written has been: it says nothing yet
    "unknown",  # it cannot be compared (`reason`)
]
# What was done about it.
Did = Literal[
    "reported",
    "asserted",  # by the flow's policy: its desired state is written again (`asserted_by`)
    "given_up",  # it was asserted so often that something in NetSuite must change it each time
]
# Why, as far as the account's owner knows. A dead letter, only the audit knows.
Cause = Literal[
    "never_written",
    "deleted",  # in NetSuite, after it was written
    "edited",  # in NetSuite, after it was last written
    "filled",  # empty by Pipedrive, so left out of its creation: by NetSuite then, or by somebody since
    "not_sent",  # other than what was last sent: the mapping has changed, or an event was missed
    "not_deleted",  # written, and never inactivated: no event of its object's deletion came
]


class Expected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one record should be, as a desired state would say it."""

    source_id: str
    record_type: RecordType
    external_id: str
    generation: Generation
    action: Action
    fields: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    parent: Parent | None = None
    default_parent: str | None = None
    updated_ms: int = 0  # when Pipedrive says that the object last changed, in whole seconds; 0: it does not say

    def record_key(self, account: str) -> str:
        return record_key(account, self.record_type, self.external_id)


class Unmapped(msgspec.Struct, frozen=True):
    """An object of which nobody can say what its record should be. `source_id` is empty if it has none."""

    source_id: str
    reason: str


class Compare(Wire, frozen=True, tag_field="kind", tag="compare"):
    """Kind `compare`: one part of what a page of a walk held. All parts of a page together cover its objects."""

    job_id: str
    flow: str
    account: str
    entity: Entity
    page: int
    part: int  # counts from 1
    parts: int
    at_ms: int  # when the page was read
    first_page: int = 1  # with which the walk has last begun: what was told of pages before it is void
    records: tuple[Expected, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    held_back: tuple[str, ...] = ()  # custom fields that Pipedrive's definitions lack; what they give is not compared
    drift: bool = False  # do what the flow's policy says about what differs
    urgent: bool = False  # as of its SyncPage


class Census(Wire, frozen=True, tag_field="kind", tag="census"):
    """Kind `census`: which records of the flow's external ids NetSuite holds though no object is behind them.

    Told by a `Compared` of this `page`, which is not above 0, as it is none of the walk's: its `records` are all that
    NetSuite was found to hold. Several requests share a large entity: each is about ids above `above`, up to `up_to`
    (0: no limit).
    """

    job_id: str
    flow: str
    account: str
    entity: Entity
    page: int
    at_ms: int
    began_ms: int  # what was written since then says nothing
    above: int = 0
    up_to: int = 0
    covered: bytes = b""  # the ids of objects that were looked at, as `covering` packs them


class FieldDifference(msgspec.Struct, frozen=True, omit_defaults=True):
    """`should` as it would be sent, `holds` as SuiteQL shows it; both cut. `cut`: there was no room for them."""

    field: str
    should: Any = None
    holds: str | None = None
    cut: bool = False


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record that is not as it should be."""

    source_id: str
    external_id: str
    found: Found
    internal_id: str = ""
    fields: tuple[FieldDifference, ...] = ()
    causes: tuple[Cause, ...] = ()
    modified: str = ""  # last, as NetSuite's own clock shows it
    written_at_ms: int = 0  # by us, last
    reason: str = ""
    updated_ms: int = 0  # as of `Expected`
    did: Did = "reported"


class Compared(Wire, frozen=True):
    """Audit `compared_key`: what came of a Compare. `records` = `equal` + the differences, unless it `failed`.

    A part above the `parts` that part 1 tells of is of an earlier try of the page, which was read again.
    """

    job_id: str
    flow: str
    account: str
    entity: Entity
    page: int
    part: int
    parts: int
    at_ms: int
    first_page: int = 1
    records: int = 0
    equal: int = 0
    covered: bytes = b""  # the objects that the part is about, as `covering` packs them
    differences: tuple[Difference, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    not_comparable: dict[str, str] = {}  # field -> why; of the first that differ it was read singly
    failed: str = ""  # why nothing could be compared
    drift: bool = False


def not_compared(asked: Compare, at_ms: int, why: str) -> Compared:
    ids = [*(one.source_id for one in asked.records), *(one.source_id for one in asked.unmapped)]
    return Compared(
        job_id=asked.job_id,
        flow=asked.flow,
        account=asked.account,
        entity=asked.entity,
        page=asked.page,
        part=asked.part,
        parts=asked.parts,
        at_ms=at_ms,
        first_page=asked.first_page,
        records=len(asked.records),
        covered=pack(int(one) for one in ids if is_source_id(one) and int(one) <= MAX_ID),
        unmapped=asked.unmapped,
        failed=why,
        drift=asked.drift,
    )


def compared_key(asked: Compare | Compared) -> str:
    return str(ComparedKey(asked.job_id, asked.entity, asked.page, asked.part))


def not_counted(asked: Census, at_ms: int, why: str) -> Compared:
    return Compared(
        job_id=asked.job_id,
        flow=asked.flow,
        account=asked.account,
        entity=asked.entity,
        page=asked.page,
        part=1,
        parts=1,
        at_ms=at_ms,
        failed=why,
    )


class ComparedKey(NamedTuple):
    """Of an audit entry that is a `Compared`."""

    job_id: str
    entity: str
    page: int
    part: int

    def __str__(self) -> str:
        return f"{self.job_id}/compared/{self.entity}/{self.page}/{self.part}"

    @classmethod
    def parse(cls, text: str) -> ComparedKey | None:
        """None: it is another entry's."""
        found = _KEY.match(text)
        return None if found is None else cls(found[1], found[2], int(found[3]), int(found[4]))


def assert_job(asked: Compare | Compared) -> str:
    """The sync that asserts what differs; part of the causes of what it writes."""
    return f"{ASSERT_JOB}{asked.job_id}.{asked.page}.{asked.part}"


def asserted_by(asked: Compare | Compared, source_id: str) -> str:
    """The cause of such a write."""
    return cause.of_sync(assert_job(asked), asked.entity, source_id)
