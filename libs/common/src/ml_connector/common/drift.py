"""Drift: what people or scripts changed in NetSuite itself, and what is asked to find it.

A poll is a chain of `Poll` requests in `netsuite.requests`, each for one page of what NetSuite shows as changed; what
came of a page is told by `Polled`, in `audit`, key: `PolledKey`. A push is what NetSuite's own script sends of a
change (`read_pushed`); ingest passes it on untouched, kind `pushed`. From either the account's owner asks the company's
owner for a walk over the ids left, with `purpose: drift` (`syncing.py`): what differs is a `Compared` (`comparing.py`),
and by the flow's policy it is only reported, or asserted again by a forced sync of those ids.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from ml_connector.common.codec import Wire
from ml_connector.common.errors import Malformed
from ml_connector.common.keys import Entity, RecordType

POLL: Final = b"poll"
POLL_STOP: Final = b"poll-stop"
PUSHED: Final = b"pushed"

POLL_ROWS: Final = 1_000  # of one page: as many as SuiteQL gives (Oracle section_157909186990)
MOST_PUSHED: Final = 1_000  # records of one push
MOST_PUSHED_BYTES: Final = 256 * 1024  # some 200 bytes each
ASSERT_JOB: Final = "drift-"  # begins the job of each sync that asserts what was changed

Policy = Literal["report", "assert"]
# NetSuite calls customers by their stage, too.
_TYPES: Final[dict[str, RecordType]] = {
    "customer": "customer",
    "prospect": "customer",
    "lead": "customer",
    "contact": "contact",
    "opportunity": "opportunity",
}


class Poll(Wire, frozen=True, tag_field="kind", tag="poll"):
    """Kind `poll`: read one page of what changed, ask for its comparison, ask for the next page.

    `entities[0]` is read from `after_id` on; `page` counts over all of them. `again`: also what was compared since it
    changed.
    """

    job_id: str
    flow: str
    account: str
    entities: tuple[Entity, ...]
    at_ms: int
    since_ms: int
    page: int = 1
    after_id: str = ""  # NetSuite's
    again: bool = False
    token_share: float = 0.5  # as of a SyncPage


class PollStop(Wire, frozen=True, tag_field="kind", tag="poll-stop"):
    """Kind `poll-stop`: no further page of this poll is wanted."""

    job_id: str


class Polled(Wire, frozen=True):
    """Audit `PolledKey`: what one page held. `rows` = `known` + `strange` + `asked`, unless it `failed`."""

    job_id: str
    flow: str
    account: str
    entity: Entity
    page: int
    at_ms: int
    rows: int = 0
    known: int = 0  # compared already, since they changed
    strange: int = 0  # whose external id is not one of the flow's
    asked: int = 0  # handed on to be compared, as walk `walk_of`
    last: bool = False  # there is no further page
    failed: str = ""  # why it was not read; then it is the last


class PushedRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One record of a push: by its external id or, if it has none, by NetSuite's own."""

    record_type: str
    id: str | int = ""
    external_id: str | None = None
    last_modified_date: str | None = None  # ISO 8601 with its zone

    @property
    def type(self) -> RecordType | None:
        """None: not one of ours."""
        return _TYPES.get(self.record_type.lower())


class _Pushed(msgspec.Struct, frozen=True):
    records: list[PushedRecord]


_one: Final = msgspec.json.Decoder(PushedRecord)
_many: Final = msgspec.json.Decoder(_Pushed)


def read_pushed(body: bytes) -> list[PushedRecord]:
    """`{"records": [{"recordType": ..., "id": ..., "externalId": ...}, ...]}`, or one such record. Raises Malformed."""
    if len(body) > MOST_PUSHED_BYTES:
        raise Malformed(f"a push has {len(body)} bytes, at most {MOST_PUSHED_BYTES} are read")
    try:
        records = _many.decode(body).records
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            records = [_one.decode(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed("a push is no JSON with records, each with recordType, and id or externalId") from error
    if len(records) > MOST_PUSHED:
        raise Malformed(f"a push names {len(records)} records, at most {MOST_PUSHED} are taken")
    return records


class PolledKey(NamedTuple):
    """Of a `Polled` in the audit."""

    job_id: str
    page: int

    def __str__(self) -> str:
        return f"{self.job_id}/polled/{self.page}"


def is_polled(key: str) -> bool:
    """Whether an audit entry is a `Polled`."""
    return key.partition("/")[2].startswith("polled/")


def is_assertion(cause: str) -> bool:
    """Whether a record was written because it had been changed in NetSuite."""
    return cause.startswith(f"syn:{ASSERT_JOB}")


def walk_of(poll: Poll | Polled) -> str:
    """The job of the walk over what one page of a poll left to be compared."""
    return f"{poll.job_id}.{poll.page}"
