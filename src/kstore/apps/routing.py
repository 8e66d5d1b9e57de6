"""How the file producer spreads lines over partitions: by a key, fixed, or block by block of the file.

Owns the choice of a key out of a line and of a partition for it. Pure: the partition of a line depends on its bytes
and on its place in the file, on nothing else, so that a run which resumes after a crash spreads the lines exactly
as the killed run did. Called by `file_producer`.

Without a key Java's producer fills a batch for one partition before it takes the next (KIP-480). Here every
`BLOCK_BYTES` of the file go to one partition, then to the next: the same shape, but decided by the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kstore.apps.partitioner import partition_of_key

BLOCK_BYTES = 16 * 1024
"""Bytes of the file that stay together in one partition: the Java producer's default batch.size."""

Keyed = tuple[bytes | None, bytes]


@dataclass(frozen=True)
class Routing:
    """Where lines go. `key_field` counts from 1; 0 means no key."""

    partitions: int
    key_field: int = 0
    separator: bytes = b"\t"
    fixed_partition: int | None = None

    def describe(self) -> str:
        """The same text for routings that spread alike."""
        if self.fixed_partition is not None:
            where = f"partition {self.fixed_partition}"
        else:
            where = f"{self.partitions} partitions"
        return f"{where}, key field {self.key_field} by {self.separator!r}" if self.key_field else where

    def key_of(self, line: bytes) -> bytes | None:
        """The chosen field of a line; None where the line has fewer fields.

        A carriage return before the newline belongs to the line, not to the key.
        """
        fields = line.removesuffix(b"\r").split(self.separator, self.key_field)
        return fields[self.key_field - 1] if len(fields) >= self.key_field else None

    def split(self, lines: Sequence[bytes], start: int) -> dict[int, list[bytes] | list[Keyed]]:
        """Lines that begin at byte `start` of the file, by partition, in file order within each.

        Values alone without a key field, `(key, value)` with one. A line without the field has no key and goes by
        its block.
        """
        if not self.key_field:
            return {k: v for k, v in enumerate(self._by_block(lines, start)) if v}
        keyed: list[list[Keyed]] = [[] for _ in range(self.partitions)]
        position = start
        for line in lines:
            key = self.key_of(line)
            keyed[self._partition(key, position)].append((key, line))
            position += len(line) + 1
        return {k: v for k, v in enumerate(keyed) if v}

    def _partition(self, key: bytes | None, position: int) -> int:
        if self.fixed_partition is not None:
            return self.fixed_partition
        if key is None:
            return position // BLOCK_BYTES % self.partitions
        return partition_of_key(key, self.partitions)

    def _by_block(self, lines: Sequence[bytes], start: int) -> list[list[bytes]]:
        spread: list[list[bytes]] = [[] for _ in range(self.partitions)]
        if self.fixed_partition is not None or self.partitions == 1:
            spread[self.fixed_partition or 0].extend(lines)
            return spread
        position = start
        for line in lines:
            spread[position // BLOCK_BYTES % self.partitions].append(line)
            position += len(line) + 1
        return spread
