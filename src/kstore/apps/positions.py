"""The position file of the file producer: how far FILE was sent, and what to expect in the log behind that.

Owns the format of the position file and the fingerprint by which a file is known again. It never reads lines and
never touches a log. Called by `file_producer`.

Invariants:
1. A position is replaced atomically (temporary file, fsync, rename) and carries a CRC-32C, so a crash leaves the
   old one or the new one, and a damaged one is never believed.
2. It is written after the records below it are durable in the log, and before anything is sent from another file
   or from a file that was truncated. What the log holds above it therefore comes from one file, in file order,
   which is why counting records is enough to resume exactly (see `file_producer`).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from kstore._native.crc32c import crc32c
from kstore.errors import CorruptionError
from kstore.log.disk import OsDisk

MAGIC = b"kstore-position 1 "
FINGERPRINT_BYTES = 1024
"""How much of a file's start, and of what lies before the position, is remembered: enough to tell two log files
apart by their first lines, cheap to read again."""


@dataclass(frozen=True)
class Fingerprint:
    """A file as it looked when `position` bytes of it had been sent."""

    device: int
    inode: int
    position: int
    head_crc: int
    """CRC-32C of the first bytes below the position."""
    tail_crc: int
    """CRC-32C of the last bytes below the position."""

    def matches(self, fd: int) -> bool:
        """Whether the open file still starts with what was sent: not shorter, same first and last bytes."""
        return os.fstat(fd).st_size >= self.position and _checks(fd, self.position) == (
            self.head_crc,
            self.tail_crc,
        )


def fingerprint(fd: int, position: int) -> Fingerprint:
    """The fingerprint of an open file of which `position` bytes were sent."""
    status = os.fstat(fd)
    head_crc, tail_crc = _checks(fd, position)
    return Fingerprint(status.st_dev, status.st_ino, position, head_crc, tail_crc)


def _checks(fd: int, position: int) -> tuple[int, int]:
    count = min(position, FINGERPRINT_BYTES)
    return crc32c(os.pread(fd, count, 0)), crc32c(os.pread(fd, count, position - count))


@dataclass(frozen=True)
class Position:
    """What a run of the file producer leaves behind for the next one."""

    file: str
    """Absolute path that was followed."""
    topic: str
    topic_id: str
    """Id of the topic sent to; a topic made anew under the old name starts the file over."""
    producer_id: int
    """Producer id in every batch of this file: marks them as ours in the log."""
    routing: str
    """How lines were spread over partitions; a resumed run must spread them alike."""
    unterminated: bool
    """The last line sent had no newline: a newline that comes now belongs to it."""
    rest_bytes: int
    """Size of a last line without a newline that is being sent: the only record that may be above the position."""
    fingerprint: Fingerprint
    next_sequences: tuple[int, ...]
    """By partition: the sequence of the first record above the position."""
    log_end_offsets: tuple[int, ...]
    """By partition: the log's end when the position was taken; records above it may be ours."""


def save(path: str, position: Position) -> None:
    """Replace the position file; on the medium when this returns. Raises `OSError`."""
    body = json.dumps(asdict(position), indent=1).encode()
    OsDisk().write_file_atomic(path, MAGIC + b"%08x\n" % crc32c(body) + body)


def load(path: str) -> Position | None:
    """Read a position file; None when there is none. Raises `CorruptionError` when its check fails."""
    disk = OsDisk()
    if not disk.exists(path):
        return None
    data = disk.read_file(path)
    head, _, body = data.partition(b"\n")
    if not head.startswith(MAGIC):
        raise CorruptionError(path, 0, "not a position file of kstore; name another with --position-file")
    if head[len(MAGIC) :] != b"%08x" % crc32c(body):
        raise CorruptionError(
            path, 0, "the position file fails its check; remove it to send the file again from its first line"
        )
    return _read(json.loads(body))


def _read(raw: dict[str, Any]) -> Position:
    return Position(
        **{
            **raw,
            "fingerprint": Fingerprint(**raw["fingerprint"]),
            "next_sequences": tuple(raw["next_sequences"]),
            "log_end_offsets": tuple(raw["log_end_offsets"]),
        }
    )


def default_path(directory: str, file: str, topic: str) -> str:
    """The position file when none is named: in the log directory's root, one for each FILE and topic.

    Files of unknown name in that root are left alone by Kafka, and directories are not, so it is a file.
    """
    name = crc32c(f"{os.path.abspath(file)}\0{topic}".encode(errors="surrogateescape"))
    return os.path.join(directory, f"kstore-position-{name:08x}")
