"""Size and checksum of a whole file: what `seals`, `tails`, `twins` and `transactions` compare files with."""

from __future__ import annotations

from typing import NamedTuple

from kstore.log.sidecars import crc32c


class FileDigest(NamedTuple):
    """A file's length in bytes and the CRC-32C of all of them."""

    size_bytes: int
    crc: int


NO_FILE = FileDigest(0, 0)
"""Absent and empty are the same: CRC-32C of nothing is 0."""


def digest_of(data: bytes) -> FileDigest:
    """The digest of a file with these bytes."""
    return FileDigest(len(data), crc32c(data))
