"""The leader epochs of a log as it stores them: the lineage that changes, its rebuilding, and the file's text.

Owns the state that an append, a truncation or a deletion changes, what a walk over the headers makes of a log whose
file is lost, and the text of `leader-epoch-checkpoint`. The rules themselves are `kstore.lineage`'s. Knows no file,
disk or replica: the log calls it and writes the file (`twins`).

Invariants
1. The lineage keeps the invariants of `kstore.lineage`.
2. The oldest entry never starts below the log start; the newest never at or above a truncation point.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from kstore import limits, lineage
from kstore.lineage import UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET, EpochEntry

__all__ = [
    "UNDEFINED_EPOCH",
    "UNDEFINED_EPOCH_OFFSET",
    "EpochEntry",
    "EpochRun",
    "LeaderEpochs",
    "Rebuilt",
    "format_epochs",
    "parse_epochs",
    "rebuild",
]


class EpochRun(NamedTuple):
    """Consecutive batches that carry the same epoch, as a walk over the headers of a log finds them."""

    epoch: int
    start_offset: int
    batches: int


class Rebuilt(NamedTuple):
    """What `rebuild` made of a log: its epochs, and the runs whose epoch cannot be true."""

    epochs: LeaderEpochs
    misfits: tuple[EpochRun, ...]


class LeaderEpochs:
    """The lineage of one log, oldest epoch first. Not thread-safe: its partition's writer lock guards it."""

    __slots__ = ("entries",)

    def __init__(self, entries: Iterable[tuple[int, int]] = ()) -> None:
        """Takes (epoch, start offset) pairs in order; later ones displace what they contradict, as `assign` does."""
        self.entries: lineage.Lineage = ()
        """All entries, oldest first; the value is replaced, never changed, so whoever holds one may keep it."""
        for epoch, start_offset in entries:
            self.assign(epoch, start_offset)

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LeaderEpochs):
            return NotImplemented
        return self.entries == other.entries

    def __repr__(self) -> str:
        pairs = ", ".join(f"{epoch}@{start}" for epoch, start in self.entries)
        return f"LeaderEpochs({pairs})"

    def copy(self) -> LeaderEpochs:
        """An independent copy."""
        twin = LeaderEpochs()
        twin.entries = self.entries
        return twin

    @property
    def earliest(self) -> EpochEntry | None:
        """The oldest entry."""
        return self.entries[0] if self.entries else None

    @property
    def latest(self) -> EpochEntry | None:
        """The newest entry."""
        return self.entries[-1] if self.entries else None

    @property
    def latest_epoch(self) -> int:
        """The newest epoch, `UNDEFINED_EPOCH` when there is none."""
        return lineage.latest_epoch(self.entries)

    # -- questions --

    def previous_epoch(self, epoch: int) -> int:
        """The newest known epoch below `epoch`, or `UNDEFINED_EPOCH`."""
        index = bisect_left(self.entries, epoch, key=_entry_epoch)
        return self.entries[index - 1].epoch if index else UNDEFINED_EPOCH

    def next_epoch(self, epoch: int) -> int:
        """The oldest known epoch above `epoch`, or `UNDEFINED_EPOCH`."""
        index = bisect_right(self.entries, epoch, key=_entry_epoch)
        return self.entries[index].epoch if index < len(self.entries) else UNDEFINED_EPOCH

    def epoch_for_offset(self, offset: int) -> int:
        """The epoch in which a record at `offset` was (or would now be) written, or `UNDEFINED_EPOCH`."""
        return lineage.epoch_for_offset(self.entries, offset)

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """See `lineage.end_offset_for`."""
        return lineage.end_offset_for(self.entries, epoch, log_end_offset)

    def fits(self, offset: int, epoch: int) -> bool:
        """Whether a stored batch that starts at `offset` can carry `epoch`.

        The epoch lies outside the batch's CRC, so this is what notices a flipped bit in it. Every append assigns its
        epoch first, so a true batch agrees exactly; below the oldest entry (deleted records that share a segment
        with the log start) only a later epoch is ruled out. A log without epochs holds only batches without one.
        """
        known = self.epoch_for_offset(offset)
        if known == UNDEFINED_EPOCH and self.entries:
            return 0 <= epoch <= self.entries[0].epoch
        return max(epoch, UNDEFINED_EPOCH) == known

    # -- changes: each says whether anything changed, which is when the file must be written --

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Starts `epoch` at `start_offset`; see `lineage.assigned`. Write the file before the append."""
        return self._replace(lineage.assigned(self.entries, epoch, start_offset))

    def truncate_from_end(self, end_offset: int) -> bool:
        """Drops the epochs that start at or above `end_offset`: the log now ends there."""
        return self._replace(lineage.ending_at(self.entries, end_offset))

    def truncate_from_start(self, start_offset: int) -> bool:
        """Drops the epochs that end at or below `start_offset`; the one that covers it now starts there."""
        return self._replace(lineage.starting_at(self.entries, start_offset))

    def clear(self) -> bool:
        """Forgets everything: the log was emptied."""
        return self._replace(())

    def _replace(self, entries: lineage.Lineage) -> bool:
        changed = entries != self.entries
        self.entries = entries
        return changed


def _entry_epoch(entry: EpochEntry) -> int:
    return entry.epoch


# -- rebuilding from the log -------------------------------------------------------------------------------------


def rebuild(runs: Iterable[EpochRun]) -> Rebuilt:
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
    return Rebuilt(epochs, tuple(misfits))


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
