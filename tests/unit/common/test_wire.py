"""What travels must be readable by other releases: golden files, recorded once and read over; changing one breaks them."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import ml_connector.common
from ml_connector.common.asking import (
    AtIngest,
    AtTheDoor,
    Check,
    Checked,
    Draft,
    Finding,
    ListedIds,
    ListIds,
    Refused,
    Subscribed,
    Subscription,
    Webhooks,
)
from ml_connector.common.catch_up import CatchUp, Gap, Heard, Run
from ml_connector.common.codec import Wire, decode_json
from ml_connector.common.comparing import Census, Compare, Compared, Difference, Expected, FieldDifference, Unmapped
from ml_connector.common.deliveries import Deliveries
from ml_connector.common.drift import Poll, Polled, PollStop
from ml_connector.common.errors import Malformed, UnknownSchema
from ml_connector.common.flows import ActiveFlow, FlowVersion
from ml_connector.common.generation import Generation
from ml_connector.common.schedule_job import ScheduleEntry, Turn
from ml_connector.common.sync_job import SyncJob, Walked
from ml_connector.common.syncing import Progress, SyncControl, SyncPage, SyncState
from ml_connector.common.vault import SecretEntry
from ml_connector.common.wire import (
    Act,
    Attempt,
    BatchJob,
    Desired,
    Doubt,
    Edited,
    Hydrate,
    Member,
    Observed,
    Origin,
    Outcome,
    Parent,
    Preview,
    Received,
    Reference,
    ReplayItem,
    ReplayItems,
    ReplayJob,
    Resolved,
    Settled,
    Standing,
    StoredBudget,
    StoredDefinitions,
    StoredStages,
    Superseded,
    Try,
)

GOLDEN = Path(__file__).parents[2] / "data" / "wire"
MEMBERS = GOLDEN.with_name("wire_members.json")  # recorded: of each message and what is in it
KEY = "1234567_sb1/opportunity/pd-deal-8"

EXAMPLES: dict[str, Wire] = {
    "desired": Desired(
        cause="4710827:df47d877",
        flow="acme-eu",
        company="acme-eu",
        account="1234567_SB1",
        entity="deal",
        source_id="8",
        record_type="opportunity",
        external_id="pd-deal-8",
        generation=Generation(1669302715724),
        action="upsert",
        mapping_version=3,
        origin=Origin("pipedrive.events", 1, 42, 1669302715900, {"flow": "acme-eu"}, msgspec.Raw(b'{"a":1}')),
        fields={"title": "Sample", "projectedTotal": Decimal("100.10"), "memo": None},
        references={"currency": Reference("currency", "EUR")},
        parent=Parent("1234567_sb1/customer/pd-org-1", "organization", "1"),
    ),
    "observed": Observed(
        record_key=KEY,
        flow="acme-eu",
        generation=Generation(5, 1),
        cause="1:a",
        outcome="written",
        action="upsert",
        at_ms=7,
        internal_id="647",
        digest="d1",
        settled=(Settled("1:a", 7),),
    ),
    "observed_asserted": Observed(
        record_key=KEY,
        flow="acme-eu",
        generation=Generation(5, 1),
        cause="syn:drift-push-1.1.1:deal:8",
        outcome="written",
        action="upsert",
        at_ms=7,
        internal_id="647",
        asserted=(7,),
    ),
    "attempt": Attempt(
        record_key=KEY,
        flow="acme-eu",
        entity="deal",
        source_id="8",
        company="acme-eu",
        generation=Generation(5),
        at_ms=6,
        owner="o1",
        doubts=(Doubt(Generation(4), 3),),
    ),
    "batch_job": BatchJob(
        idempotency_key="k1",
        account="1234567_SB1",
        record_type="opportunity",
        members=(Member(f"{KEY}#5#1:a", "acme-eu", "acme-eu", "deal", "8"),),
        at_ms=6,
        owner="o1",
        job_id="12",
    ),
    "standing": Standing(state="suspended", reason="NetSuite refuses the credentials", at_ms=8),
    "hydrate": Hydrate(
        request_id="r1",
        flow="acme-eu",
        entity="organization",
        source_id="1",
        lane="live",
        reason="unknown parent",
        at_ms=9,
    ),
    "sync_page": SyncPage(
        job_id="j1",
        flow="acme-eu",
        entity="deal",
        at_ms=9,
        page=4,
        shelf="archived",
        cursor="eyJp",
        updated_since="2026-11-20T10:00:00Z",
        token_share=0.5,
        stop_after=100,
        progress=Progress(pages=3, read=1500, desired=1499, rejected=1, tokens=30, faults={"no stage": 1}),
    ),
    "drift_page": SyncPage(
        job_id="push-1",
        flow="acme-eu",
        entity="deal",
        at_ms=9,
        ids=("7", "8"),
        purpose="drift",
        urgent=True,
        unfollowed=True,
    ),
    "poll": Poll(
        job_id="41c7d09ab2f5",
        flow="acme-eu",
        account="1234567_SB1",
        entities=("person", "deal"),
        at_ms=9,
        since_ms=5,
        page=2,
        after_id="647",
        again=True,
    ),
    "poll_stop": PollStop(job_id="41c7d09ab2f5"),
    "polled": Polled(
        job_id="41c7d09ab2f5",
        flow="acme-eu",
        account="1234567_SB1",
        entity="person",
        page=2,
        at_ms=10,
        rows=4,
        known=2,
        strange=1,
        asked=1,
        last=True,
    ),
    "compare": Compare(
        job_id="j1",
        flow="acme-eu",
        account="1234567_SB1",
        entity="person",
        page=4,
        part=1,
        parts=2,
        at_ms=9,
        first_page=2,
        records=(
            Expected(
                source_id="7",
                record_type="contact",
                external_id="pd-person-7",
                generation=Generation(5),
                action="upsert",
                fields={"lastName": "B", "phone": None},
                references={"owner": Reference("employee", "a@b.example")},
                parent=Parent("1234567_sb1/customer/pd-org-1", "organization", "1"),
            ),
        ),
        unmapped=(Unmapped("8", "no stage"),),
        held_back=("Tier",),
    ),
    "drift_compare": Compare(
        job_id="push-1",
        flow="acme-eu",
        account="1234567_SB1",
        entity="person",
        page=1,
        part=1,
        parts=1,
        at_ms=9,
        unmapped=(Unmapped("8", "no stage"),),
        drift=True,
        urgent=True,
    ),
    "drift_compared": Compared(
        job_id="push-1",
        flow="acme-eu",
        account="1234567_SB1",
        entity="person",
        page=1,
        part=1,
        parts=1,
        at_ms=10,
        records=2,
        equal=1,
        differences=(Difference("7", "pd-person-7", "missing", causes=("deleted",), did="asserted"),),
        drift=True,
    ),
    "census": Census(
        job_id="j1",
        flow="acme-eu",
        account="1234567_SB1",
        entity="person",
        page=-1,
        at_ms=9,
        began_ms=5,
        above=7,
        up_to=70,
        covered=b"packed",
    ),
    "compared": Compared(
        job_id="j1",
        flow="acme-eu",
        account="1234567_SB1",
        entity="person",
        page=4,
        part=1,
        parts=2,
        at_ms=10,
        first_page=2,
        records=2,
        equal=1,
        covered=b"packed",
        differences=(
            Difference(
                source_id="7",
                external_id="pd-person-7",
                found="different",
                internal_id="101",
                fields=(FieldDifference("lastName", "B", "C"),),
                causes=("edited",),
                modified="2026-11-24 10:00:00",
                written_at_ms=3,
            ),
        ),
        unmapped=(Unmapped("8", "no stage"),),
        not_comparable={"terms": "ml-connector knows no SuiteQL column that shows it"},
    ),
    "sync_control": SyncControl(job_id="j1", flow="acme-eu", entity="deal", to="running", at_ms=9, stop_after=0),
    "sync_job": SyncJob(
        job_id="41c7d09ab2f5",
        version=4,
        flow="acme-eu",
        company="acme-eu",
        account="1234567_SB1",
        state="paused",
        created_at_ms=5,
        changed_at_ms=9,
        actor="anna",
        reason="a new mapping",
        mode="since",
        entities=("organization", "deal"),
        since="2026-07-28T01:00:00Z",
        until="2026-07-28T03:00:00Z",
        token_share=0.3,
        force=True,
        stop_after=5,
        why="5 objects were rejected",
        answered_ms=7,
        walked={"organization": Walked("done", 6, 8, Progress(pages=1, read=2, desired=2, tokens=10))},
        plan={"tokens": 30},
    ),
    "sync_state": SyncState(
        job_id="j1",
        flow="acme-eu",
        entity="deal",
        state="running",
        started_at_ms=1,
        changed_at_ms=8,
        progress=Progress(pages=1, read=500, desired=500, tokens=10),
        reason="syncs may spend 12000 tokens of Pipedrive's in 24 hours: spent",
        until_ms=99,
        next=SyncPage(job_id="j1", flow="acme-eu", entity="deal", at_ms=7, page=2, cursor="eyJp", ids=("7", "8")),
    ),
    "definitions": StoredDefinitions(company="acme-eu", entity="deal", read_at_ms=1, fields=[{"field_code": "ab"}]),
    "budget": StoredBudget(company="acme-eu", spent={490000: 120}),
    "stages": StoredStages(company="acme-eu", read_at_ms=1, pipelines=[{"id": 1}], stages=[{"id": 2}]),
    "received": Received(
        cause="1:a",
        flow="acme-eu",
        company="acme-eu",
        account="1234567_SB1",
        received_at_ms=1,
        verified_by="hmac-sha256:k1",
        topic="pipedrive.events",
        partition=0,
        offset=1,
        body=msgspec.Raw(b"{}"),
    ),
    "resolved": Resolved(
        cause="1:a",
        flow="acme-eu",
        account="1234567_SB1",
        record_key=KEY,
        generation=Generation(5),
        action="upsert",
        mapping_version=1,
        at_ms=2,
        fields=["title"],
    ),
    "outcome": Outcome(
        cause="1:a",
        flow="acme-eu",
        company="acme-eu",
        account="1234567_SB1",
        record_key=KEY,
        outcome="superseded",
        received_at_ms=1,
        at_ms=3,
        superseded_by=Superseded(Generation(6), "1:b"),
        tries=[Try(2, 1, "PUT", "opportunity/eid:pd-deal-8", 429, "CONCURRENCY_LIMIT_EXCEEDED", "blocked")],
    ),
    "act": Act(
        act_id="a1",
        at_ms=4,
        actor="jo@example.com",
        role="operator",
        act="replay.create",
        reason="the field exists now",
        targets=("j1",),
        detail={"letters": 2},
    ),
    "replay_job": ReplayJob(
        job_id="j1",
        version=3,
        state="paused",
        created_at_ms=4,
        changed_at_ms=9,
        actor="jo@example.com",
        reason="the field exists now",
        selection={"stage": "map"},
        total=2,
        issued=1,
        why="1 records failed again",
        mapping="original",
        rate_per_s=2.5,
        stop_after=1,
    ),
    "replay_items": ReplayItems(
        job_id="j1",
        first=0,
        items=(
            ReplayItem("l1", KEY, "1234567_SB1", 1, 7, 1669302715900),
            ReplayItem("l2", KEY, "1234567_SB1", 1, 8, 1669302715901, "discarded"),
        ),
    ),
    "edited": Edited(
        letter_id="l1", version=1, body=b'{"a":1}', at_ms=5, actor="jo@example.com", reason="the name was empty"
    ),
    "preview": Preview(
        request_id="q1",
        result="desired",
        record_key=KEY,
        generation=Generation(5, 7),
        action="upsert",
        mapping_version=3,
        fields={"title": "Sample", "projectedTotal": Decimal("100.10"), "memo": None},
        references={"currency": Reference("currency", "EUR")},
        parent=Parent("1234567_sb1/customer/pd-org-1", "organization", "1"),
        held_back=["Rank"],
    ),
    "preview_of_a_dead_letter": Preview(
        request_id="q2", result="dead_lettered", record_key=KEY, stage="map", reason="required, but empty"
    ),
    "flow_version": FlowVersion(
        flow="acme-eu", version=2, document={"flow": "acme-eu"}, applied_at_ms=1, applied_by="x"
    ),
    "active_flow": ActiveFlow(flow="acme-eu", version=2, paused=True),
    "check": Check(flow="acme-eu", document={"flow": "acme-eu"}),
    "checked": Checked(findings=(Finding("netsuite.token", "failed", "401", "grant it anew", 12),)),
    "draft": Draft(document={"flow": "acme-eu"}, event=msgspec.Raw(b'{"a":1}')),
    "webhooks": Webhooks(flow="acme-eu", url="https://hooks.example.com", install=True, renew="2026-11-28"),
    "subscribed": Subscribed(
        address="https://hooks.example.com/webhooks/pipedrive/acme-eu",
        subscriptions=(Subscription(1, "deal", "*", "https://hooks.example.com", ours=True, last_status=204),),
        created=(Subscription(1, "deal", "*", "https://hooks.example.com", ours=True),),
    ),
    "list_ids": ListIds(flow="acme-eu", entity="deal", shelf="archived", cursor="c1", token_share=0.25),
    "listed_ids": ListedIds(ids=("1", "2"), cursor="c2", tokens=20),
    "listed_no_ids": ListedIds(),
    "at_ingest": AtIngest(
        instance="i1",
        at_ms=9,
        flows={"acme-eu": AtTheDoor(("hmac-sha256:k1",), 8, (Refused("signature", 2, 7),), (3, 4), 5)},
        began_ms=1,
        left=True,
    ),
    "catch_up": CatchUp(
        flow="acme-eu",
        version=2,
        seen_ms=9,
        gap=Gap(1, 5, open=False, why="banned"),
        runs=(Run("r1", 1, 5, "banned", 6, "search", changes="syn-1", known=10, missing=1, tokens=20),),
    ),
    "heard": Heard(up_ms=9, down_from_ms=3, down_to_ms=4),
    "deliveries": Deliveries(flow="acme-eu", looked_ms=9, well_ms=1, bad_from_ms=2, bad_to_ms=3, why="banned"),
    "schedule": ScheduleEntry(
        flow="acme-eu",
        kind="sync",
        version=2,
        cron="*/15 * * * *",
        time_zone="UTC",
        jitter_s=30,
        seen_ms=9,
        turns=(Turn(8, 9, "started", "syn-1"),),
    ),
    "secret": SecretEntry(
        owner="flow/acme-eu",
        name="webhook-hmac",
        environment="sandbox",
        version=1,
        kek="k1",
        wrapped_key="AA==",
        ciphertext="AQ==",
    ),
}


def test_every_message_has_a_golden_file() -> None:
    for module in pkgutil.walk_packages(ml_connector.common.__path__, "ml_connector.common."):
        importlib.import_module(module.name)

    ours = {kind for kind in Wire.__subclasses__() if kind.__module__.startswith("ml_connector.")}
    assert ours - {type(example) for example in EXAMPLES.values()} == set()
    assert {path.stem for path in GOLDEN.glob("*.json")} == EXAMPLES.keys()


def members(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Those of an array in their order."""
    found: dict[str, Any] = {"array": kind.__struct_config__.array_like, "required": [], "else": {}}
    for member in msgspec.structs.fields(kind):
        if member.required:
            found["required"].append(member.name)
            continue
        made = member.default if member.default is not msgspec.NODEFAULT else member.default_factory()
        found["else"][member.name] = (
            bytes(made).decode() if isinstance(made, msgspec.Raw) else msgspec.to_builtins(made)
        )
    return found


