"""Kafka's primitive types in bytes: bounded reading and writing of integers, strings, arrays and tagged fields.

Owns the encodings that Kafka's message generator gives to the fields of records which it keeps for itself: group
offsets, cluster metadata. Record batches do not come through here, they have native code. Knows no message and no
file. Called by `groups` and `kraft`.

Invariants
1. A `Reader` never looks past its end: every step is checked, a failed one raises `ValueError`.
2. What a `Writer` wrote, a `Reader` reads back.

Encodings as in org.apache.kafka.common.protocol.types.Type and the protocol guide. "Compact" is the form that
flexible message versions use: an unsigned varint of length + 1, 0 standing for null.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

_VARINT_BYTES_MAX = 5  # an unsigned varint carries 32 bits


class Reader:
    """Reads one message from `data`; errors are `ValueError` and name the byte."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = bytes(data)
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes that were not read yet."""
        return len(self.data) - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if not 0 <= size <= self.remaining:
            raise ValueError(f"{size} bytes wanted at byte {self.position}, {self.remaining} are left")
        start = self.position
        self.position += size
        return self.data[start : self.position]

    def int8(self) -> int:
        """A signed byte."""
        return int.from_bytes(self.take(1), "big", signed=True)

    def int16(self) -> int:
        """A signed 16-bit integer."""
        return int.from_bytes(self.take(2), "big", signed=True)

    def uint16(self) -> int:
        """An unsigned 16-bit integer (ports)."""
        return int.from_bytes(self.take(2), "big")

    def int32(self) -> int:
        """A signed 32-bit integer."""
        return int.from_bytes(self.take(4), "big", signed=True)

    def int64(self) -> int:
        """A signed 64-bit integer."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def float64(self) -> float:
        """An IEEE 754 double."""
        return float(struct.unpack(">d", self.take(8))[0])

    def peek(self) -> int:
        """The next byte, not consumed; -1 at the end."""
        return self.data[self.position] if self.remaining else -1

    def boolean(self) -> bool:
        """One byte, 0 for false and anything else for true, as Kafka reads it."""
        return self.take(1) != b"\0"

    def uuid(self) -> bytes:
        """16 raw bytes."""
        return self.take(16)

    def varint(self) -> int:
        """An unsigned varint of at most 32 bits."""
        value = 0
        for index in range(_VARINT_BYTES_MAX):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if value > 0xFFFFFFFF:
                    break
                return value
        raise ValueError(f"the varint that ends at byte {self.position} has more than 32 bits")

    def string(self) -> str:
        """int16 length and UTF-8."""
        return self._text(self.int16())

    def nullable_string(self) -> str | None:
        """`string`, or None for length -1."""
        size = self.int16()
        return None if size == -1 else self._text(size)

    def compact_string(self) -> str:
        """The compact form of a string that must be there."""
        return self._text(self.varint() - 1)

    def compact_nullable_string(self) -> str | None:
        """The compact form of a string, None for null."""
        size = self.varint()
        return None if size == 0 else self._text(size - 1)

    def bytes32(self) -> bytes:
        """int32 length and bytes."""
        return self.take(self.int32())

    def compact_bytes(self) -> bytes:
        """The compact form of bytes that must be there."""
        return self.take(self.varint() - 1)

    def array(self, item: Callable[[], T]) -> list[T]:
        """int32 count and that many items."""
        return self._items(self.int32(), item)

    def compact_array(self, item: Callable[[], T]) -> list[T]:
        """The compact form of an array; null reads as empty."""
        return self._items(max(self.varint() - 1, 0), item)

    def tagged_fields(self) -> dict[int, bytes]:
        """The tagged fields that end every flexible message, by tag."""
        fields: dict[int, bytes] = {}
        for _ in range(self._count(self.varint())):
            tag = self.varint()
            fields[tag] = self.take(self.varint())
        return fields

    def _text(self, size: int) -> str:
        return self.take(size).decode("utf-8")  # UnicodeDecodeError is a ValueError

    def _count(self, count: int) -> int:
        # An item takes at least a byte, so a count above what is left is a lie: refuse it before looping.
        if not 0 <= count <= self.remaining:
            raise ValueError(f"{count} items at byte {self.position}, but {self.remaining} bytes are left")
        return count

    def _items(self, count: int, item: Callable[[], T]) -> list[T]:
        return [item() for _ in range(self._count(count))]


class Writer:
    """Builds one message; every method returns the writer, so that a layout reads like its table."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._parts)

    def raw(self, data: bytes) -> Writer:
        """Bytes as they are."""
        self._parts += data
        return self

    def int8(self, value: int) -> Writer:
        """A signed byte."""
        return self.raw(struct.pack(">b", value))

    def int16(self, value: int) -> Writer:
        """A signed 16-bit integer."""
        return self.raw(struct.pack(">h", value))

    def uint16(self, value: int) -> Writer:
        """An unsigned 16-bit integer (ports)."""
        return self.raw(struct.pack(">H", value))

    def int32(self, value: int) -> Writer:
        """A signed 32-bit integer."""
        return self.raw(struct.pack(">i", value))

    def int64(self, value: int) -> Writer:
        """A signed 64-bit integer."""
        return self.raw(struct.pack(">q", value))

    def float64(self, value: float) -> Writer:
        """An IEEE 754 double."""
        return self.raw(struct.pack(">d", value))

    def boolean(self, value: bool) -> Writer:
        """One byte, 1 or 0."""
        return self.int8(int(value))

    def uuid(self, value: bytes) -> Writer:
        """16 raw bytes."""
        if len(value) != 16:
            raise ValueError(f"an id has 16 bytes, not {len(value)}")
        return self.raw(value)

    def varint(self, value: int) -> Writer:
        """An unsigned varint of at most 32 bits."""
        if not 0 <= value <= 0xFFFFFFFF:
            raise ValueError(f"{value} does not fit an unsigned varint of 32 bits")
        while value > 0x7F:
            self._parts.append(value & 0x7F | 0x80)
            value >>= 7
        self._parts.append(value)
        return self

    def string(self, value: str) -> Writer:
        """int16 length and UTF-8; `ValueError` above 32,767 bytes."""
        data = value.encode("utf-8")
        if len(data) > 0x7FFF:
            raise ValueError(f"a string of {len(data)} bytes is above Kafka's 32767")
        return self.int16(len(data)).raw(data)

    def nullable_string(self, value: str | None) -> Writer:
        """`string`, length -1 for None."""
        return self.int16(-1) if value is None else self.string(value)

    def compact_string(self, value: str | None) -> Writer:
        """The compact form of a string; 0 for None."""
        return self.compact_bytes(None if value is None else value.encode("utf-8"))

    def compact_bytes(self, value: bytes | None) -> Writer:
        """The compact form of bytes; 0 for None."""
        return self.varint(0) if value is None else self.varint(len(value) + 1).raw(value)

    def compact_array(self, items: Iterable[T], write: Callable[[T], object]) -> Writer:
        """The compact form of an array; `write` puts one item into this writer."""
        values = list(items)
        self.varint(len(values) + 1)
        for value in values:
            write(value)
        return self

    def tagged_fields(self, fields: dict[int, bytes] | None = None) -> Writer:
        """The tagged fields that end a flexible message, in the order of their tags."""
        self.varint(len(fields or {}))
        for tag, data in sorted((fields or {}).items()):
            self.varint(tag).varint(len(data)).raw(data)
        return self
