"""Records to write: small and middling values, distinct objects, no two alike; always the same ones."""

from __future__ import annotations

import random

import numpy as np

import kstore

RECORDS_100 = 600
"""Records of 100 bytes in a batch of 64 KiB."""
RECORDS_1K = 63
"""Records of 1 KiB in a batch of 64 KiB."""
TIMESTAMP_MS = 1_700_000_000_000


def values(count: int, size: int) -> list[bytes]:
    """So many random values of so many bytes."""
    dice = random.Random(count * size)
    return [dice.randbytes(size) for _ in range(count)]


def uneven(count: int) -> list[bytes]:
    """So many random values of 70 to 130 bytes: what is quick because records are alike is not quick here."""
    dice = random.Random(count)
    return [dice.randbytes(dice.randrange(70, 131)) for _ in range(count)]


def columns(count: int, size: int) -> kstore.Columns:
    """The same values as columns over one buffer."""
    ends = np.arange(1, count + 1) * size
    return kstore.Columns(b"".join(values(count, size)), ends - size, ends)


def pairs(count: int, size: int) -> list[tuple[bytes, bytes]]:
    """The same with keys of 16 bytes."""
    dice = random.Random(count)
    return [(dice.randbytes(16), value) for value in values(count, size)]


def batch(count: int = RECORDS_100, size: int = 100) -> bytes:
    """One encoded batch, 64 KiB by default."""
    return kstore.encode_batches(values(count, size), timestamp_ms=TIMESTAMP_MS)
