"""Parked messages: no place is committed before it is finished, whatever the order; bytes are kept within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_connector.resolver.message import Message
from ml_connector.resolver.parking import Parking

# Companies of the messages of one partition, in the order of their offsets, and which company finishes next.
streams = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=40)


def message(offset: int, company: bytes = b"a", size: int = 10) -> Message:
    return Message("deferred", 0, offset, company, b"x" * size, {})


@given(streams, st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 8)), max_size=60))
def test_everything_below_the_committable_offset_is_finished(
    stream: list[bytes], turns: list[tuple[bytes, int]]
) -> None:
    parking = Parking(held_bytes=10_000)
    for offset, company in enumerate(stream):
        parking.add(message(offset, company), now_s=0)
    open_offsets = set(range(len(stream)))

    for company, count in turns:
        parked = parking.head(company, count)
        if parked:
            parking.finish(company, parked)
            open_offsets -= {one.offset for one in parked}
        assert parking.committable() == {0: min(open_offsets, default=len(stream))}

    assert len(parking) == len(open_offsets)


@given(streams)
def test_each_company_is_served_in_the_order_of_its_offsets(stream: list[bytes]) -> None:
    parking = Parking(held_bytes=10_000)
    for offset, company in enumerate(stream):
        parking.add(message(offset, company), now_s=0)

    for company in set(stream):
        expected = [offset for offset, each in enumerate(stream) if each == company]
        assert [one.offset for one in parking.head(company, 100)] == expected


def test_some_of_the_head_may_finish_before_others() -> None:
    parking = Parking(held_bytes=10_000)
    for offset in range(4):
        parking.add(message(offset), now_s=0)
    first, second, third, _ = parking.head(b"a", 4)

    parking.finish(b"a", [second])
    assert parking.committable() == {0: 0}
    parking.finish(b"a", [first, third])

    assert [one.offset for one in parking.head(b"a", 4)] == [3]
    assert parking.committable() == {0: 3}


def test_beyond_the_bytes_only_places_are_kept_and_what_was_read_again_is_let_go() -> None:
    parking = Parking(held_bytes=25)
    for offset in range(4):
        parking.add(message(offset), now_s=0)
    parked = parking.head(b"a", 4)
    assert [one.message is not None for one in parked] == [True, True, False, False]

    parking.fill(parked[2], message(2))
    parking.fill(parked[3], message(3))
    parking.let_go(b"a")

    assert sum(10 for one in parked if one.message is not None) <= 25
    parking.finish(b"a", parked)
    parking.add(message(4, size=25), now_s=0)
    assert parking.head(b"a", 1)[0].message is not None


def test_message_that_comes_twice_is_parked_once() -> None:
    parking = Parking(held_bytes=100)
    parking.add(message(5), now_s=0)
    parking.add(message(5), now_s=0)

    assert len(parking) == 1


def test_lost_partition_leaves_nothing_and_may_come_back() -> None:
    parking = Parking(held_bytes=100)
    parking.add(message(7), now_s=0)

    assert parking.drop(0) == [b"a"]
    assert (len(parking), parking.committable()) == (0, {})
    parking.add(message(3), now_s=0)
    assert parking.committable() == {0: 3}
