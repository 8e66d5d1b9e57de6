"""The lineage of a log: which leader epoch began at which offset (KIP-101, KIP-279), as an immutable value.

Owns the rules of Kafka's LeaderEpochFileCache as functions over a tuple of entries: what an epoch's end is, what an
append or a truncation makes of it. It must not know files, disks or replicas. Called by `log`, which stores it, and by
`replication`, which decides by it where logs part.

Invariants
1. Epochs and start offsets both rise strictly from entry to entry; none is negative.
2. An epoch without data leaves no entry once a later epoch starts at the same offset.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

UNDEFINED_EPOCH = -1
UNDEFINED_EPOCH_OFFSET = -1


class EpochEntry(NamedTuple):
    """One leader's term: every batch from `start_offset` up to the next entry's carries `epoch`."""

    epoch: int
    start_offset: int


Lineage = tuple[EpochEntry, ...]
"""Entries, oldest epoch first."""


def _epoch(entry: EpochEntry) -> int:
    return entry[0]


def _start(entry: EpochEntry) -> int:
    return entry[1]


def latest_epoch(lineage: Lineage) -> int:
    """The newest epoch, `UNDEFINED_EPOCH` when there is none."""
    return lineage[-1].epoch if lineage else UNDEFINED_EPOCH


def epoch_for_offset(lineage: Lineage, offset: int) -> int:
    """The epoch in which a record at `offset` was (or would now be) written, or `UNDEFINED_EPOCH`."""
    index = bisect_right(lineage, offset, key=_start)
    return lineage[index - 1].epoch if index else UNDEFINED_EPOCH


def end_offset_for(lineage: Lineage, epoch: int, log_end_offset: int) -> tuple[int, int]:
    """Answers OffsetForLeaderEpoch: the newest known epoch not above `epoch`, and its end offset (exclusive).

    The newest epoch ends at `log_end_offset`. An epoch older than all known ones is answered with itself and the start
    of the oldest: its data is gone, so a follower restarts there. An epoch newer than all known ones, and
    `UNDEFINED_EPOCH`, give `(UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET)`.
    """
    if epoch == UNDEFINED_EPOCH or not lineage or epoch > lineage[-1].epoch:
        return UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET
    if epoch == lineage[-1].epoch:
        return epoch, log_end_offset
    higher = bisect_right(lineage, epoch, key=_epoch)
    found = lineage[higher - 1].epoch if higher else epoch
    return found, lineage[higher].start_offset


def assigned(lineage: Lineage, epoch: int, start_offset: int) -> Lineage:
    """The lineage once `epoch` starts at `start_offset`; entries that it contradicts go. Itself where nothing changes.

    A known newest epoch keeps its start unless the new one is smaller. `ValueError` for negative arguments.
    """
    if epoch < 0 or start_offset < 0:
        raise ValueError(f"leader epoch {epoch} cannot start at offset {start_offset}")
    keep = len(lineage)
    if keep and epoch == lineage[-1].epoch and start_offset >= lineage[-1].start_offset:
        return lineage
    while keep and (lineage[keep - 1].epoch >= epoch or lineage[keep - 1].start_offset >= start_offset):
        keep -= 1
    return (*lineage[:keep], EpochEntry(epoch, start_offset))


def ending_at(lineage: Lineage, end_offset: int) -> Lineage:
    """The lineage of a log truncated to `end_offset`: epochs that start at or above it go."""
    return lineage[: bisect_left(lineage, end_offset, key=_start)]


def starting_at(lineage: Lineage, start_offset: int) -> Lineage:
    """The lineage of a log whose start moved up: epochs below it go, the one that covers it starts there."""
    covering = bisect_right(lineage, start_offset, key=_start) - 1
    if covering < 0 or (covering == 0 and lineage[0].start_offset == start_offset):
        return lineage
    return (EpochEntry(lineage[covering].epoch, start_offset), *lineage[covering + 1 :])
