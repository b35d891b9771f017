"""Recompute the sum of DESIGN rule 2 from the topics alone.

For every (cause, record): accepted = written + superseded + ignored + dead-lettered + waiting. Shares no code with the
services' own counting: it reads plain JSON with its own few lines, and computes causes again from the original bodies.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ml_connector.cli.reading import read_topic
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.kafka.admin import committed_offsets, partition_count
from ml_connector.common.kafka.record import Record
from ml_connector.common.syncing import is_sync

OUTCOMES = ("written", "superseded", "ignored", "dead_lettered")
LISTED = 20  # causes of one kind that are named; the rest is counted


@dataclass(slots=True)
class Account:
    """The sum of one account, and the causes that break it."""

    accepted: int = 0
    duplicates: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    lost: list[str] = field(default_factory=list)  # accepted, without outcome, not waiting
    unexplained: list[str] = field(default_factory=list)  # an outcome that nobody accepted
    contradicting: list[str] = field(default_factory=list)  # two different outcomes of one cause and record

    @property
    def balanced(self) -> bool:
        return not (self.lost or self.unexplained or self.contradicting)

    def as_dict(self) -> dict[str, Any]:
        return {
            "accepted": self.accepted,
            **{name: self.outcomes[name] for name in OUTCOMES},
            "waiting": self.waiting,
            "duplicates": self.duplicates,
            "balanced": self.balanced,
            "lost": self.lost[:LISTED],
            "unexplained": self.unexplained[:LISTED],
            "contradicting": self.contradicting[:LISTED],
        }


class _Named(msgspec.Struct):
    kind: Any = None
    flow: Any = None
    request_id: Any = None
    meta: dict[str, Any] = {}


@dataclass(slots=True)
class Books:
    """Everything that the topics say, by account."""

    accepted: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    waiting: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    outcomes: dict[str, dict[str, dict[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    account_of_flow: dict[str, str] = field(default_factory=dict)

    def close(self) -> dict[str, Account]:
        """Compare; the sum of each account."""
        names = {*self.accepted, *self.outcomes}
        return {name: self._account(name) for name in sorted(names)}

    def _account(self, name: str) -> Account:
        accepted, outcomes = self.accepted[name], self.outcomes[name]
        waiting = {cause for cause in self.waiting[name] if cause not in outcomes}
        found = Account(
            accepted=len(accepted),
            duplicates=sum(accepted.values()) - len(accepted),
            waiting=len(waiting & set(accepted)),
            lost=sorted(set(accepted) - set(outcomes) - waiting),
            unexplained=sorted(set(outcomes) - set(accepted)),
        )
        for cause, records in outcomes.items():
            found.outcomes[next(iter(records.values()))] += 1
            if len(records) > 1:
                found.contradicting.append(cause)
        return found


def recompute(kafka: Mapping[str, str], prefix: str = "") -> dict[str, Account]:
    """Read every topic to its end. While traffic flows, what moves between two reads may look lost: ask again."""
    books = Books()
    _read_flows(kafka, prefix, books)
    _read_outcomes(kafka, prefix, books)
    _read_desired(kafka, prefix, books)
    _read_incoming(kafka, prefix, books)
    return books.close()


def _read_flows(kafka: Mapping[str, str], prefix: str, books: Books) -> None:
    for record in read_topic(kafka, topics.FLOWS.full_name(prefix)):
        if record.value and "/v" in (record.key or b"").decode():
            document = json.loads(record.value)["document"]
            books.account_of_flow[document["flow"]] = document["netsuite"]["account"]


def _read_outcomes(kafka: Mapping[str, str], prefix: str, books: Books) -> None:
    for record in read_topic(kafka, topics.AUDIT.full_name(prefix)):
        key = (record.key or b"").decode()
        if key.startswith("syn:") and record.value:
            _accept_synced(key, json.loads(record.value), books)
        if not key.endswith("/outcome"):
            continue
        cause, _, rest = key.partition("/")
        name = rest.removesuffix("/outcome")
        if record.value is None:
            for outcomes in books.outcomes.values():
                outcomes.get(cause, {}).pop(name, None)
            continue
        outcome = json.loads(record.value)
        books.outcomes[outcome["account"]].setdefault(cause, {})[name] = outcome["outcome"]
    for account, outcomes in books.outcomes.items():
        books.outcomes[account] = {cause: records for cause, records in outcomes.items() if records}


def _accept_synced(key: str, entry: dict[str, Any], books: Books) -> None:
    """Only the audit names the objects of a sync's page; each is accepted once, by whatever is told of it."""
    books.accepted[entry["account"]][key.partition("/")[0]] = 1


