"""A record's timeline out of two million audit entries on SQLite, beside the bare rows.

Entries with bodies like Pipedrive's are folded by the admin service itself. Then objects are drawn at random and
looked up in each way that an operator has; a look-up is `find` and the newest page of `timeline`, entries inflated and
decoded. The floor: the same entries fetched by primary key through `sqlite3`, nothing else. With `PYTHONPATH=tests`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from ml_connector.admin.database import Database
from ml_connector.admin.explain import letter_id
from ml_connector.admin.fold import fold
from ml_connector.admin.look.timeline import Entry, Query, find, timeline
from ml_connector.common import topics
from ml_connector.common.generation import Generation
from ml_connector.common.keys import Entity
from ml_connector.common.topics import Topic
from support import admin_messages as m
from support.measuring import machine

DATA: Final = Path(__file__).parent.parent / "tests" / "data" / "pipedrive" / "webhook-v2-official"
BATCH: Final = 2_000
LOOKUPS: Final = 300  # of each way
CAUSES_OF_AN_OBJECT: Final = 8  # on average; the first object has a fiftieth of all
FAILED: Final = 0.02  # of the causes
ENTITIES: Final[list[Entity]] = ["organization", "person", "deal"]
WORDS: Final = (
    "Nord", "Sud", "Ost", "West", "Licht", "Kraft", "Stahl", "Holz",
    "Wasser", "Feld", "Berg", "Tal", "Hafen", "Markt", "Stern", "Sonne",
)  # fmt: skip
FORMS: Final = ("GmbH", "AG", "Ltd", "Inc", "SARL", "BV", "Oy")


@dataclass(slots=True)
class World:
    """What is made, and what is remembered of it for the look-ups."""

    causes: int
    random: random.Random = field(default_factory=lambda: random.Random(8))  # noqa: S311  a seed, no secret
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    seen: dict[int, None] = field(default_factory=dict)  # objects of which there is something

    @property
    def objects(self) -> int:
        return max(10, self.causes // CAUSES_OF_AN_OBJECT)

    def entity(self, number: int) -> Entity:
        return ENTITIES[number % 3]

    def name(self, number: int) -> str:
        words = (WORDS[number % 16], WORDS[number // 16 % 16], FORMS[number % 7])
        return f"{words[0]}{words[1].lower()} {number} {words[2]}"

    def object_of(self, cause: int) -> int:
        found = 0 if cause % 50 == 0 else self.random.randrange(self.objects)
        self.seen[found] = None
        return found

    def trace(self, cause: int) -> str:
        return f"{cause + 1:032x}"

    def body(self, number: int, cause: int) -> bytes:
        entity = self.entity(number)
        if entity not in self.bodies:
            self.bodies[entity] = json.loads((DATA / f"{entity}.change.json").read_text())
        event = self.bodies[entity]
        event["meta"] |= {"id": f"e{cause}", "entity_id": str(number + 1), "timestamp": str(m.START_MS + cause)}
        event["data"] |= {"id": number + 1, "title" if entity == "deal" else "name": self.name(number)}
        return msgspec.json.encode(event)

    def messages(self) -> Iterator[m.Given]:
        """In the order in which they happened."""
        yield m.flow_version()
        for cause in range(self.causes):
            yield from self._cause(cause)
        for number in range(self.objects):
            generation = Generation(m.START_MS)
            entity, source_id = self.entity(number), str(number + 1)
            yield m.observed(entity, source_id, generation=generation, internal_id=str(1_000_000_000 + number))

    def _cause(self, number: int) -> Iterator[m.Given]:
        of = self.object_of(number)
        entity, source_id, cause = self.entity(of), str(of + 1), f"4710827:e{number}"
        at_ms, body = m.START_MS + number * 10, msgspec.Raw(self.body(of, number))
        trace = self.trace(number)
        generation = Generation(at_ms)
        yield m.received(cause, entity, source_id, name=self.name(of), at_ms=at_ms, trace=trace, body=body)
        yield m.resolved(cause, entity, source_id, at_ms=at_ms + 5, generation=generation)
        failed = self.random.random() < FAILED
        if failed:
            record = m.record_key(entity, source_id)
            self.failed.append(letter_id(cause, record))
            yield m.letter(cause, record, generation=generation, at_ms=at_ms + 400)
        request = msgspec.Raw(b'{"companyName":"%s","email":"info@example.com"}' % self.name(of).encode())
        yield m.outcome(
            cause,
            "dead_lettered" if failed else "written",
            entity,
            source_id,
            generation=generation,
            at_ms=at_ms + 400,
            received_at_ms=at_ms,
            trace=trace,
            request=request,
        )


def fill(database: Database, world: World) -> tuple[int, float]:
    """(audit entries, seconds that folding them took)."""
    places, messages = m.Places(), world.messages()
    entries, took_s = 0, 0.0
    while given := list(islice(messages, BATCH)):
        batches: dict[Topic, list[Any]] = {}
        for one in given:
            batches.setdefault(one[0], []).append(places.put(one))
        entries += len(batches.get(topics.AUDIT, ()))
        began_s = time.perf_counter()
        for topic, records in batches.items():
            with database.write() as connection:
                fold(connection, topic, records)
        took_s += time.perf_counter() - began_s
    return entries, took_s


def ways(world: World) -> dict[str, Callable[[int], Query]]:
    """How an operator asks for the object with this number."""
    return {
        "name": lambda n: Query(text=world.name(n).upper()),
        "beginning of a name": lambda n: Query(text=" ".join(world.name(n).split()[:2])),
        "entity and id": lambda n: Query(text=f"{world.entity(n)} {n + 1}"),
        "a bare number": lambda n: Query(text=str(n + 1)),
        "NetSuite id": lambda n: Query(text=str(1_000_000_000 + n)),
        "external id": lambda n: Query(text=m.external_id(world.entity(n), str(n + 1))),
        "cause": lambda _: Query(text=f"4710827:e{world.random.randrange(world.causes)}"),
        "trace": lambda _: Query(text=world.trace(world.random.randrange(world.causes))),
        "dead letter": lambda _: Query(text=world.random.choice(world.failed)),
        "the busiest object": lambda _: Query(text="organization 1"),
    }


def measure(database: Database, file: Path, world: World) -> None:
    bare = sqlite3.connect(file)
    objects = list(world.seen)
    print(f"\n{'looked up by':<22}{'entries':>8}{'p50':>9}{'p95':>9}{'p99':>9}   {'floor p50':>9}{'floor p95':>10}  ms")
    for way, ask in ways(world).items():
        times, floors, sizes = [], [], []
        for _ in range(LOOKUPS):
            query = ask(world.random.choice(objects))
            began_s = time.perf_counter()
            with database.read() as connection:
                subjects = find(connection, query)
                page = timeline(connection, subjects[0])
            times.append((time.perf_counter() - began_s) * 1000)
            sizes.append(len(page.entries))
            floors.append(floor_ms(bare, page.entries))
        line = f"{way:<22}{statistics.mean(sizes):>8.1f}" + "".join(f"{of(times, p):>9.2f}" for p in (50, 95, 99))
        print(f"{line}   {of(floors, 50):>9.2f}{of(floors, 95):>10.2f}", flush=True)


def floor_ms(bare: sqlite3.Connection, entries: list[Entry]) -> float:
    keys = [
        (entry.cause, entry.kind, entry.spot.second)
        for entry in entries
        if entry.kind in ("received", "resolved", "outcome")
    ]
    began_s = time.perf_counter()
    for key in keys:
        bare.execute("SELECT value FROM step WHERE cause = ? AND kind = ? AND record_key = ?", key).fetchone()
    return (time.perf_counter() - began_s) * 1000


def of(times: list[float], percent: int) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


def main(entries: int) -> None:
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "admin.sqlite"
        database = Database(f"sqlite:///{file}")
        database.migrate()
        world = World(causes=entries // 3)
        count, took_s = fill(database, world)
        size_mb = file.stat().st_size / 1e6
        print(
            f"{count} audit entries of {world.objects} objects folded in {took_s:.0f} s: {count / took_s:.0f} a second"
        )
        print(f"the database has {size_mb:.0f} MB: {size_mb * 1e6 / count:.0f} bytes an entry")
        measure(database, file, world)
        database.close()
    print(f"\nmost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=2_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 entries: whether it runs, not how fast")
    arguments = parser.parse_args()
    main(20_000 if arguments.quick else arguments.entries)
