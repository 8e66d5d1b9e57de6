"""The transaction index: which transactions a reader of committed data must not see.

Each segment has at most one, `.txnindex`: an entry for each aborted transaction whose marker lies in the segment,
made when the first such marker comes. Commits leave no entry. The log appends here what `producers` completes, and
the readers of committed data ask `aborted_between`.

The file has no checksum. Damage that breaks its form is found here (`load`), other damage by the digests that
`seals` and `tails` keep; either way it is rebuilt by replaying the segment's producer batches.

Invariants
1. Last offsets rise strictly, within a file and from segment to segment; each lies in its segment.
2. The file never holds half an entry behind a returned `append`: a short write is cut back.

Layout in docs/FORMAT.md, "Transaction index"; as Apache Kafka's TransactionIndex and AbortedTxn write it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kstore.log import names
from kstore.log.digests import FileDigest, digest_of
from kstore.log.sidecars import read_optional

if TYPE_CHECKING:
    from kstore._native.file import File
    from kstore.log.disk import Disk

VERSION = 0
_ENTRY = struct.Struct(">hqqqq")  # version, producer id, first offset, last offset, last stable offset


class AbortedTransaction(NamedTuple):
    """A producer's records in `[first_offset, last_offset]` are void; `last_offset` is the abort marker's.

    `last_stable_offset` is where the oldest other open transaction started when the marker came, else the offset
    behind the marker. It is not monotonic from entry to entry.
    """

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


def format_aborted(entries: Iterable[AbortedTransaction]) -> bytes:
    """The bytes of a `.txnindex`."""
    return b"".join(_ENTRY.pack(VERSION, *entry) for entry in entries)


def parse_aborted(data: bytes, segment_base_offset: int) -> tuple[AbortedTransaction, ...] | None:
    """Reads a `.txnindex`; None when no log can have written it."""
    if len(data) % _ENTRY.size:
        return None
    entries = []
    last = segment_base_offset - 1
    for version, *fields in _ENTRY.iter_unpack(data):
        entry = AbortedTransaction(*fields)
        fits = 0 <= entry.first_offset < entry.last_offset and 0 <= entry.last_stable_offset <= entry.last_offset + 1
        if version != VERSION or entry.producer_id < 0 or entry.last_offset <= last or not fits:
            return None
        entries.append(entry)
        last = entry.last_offset
    return tuple(entries)


def aborted_between(
    indexes: Iterable[Sequence[AbortedTransaction]], first_offset: int, end_offset: int
) -> list[tuple[int, int, int]]:
    """(producer id, first offset, last offset) of the aborted transactions that touch `[first_offset, end_offset)`.

    `indexes` are the entries of the segments in order, from the one that holds `first_offset` upwards: an earlier
    segment's transactions end below. They are read only as far as needed: an entry whose last stable offset is at or
    above `end_offset` says that all transactions below it are decided by then.
    """
    found: list[tuple[int, int, int]] = []
    for entries in indexes:
        for entry in entries:
            if entry.last_offset >= first_offset and entry.first_offset < end_offset:
                found.append(entry[:3])
            if entry.last_stable_offset >= end_offset:
                return found
    return found


class TransactionIndex:
    """The transaction index of one segment: one writer; readers take `entries`, which is replaced, never changed."""

    __slots__ = ("_disk", "_file", "entries", "path", "segment_base_offset")

    def __init__(self, disk: Disk, directory: str, segment_base_offset: int) -> None:
        """Does no I/O: call `load` for a segment that may have a file."""
        self._disk = disk
        self._file: File | None = None
        self.segment_base_offset = segment_base_offset
        self.path = f"{directory}/{names.txnindex_name(segment_base_offset)}"
        self.entries: tuple[AbortedTransaction, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of the entries; 0 also when there is no file."""
        return len(self.entries) * _ENTRY.size

    @property
    def digest(self) -> FileDigest:
        """Size and CRC-32C of the file as it must be: what seals and tail checkpoints note."""
        return digest_of(format_aborted(self.entries))

    def load(self, expected: FileDigest | None = None, *, below: int | None = None) -> bool:
        """Reads the file, which may be absent; False, and no entries, when it is damaged or not as `expected`.

        With `below`, `expected` is the digest of the entries whose marker lies below that offset: a tail checkpoint
        knows no others.
        """
        self.entries = ()
        data = read_optional(self._disk, self.path) or b""
        entries = parse_aborted(data, self.segment_base_offset)
        if entries is None:
            return False
        if expected is not None:
            known = data if below is None else format_aborted(e for e in entries if e.last_offset < below)
            if digest_of(known) != expected:
                return False
        self.entries = entries
        return True

    def append(self, entry: AbortedTransaction) -> None:
        """Adds an aborted transaction; the first makes the file. `OSError` leaves entries and file as they were."""
        last = self.entries[-1].last_offset if self.entries else self.segment_base_offset - 1
        if entry.last_offset <= last:
            raise ValueError(f"aborted transaction {entry} does not follow offset {last}")
        position = self.size_bytes
        file = self._opened()
        try:
            file.write_at(format_aborted([entry]), position)
        except OSError:
            file.truncate(position)
            raise
        self.entries = (*self.entries, entry)

    def replace(self, entries: Iterable[AbortedTransaction]) -> None:
        """Writes the file anew from a replay; without entries there is none."""
        self.close()
        self.entries = tuple(entries)
        if self.entries:
            self._disk.write_file_atomic(self.path, format_aborted(self.entries))
        else:
            self.unlink()

    def truncate(self, offset: int) -> None:
        """Drops the transactions whose marker lies at or above `offset`; an empty file may stay, as with Kafka."""
        kept = tuple(entry for entry in self.entries if entry.last_offset < offset)
        if len(kept) < len(self.entries):
            self._opened().truncate(len(kept) * _ENTRY.size)
            self.entries = kept

    def flush(self) -> None:
        """Syncs what was appended."""
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Closes the file; the next append opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def unlink(self) -> None:
        """Removes the file if there is one. The entries stay readable."""
        self.close()
        if self._disk.exists(self.path):
            self._disk.unlink(self.path)

    def _opened(self) -> File:
        if self._file is None:
            self._file = self._disk.open_file(self.path, create=not self._disk.exists(self.path))
        return self._file
