"""The message that replays a dead letter."""

from __future__ import annotations

from ml_connector.admin.replay.issue import Impossible, Issued, issue
from ml_connector.common.dead_letters import DeadLetter

TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"


def letter(**more: object) -> DeadLetter:
    original = {
        "flow": b"acme-eu",
        "company": b"acme-eu",
        "account": b"1234567_SB1",
        "received-at-ms": b"1700000000000",
        "verified-by": b"hmac-sha256:k1",
        "cause": b"rpl:old:3",
        "replay-of": b"w:0",
        "revision": b"9",
        "lane": b"backfill",
    }
    facts = {"original": original, "body": b'{"meta":{}}', "mapping_version": 4, **more}
    return DeadLetter(
        cause="rpl:old:3", record_key="1234567_sb1/customer/pd-org-5", account="1234567_SB1", stage="write",
        code="USER_ERROR", message="no", topic="pipedrive.events", partition=1, offset=2, failed_at_ms=5, **facts,  # type: ignore[arg-type]  # a test's facts
    )  # fmt: skip


def issued(given: DeadLetter, version: int | None = None) -> Issued:
    message = issue(given, given.body, cause="rpl:new:0", revision=77, version=version, traceparent=TRACE)
    assert isinstance(message, Issued)
    return message


def test_event_goes_again_with_a_cause_and_a_revision_of_its_own() -> None:
    message = issued(letter())

    assert (message.company, message.value) == (b"acme-eu", b'{"meta":{}}')
    assert message.headers == {
        "flow": b"acme-eu",
        "company": b"acme-eu",
        "account": b"1234567_SB1",
        "received-at-ms": b"1700000000000",
        "verified-by": b"hmac-sha256:k1",
        "cause": b"rpl:new:0",
        "replay-of": b"rpl:old:3",
        "revision": b"77",
        "lane": b"replay",
        "traceparent": TRACE.encode(),
    }


def test_original_mapping_travels_by_its_version() -> None:
    assert issued(letter(), version=4).headers["mapping-version"] == b"4"
    assert "mapping-version" not in issued(letter()).headers


def test_object_that_was_read_keeps_what_says_so() -> None:
    kept = {**letter().original, "object": b"deal/5", "generation": b"17.0"}
    message = issued(letter(original=kept))

    assert (message.headers["object"], message.headers["generation"]) == (b"deal/5", b"17.0")


def test_letter_without_a_company_or_a_body_cannot_be_replayed() -> None:
    homeless, empty = letter(original={}), letter(body=b"")

    for given, words in ((homeless, "company"), (empty, "too large")):
        found = issue(given, given.body, cause="rpl:new:0", revision=1, version=None, traceparent=TRACE)
        assert isinstance(found, Impossible) and words in found.why
