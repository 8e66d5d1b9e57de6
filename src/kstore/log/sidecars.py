"""The envelope of kstore's own small files: nothing in them is believed unless every bit is right.

A sidecar holds what Kafka's files lack (checksums, digests, positions) and may always be lost: `unseal` returns None
for a file that is torn, flipped, of another kind or of a version from the future, and None means absent.

    magic  8 bytes   "kstore" and 0x0D 0x0A: a transfer that rewrites line ends shows
    kind   4 bytes   ASCII; what the payload is
    version uint16   of the payload's layout; readers refuse versions that they do not know
    length  uint32   of the payload
    crc     uint32   CRC-32C over all of the above and the payload
    payload          exactly `length` bytes, and nothing behind it

All integers big-endian. Used by `twins`, `seals`, `tails` and `damage`; knows none of them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kstore._native.crc32c import crc32c

if TYPE_CHECKING:
    from kstore.log.disk import Disk

__all__ = ["crc32c", "read_optional", "read_sealed", "seal", "unseal"]

MAGIC = b"kstore\r\n"
_HEAD = struct.Struct(">8s4sHI")
_CRC = struct.Struct(">I")
OVERHEAD_BYTES = _HEAD.size + _CRC.size


def seal(kind: bytes, version: int, payload: bytes) -> bytes:
    """The bytes of a sidecar: `payload` in its envelope."""
    head = _HEAD.pack(MAGIC, kind, version, len(payload))
    return head + _CRC.pack(crc32c(payload, crc32c(head))) + payload


def unseal(kind: bytes, version: int, data: bytes) -> bytes | None:
    """The payload of a sidecar of that kind and version; None when a bit of it is wrong or missing."""
    if len(data) < OVERHEAD_BYTES:
        return None
    payload = data[OVERHEAD_BYTES:]
    head = _HEAD.pack(MAGIC, kind, version, len(payload))
    (crc,) = _CRC.unpack_from(data, _HEAD.size)
    if data[: _HEAD.size] != head or crc != crc32c(payload, crc32c(head)):
        return None
    return payload


def read_optional(disk: Disk, path: str) -> bytes | None:
    """The bytes of a file, None when there is none. Other failures of the disk are raised: an unreadable file is not
    an absent one."""
    try:
        return disk.read_file(path)
    except FileNotFoundError:
        return None


def read_sealed(disk: Disk, path: str, kind: bytes, version: int) -> bytes | None:
    """The payload of the sidecar at `path`; None when it is absent or damaged."""
    data = read_optional(disk, path)
    return None if data is None else unseal(kind, version, data)
