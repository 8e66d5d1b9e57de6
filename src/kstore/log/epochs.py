"""The leader epochs of a log: which leader wrote which offsets (KIP-101, KIP-279).

Owns the lineage (a list of epoch and first offset), the questions that replication asks of it, and the text of the
file `leader-epoch-checkpoint`. Knows no file, disk or replica: the log calls it and writes the file (`twins`).

Invariants
1. Epochs and start offsets both rise strictly from entry to entry; none is negative.
2. An epoch without data leaves no entry once a later epoch starts at the same offset.
3. The oldest entry never starts below the log start; the newest never at or above a truncation point.

Semantics as in Apache Kafka's LeaderEpochFileCache.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from kstore import limits

UNDEFINED_EPOCH = -1
UNDEFINED_EPOCH_OFFSET = -1


class EpochEntry(NamedTuple):
    """One leader's term: every batch from `start_offset` up to the next entry's carries `epoch`."""

    epoch: int
    start_offset: int


class EpochRun(NamedTuple):
    """Consecutive batches that carry the same epoch, as a walk over the headers of a log finds them."""

    epoch: int
    start_offset: int
    batches: int


class Lineage(NamedTuple):
    """What `rebuild` made of a log: its epochs, and the runs whose epoch cannot be true."""

    epochs: LeaderEpochs
    misfits: tuple[EpochRun, ...]


class LeaderEpochs:
    """The lineage of one log, oldest epoch first. Not thread-safe: its partition's writer lock guards it."""

    __slots__ = ("_epochs", "_starts")

    def __init__(self, entries: Iterable[tuple[int, int]] = ()) -> None:
        """Takes (epoch, start offset) pairs in order; later ones displace what they contradict, as `assign` does."""
        self._epochs: list[int] = []
        self._starts: list[int] = []
        for epoch, start_offset in entries:
            self.assign(epoch, start_offset)

    # -- what it holds --

    @property
    def entries(self) -> tuple[EpochEntry, ...]:
        """All entries, oldest first."""
        return tuple(map(EpochEntry, self._epochs, self._starts))

    def __len__(self) -> int:
        return len(self._epochs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LeaderEpochs):
            return NotImplemented
        return self._epochs == other._epochs and self._starts == other._starts

    def __repr__(self) -> str:
        pairs = ", ".join(f"{epoch}@{start}" for epoch, start in self.entries)
        return f"LeaderEpochs({pairs})"

    def copy(self) -> LeaderEpochs:
        """An independent copy."""
        twin = LeaderEpochs()
        twin._epochs = self._epochs.copy()
        twin._starts = self._starts.copy()
        return twin

    @property
    def earliest(self) -> EpochEntry | None:
        """The oldest entry."""
        return EpochEntry(self._epochs[0], self._starts[0]) if self._epochs else None

    @property
    def latest(self) -> EpochEntry | None:
        """The newest entry."""
        return EpochEntry(self._epochs[-1], self._starts[-1]) if self._epochs else None

    @property
    def latest_epoch(self) -> int:
        """The newest epoch, `UNDEFINED_EPOCH` when there is none."""
        return self._epochs[-1] if self._epochs else UNDEFINED_EPOCH

    # -- questions --

    def previous_epoch(self, epoch: int) -> int:
        """The newest known epoch below `epoch`, or `UNDEFINED_EPOCH`."""
        index = bisect_left(self._epochs, epoch)
        return self._epochs[index - 1] if index else UNDEFINED_EPOCH

    def next_epoch(self, epoch: int) -> int:
        """The oldest known epoch above `epoch`, or `UNDEFINED_EPOCH`."""
        index = bisect_right(self._epochs, epoch)
        return self._epochs[index] if index < len(self._epochs) else UNDEFINED_EPOCH

    def epoch_for_offset(self, offset: int) -> int:
        """The epoch in which a record at `offset` was (or would now be) written, or `UNDEFINED_EPOCH`."""
        index = bisect_right(self._starts, offset)
        return self._epochs[index - 1] if index else UNDEFINED_EPOCH

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """Answers OffsetForLeaderEpoch: the newest known epoch not above `epoch`, and its end offset (exclusive).

        The newest epoch ends at `log_end_offset`. An epoch older than all known ones is answered with itself and the
        start of the oldest: its data is gone, so a follower restarts there. An epoch newer than all known ones, and
        `UNDEFINED_EPOCH`, give `(UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET)`.
        """
        if epoch == UNDEFINED_EPOCH or not self._epochs or epoch > self._epochs[-1]:
            return UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET
        if epoch == self._epochs[-1]:
            return epoch, log_end_offset
        higher = bisect_right(self._epochs, epoch)
        found = self._epochs[higher - 1] if higher else epoch
        return found, self._starts[higher]

    def fits(self, offset: int, epoch: int) -> bool:
        """Whether a stored batch that starts at `offset` can carry `epoch`.

        The epoch lies outside the batch's CRC, so this is what notices a flipped bit in it. Every append assigns its
        epoch first, so a true batch agrees exactly; below the oldest entry (deleted records that share a segment
        with the log start) only a later epoch is ruled out. A log without epochs holds only batches without one.
        """
        known = self.epoch_for_offset(offset)
        if known == UNDEFINED_EPOCH and self._epochs:
            return 0 <= epoch <= self._epochs[0]
        return max(epoch, UNDEFINED_EPOCH) == known

    # -- changes: each says whether anything changed, which is when the file must be written --

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Starts `epoch` at `start_offset`; entries that it contradicts go. Write the file before the append.

        A known newest epoch keeps its start unless the new one is smaller. `ValueError` for negative arguments.
        """
        if epoch < 0 or start_offset < 0:
            raise ValueError(f"leader epoch {epoch} cannot start at offset {start_offset}")
        if self._epochs and epoch == self._epochs[-1] and start_offset >= self._starts[-1]:
            return False
        while self._epochs and (self._epochs[-1] >= epoch or self._starts[-1] >= start_offset):
            self._epochs.pop()
            self._starts.pop()
        self._epochs.append(epoch)
        self._starts.append(start_offset)
        return True

    def truncate_from_end(self, end_offset: int) -> bool:
        """Drops the epochs that start at or above `end_offset`: the log now ends there."""
        keep = bisect_left(self._starts, end_offset)
        changed = keep < len(self._starts)
        del self._epochs[keep:], self._starts[keep:]
        return changed

    def truncate_from_start(self, start_offset: int) -> bool:
        """Drops the epochs that end at or below `start_offset`; the one that covers it now starts there."""
        covering = bisect_right(self._starts, start_offset) - 1
        if covering < 0 or (covering == 0 and self._starts[0] == start_offset):
            return False
        del self._epochs[:covering], self._starts[:covering]
        self._starts[0] = start_offset
        return True

    def clear(self) -> bool:
        """Forgets everything: the log was emptied."""
        changed = bool(self._epochs)
        self._epochs.clear()
        self._starts.clear()
        return changed


# -- rebuilding from the log -------------------------------------------------------------------------------------


def rebuild(runs: Iterable[EpochRun]) -> Lineage:
    """The lineage of a log whose epoch file is lost, from the runs of its batches in offset order.

    Epochs never fall along a log, so where they do, a header is damaged. The lineage that the most batches agree
    with wins (the heaviest chain of runs whose epochs do not fall); the other runs are returned as misfits. Runs
    without an epoch (negative) are no misfits and say nothing.
    """
    known = [run for run in runs if run.epoch >= 0]
    chain = _heaviest_chain(known)
    epochs = LeaderEpochs()
    misfits = []
    for index, run in enumerate(known):
        if index in chain:
            if run.epoch != epochs.latest_epoch:
                epochs.assign(run.epoch, run.start_offset)
        else:
            misfits.append(run)
    return Lineage(epochs, tuple(misfits))


def _heaviest_chain(runs: list[EpochRun]) -> set[int]:
    """Indexes of the non-falling chain of epochs with the most batches; O(n log n).

    `ends` holds, by rising epoch, the chain ends that no other end beats (a chain that ends in a higher epoch must
    weigh more); a new run prolongs the heaviest end that is not above it and removes the ends that it beats.
    """
    ends: list[tuple[int, int, int]] = []  # epoch, weight of the chain, index of its last run
    before: list[int] = []
    for index, run in enumerate(runs):
        at = bisect_right(ends, run.epoch, key=_epoch_of)
        previous = ends[at - 1] if at else (0, 0, -1)
        weight = previous[1] + run.batches
        before.append(previous[2])
        first = at - 1 if at and previous[0] == run.epoch else at
        beaten = first
        while beaten < len(ends) and (ends[beaten][1] <= weight or ends[beaten][0] == run.epoch):
            beaten += 1
        ends[first:beaten] = [(run.epoch, weight, index)]
    chain: set[int] = set()
    index = ends[-1][2] if ends else -1
    while index >= 0:
        chain.add(index)
        index = before[index]
    return chain


def _epoch_of(end: tuple[int, int, int]) -> int:
    return end[0]


# -- the file ----------------------------------------------------------------------------------------------------


def format_epochs(entries: Iterable[tuple[int, int]]) -> bytes:
    """The bytes of `leader-epoch-checkpoint`: version 0, the count, a line an entry."""
    lines = [f"{epoch} {start_offset}" for epoch, start_offset in entries]
    return "\n".join(["0", str(len(lines)), *lines, ""]).encode("ascii")


def parse_epochs(data: bytes) -> tuple[EpochEntry, ...] | None:
    """Reads `leader-epoch-checkpoint`; a file of 0 bytes has no entries, None means damaged.

    Stricter than Kafka: only what it writes passes (`format_epochs` of the result gives `data` again, and entries
    rise), so that a truncation never reads as a shorter lineage.
    """
    if not data:
        return ()
    try:
        lines = data.decode("ascii").split("\n")[2:-1]
        entries = tuple(EpochEntry(*map(int, line.split(" "))) for line in lines)
    except (ValueError, TypeError):
        return None
    if format_epochs(entries) != data or not _rise(entries):
        return None
    return entries


def _rise(entries: tuple[EpochEntry, ...]) -> bool:
    last = EpochEntry(-1, -1)
    for entry in entries:
        if entry.epoch <= last.epoch or entry.start_offset <= last.start_offset:
            return False
        last = entry
    return last.epoch <= limits.INT32_MAX and last.start_offset <= limits.INT64_MAX