def _read_desired(kafka: Mapping[str, str], prefix: str, books: Books) -> None:
    """Live keys, and nothing else, are unsettled."""
    live: dict[str, str] = {}
    for record in read_topic(kafka, topics.DESIRED.full_name(prefix)):
        key = (record.key or b"").decode()
        if record.value is None:
            live.pop(key, None)
        else:
            live[key] = json.loads(record.value)["account"]
    for key, account in live.items():
        books.waiting[account].add(key.split("#", 2)[2])


def _read_incoming(kafka: Mapping[str, str], prefix: str, books: Books) -> None:
    for topic, group in (
        (topics.EVENTS, "resolver"),
        (topics.PIPEDRIVE_REQUESTS, "resolver-companions"),
        (topics.DEFERRED, "resolver-companions"),
    ):
        name = topic.full_name(prefix)
        done = committed_offsets(kafka, f"{prefix}{group}", name, range(partition_count(kafka, name)))
        for record in read_topic(kafka, name):
            again, waits = topic is topics.DEFERRED, record.offset >= done.get(record.partition, 0)
            take_in(record, books, again=again, waits=waits)


def take_in(record: Record, books: Books, *, again: bool, waits: bool) -> None:
    """`again`: it was accepted before, and put aside. Who asks for a preview asks for no record."""
    if h.asks(record.headers) or is_sync(record.headers):
        return
    account, cause = _account_and_cause(record, books)
    if not again:
        books.accepted[account][cause] += 1
    if waits:
        books.waiting[account].add(cause)


def _account_and_cause(record: Record, books: Books) -> tuple[str, str]:
    headers = {name: value.decode() for name, value in record.headers.items()}
    body = record.value or b""
    if "cause" in headers:
        return headers.get("account", ""), headers["cause"]
    named = _named(body)
    if named.kind == "hydrate":
        return books.account_of_flow.get(named.flow, ""), f"hyd:{named.request_id}"
    if named.meta.get("webhook_id") and named.meta.get("id"):
        return headers.get("account", ""), f"{named.meta['webhook_id']}:{named.meta['id']}"
    return headers.get("account", ""), f"raw:{hashlib.sha256(body).hexdigest()[:32]}"


def _named(body: bytes) -> _Named:
    """What a body says of itself, however deep or strange its data is; nothing when it is not JSON at all."""
    try:
        body.decode()
        return msgspec.json.decode(body, type=_Named)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return _Named()


def sentences(accounts: Mapping[str, Account]) -> list[str]:
    """For a terminal: one equation an account, then what breaks it."""
    lines = []
    for name, account in accounts.items():
        parts = [f"{account.outcomes[kind]} {kind.replace('_', '-')}" for kind in OUTCOMES]
        sign = "=" if account.balanced else "is not"
        lines.append(
            f"account {name}: {account.accepted} accepted {sign} {' + '.join(parts)} + {account.waiting} waiting"
        )
        lines.append(f"  ({account.duplicates} duplicate deliveries, counted apart)")
        for kind in ("lost", "unexplained", "contradicting"):
            causes = getattr(account, kind)
            if causes:
                lines.append(f"  {len(causes)} {kind}: {', '.join(causes[:LISTED])}")
    return lines
