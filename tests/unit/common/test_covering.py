"""Ids that were looked at, packed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_connector.common.covering import pack, unpack
from ml_connector.common.errors import Malformed


@given(st.lists(st.integers(1, 2**63 - 1)))
def test_ids_come_out_sorted_and_once(ids: list[int]) -> None:
    assert list(unpack(pack(ids))) == sorted(set(ids))


def test_ids_that_follow_each_other_take_few_bytes() -> None:
    assert len(pack(range(1, 200_001))) < 1000


@pytest.mark.parametrize("packed", [b"x", b"\x00" * 20])
def test_what_is_not_packed_is_refused(packed: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(packed)
