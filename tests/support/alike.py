"""Requests that are alike but for a number and the records in them, of a protocol with nothing else in it."""

from __future__ import annotations

import struct

import kstore
from kstore._native.repeats import Pattern, Patterns

OPENING, CORRELATION, PREFIX, SUFFIX = b"\0\0\0\x09", struct.Struct(">i"), b"client and topic", b"\0\0\0"
ANSWER = CORRELATION.pack(28) + b"\0" * 4 + b"\0" * 24
ANSWER_OF = struct.Struct(">iiqqq")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def frame(records: bytes, number: int = 1, *, compact: bool = True, **parts: bytes) -> bytes:
    length = varint(len(records) + 1) if compact else CORRELATION.pack(len(records))
    length = parts.get("length", length)
    opening, prefix = parts.get("opening", OPENING), parts.get("prefix", PREFIX)
    return opening + CORRELATION.pack(number) + prefix + length + records + parts.get("suffix", SUFFIX)


def patterns(*, compact: bool = True, refused_codec: int = -1) -> Patterns:
    records = kstore.encode_batches([b"learnt"])
    whole = memoryview(frame(records, compact=compact))
    at = bytes(whole).index(records)
    known = Patterns()
    known.learn(
        Pattern(
            "target", whole, whole[at : at + len(records)], compact=compact, answer=ANSWER, base_offset_at=8,
            append_time_at=16, log_start_at=24, refused_codec=refused_codec,
        )
    )  # fmt: skip
    return known
