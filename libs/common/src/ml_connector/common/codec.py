"""Bytes to wire types and back: JSON by msgspec, exact decimals, one schema version per type.

Unknown members are tolerated (an older service reads what a newer one wrote); an unknown version is refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Self

import msgspec

from ml_connector.common.errors import Malformed, UnknownSchema

# Amounts stay exact: a JSON number with a fraction is a Decimal in memory and the same number on the wire.
_encoder = msgspec.json.Encoder(decimal_format="number")
_decode_any = msgspec.json.Decoder(float_hook=Decimal)


class _Version(msgspec.Struct):
    v: int = 1


class Wire(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The base of everything that this product writes to Kafka.

    On the wire the first member is `"v"`, the version of the type's schema; in memory there is only the newest.
    """

    SCHEMA: ClassVar[int] = 1
    _begin: ClassVar[bytes] = b'{"v":1,'
    _decoder: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._begin = b'{"v":%d,' % cls.SCHEMA

    def encode(self) -> bytes:
        """Compact JSON; members with default values are left out."""
        members = _encoder.encode(self)[1:]
        return self._begin + members if members != b"}" else self._begin[:-1] + members

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises Malformed when `data` is not this type, UnknownSchema when a newer release wrote it."""
        if not data.startswith(cls._begin):
            _refuse_newer(cls, data)
        decoder = cls.__dict__.get("_decoder")
        if decoder is None:
            decoder = cls._decoder = msgspec.json.Decoder(cls, float_hook=Decimal)
        try:
            message: Self = decoder.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Malformed(f"not a {cls.__name__}: {_without_values(error)}") from error
        return message


def _refuse_newer(kind: type[Wire], data: bytes) -> None:
    try:
        version = msgspec.json.decode(data, type=_Version).v
    except (msgspec.DecodeError, RecursionError):
        return  # not ours at all: decoding says so
    if version > kind.SCHEMA:
        raise UnknownSchema(kind=kind.__name__, version=version, known=kind.SCHEMA)


def _without_values(error: Exception) -> str:
    """msgspec names paths and types; where it quotes a value, the text is cut before it."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error).split("'")[0].split("Invalid value")[0].strip() or type(error).__name__


def decode_json(data: bytes) -> Any:
    """Any JSON, fractions as Decimal. Raises Malformed without quoting the input."""
    try:
        return _decode_any.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(f"not JSON: {_without_values(error)}") from error


def encode_json(value: Any) -> bytes:
    """Compact JSON; Decimals as numbers."""
    return _encoder.encode(value)