def parts_of(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """Itself, and every struct within it."""
    shape = repr(msgspec.inspect.type_info(kind))
    within = re.findall(r"StructType\(cls=<class '([\w.]+)'>", shape)
    return {getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in within}


def test_absent_members_mean_what_they_meant() -> None:
    """A default is not on the wire: another one, or another name, changes what is in the topics. Record what is new."""
    kinds = set().union(*(parts_of(type(example)) for example in EXAMPLES.values()))
    now = {kind.__name__: members(kind) for kind in kinds}

    assert json.loads(json.dumps(now)) == json.loads(MEMBERS.read_bytes())


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_file_is_written_and_read_the_same(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")
    example = EXAMPLES[name]

    assert example.encode() == golden
    assert type(example).decode(golden).encode() == golden


@pytest.mark.parametrize("name", EXAMPLES)
def test_unknown_member_is_tolerated(name: str) -> None:
    """A newer service adds members; an older one must go on."""
    golden = (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")
    longer = golden[:-1] + b',"added_later":{"x":[1]}}'

    assert type(EXAMPLES[name]).decode(longer).encode() == golden


@pytest.mark.parametrize("name", EXAMPLES)
def test_unknown_schema_version_is_refused_by_name(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes()
    kind = type(EXAMPLES[name])

    with pytest.raises(UnknownSchema, match=f"{kind.__name__} has schema version 99; this release knows up to 1"):
        kind.decode(golden.replace(b'{"v":1', b'{"v":99', 1))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'{"v":1}', b'{"v":1,"cause":7}', b"[" * 100_000, b"\xff"])
def test_what_is_no_message_is_malformed_without_its_values(data: bytes) -> None:
    with pytest.raises(Malformed, match="not a Desired"):
        Desired.decode(data)


def test_refused_value_is_not_quoted() -> None:
    """Errors go into logs; customer values must not."""
    data = EXAMPLES["desired"].encode().replace(b'"deal"', b'"Jane Doe"', 1)

    with pytest.raises(Malformed) as error:
        Desired.decode(data)

    assert "Jane" not in str(error.value)


def test_amounts_stay_exact() -> None:
    assert decode_json(b'{"value":0.1}') == {"value": Decimal("0.1")}
    assert Desired.decode(EXAMPLES["desired"].encode()).fields["projectedTotal"] == Decimal("100.10")
