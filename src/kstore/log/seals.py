"""Digests of finished segments, in the sidecar `kstore-seals`: what lets every flipped bit in one be found.

A batch's CRC covers all of it but its first 21 bytes: base offset, length, leader epoch, magic and the CRC itself. A
seal holds the CRC-32C over exactly those bytes of every batch, in order, so that a walk that checks batch CRCs and
this digest has checked every bit of the segment. It also holds the digests of the segment's indexes, which have no
checksum at all.

The log writes a seal when it rolls, and drops it when the segment is truncated, deleted or compacted. Losing the file
loses the check, nothing else. A segment that Kafka has compacted since does not fit its seal either, so all seals are
dropped where anyone else may have written (`store.trust`).

Invariants
1. A seal is written only of a segment that takes no more appends and whose bytes are on the medium.
2. A file with a wrong bit is no file: `read_seals` gives all seals or none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kstore.log import names
from kstore.log.digests import NO_FILE, FileDigest
from kstore.log.sidecars import read_sealed, seal

if TYPE_CHECKING:
    from kstore.log.disk import Disk

__all__ = ["NO_FILE", "FileDigest", "SegmentSeal", "format_seals", "parse_seals", "read_seals", "write_seals"]

KIND = b"seal"
VERSION = 1
_SEAL = struct.Struct(">qqqIqqIqIqI")


class SegmentSeal(NamedTuple):
    """What a finished segment must still be. Offset ends are exclusive; `NO_FILE` for an index that is not there."""

    base_offset: int
    next_offset: int
    size_bytes: int
    header_digest: int  # CRC-32C over the first 21 bytes of every batch
    max_timestamp_ms: int  # -1: none
    offset_index: FileDigest
    time_index: FileDigest
    txn_index: FileDigest


def format_seals(seals: Iterable[SegmentSeal]) -> bytes:
    """The bytes of `kstore-seals`."""
    packed = [_SEAL.pack(*seal[:5], *seal.offset_index, *seal.time_index, *seal.txn_index) for seal in seals]
    return seal(KIND, VERSION, b"".join(packed))


def parse_seals(payload: bytes) -> dict[int, SegmentSeal]:
    """The seals in the payload of `kstore-seals`, by base offset."""
    if len(payload) % _SEAL.size:
        return {}
    seals = {}
    for fields in _SEAL.iter_unpack(payload):
        digests = (FileDigest(*fields[at : at + 2]) for at in (5, 7, 9))
        seals[fields[0]] = SegmentSeal(*fields[:5], *digests)
    return seals


def read_seals(disk: Disk, directory: str) -> dict[int, SegmentSeal]:
    """The seals of a partition by base offset; none when the file is absent or damaged."""
    payload = read_sealed(disk, f"{directory}/{names.SEALS_FILE}", KIND, VERSION)
    return {} if payload is None else parse_seals(payload)


def write_seals(disk: Disk, directory: str, seals: Mapping[int, SegmentSeal]) -> None:
    """Writes all seals of a partition, without a sync: a torn file is no file.

    By a rename, so that neither the death of the process nor a full disk loses the seals that were there.
    """
    path = f"{directory}/{names.SEALS_FILE}"
    disk.write_file(path + names.TEMPORARY, format_seals(seals.values()))
    disk.rename(path + names.TEMPORARY, path)
