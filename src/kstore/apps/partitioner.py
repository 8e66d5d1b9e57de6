"""Which partition a record goes to, as Kafka's own clients decide it.

Owns the murmur2 hash of the Java client (org.apache.kafka.common.utils.Utils.murmur2) and its reduction to a
partition number, so that a key which kstore wrote and one which a Java producer writes meet in one partition. It
knows nothing of topics or files. Called by the file producer and by `kstore produce`.
"""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF

KEYS_REMEMBERED = 1 << 16
"""Hashes kept: keys of real files repeat, and a dictionary hit costs a fiftieth of hashing 20 bytes in Python."""


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 of `data` with Kafka's seed, as an unsigned number."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=KEYS_REMEMBERED)
def partition_of_key(key: bytes, partitions: int) -> int:
    """The partition of a keyed record: murmur2 with its sign bit cleared, modulo the number of partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
