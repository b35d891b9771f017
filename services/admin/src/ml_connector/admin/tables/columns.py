"""What the columns of every table are made of."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Integer, MetaData, String

metadata: Final = MetaData()

# SQLite counts up by itself only in a column of its own INTEGER.
Serial: Final = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte on either database, so that a prefix is a range.
_String: Final = String().with_variant(String(collation="C"), "postgresql")


def string(name: str, **more: Any) -> Column[str]:
    return Column(name, _String, nullable=False, **more)


def ms(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def generation() -> tuple[Column[int], Column[int]]:
    return ms("source_version"), ms("revision")
