"""What the files beside a log say, from the log itself: producers, aborted transactions, leader epochs.

Called by `loader` at open and by `log` after a truncation. Header walks only, but for markers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from kstore.log.epochs import EpochRun, LeaderEpochs, rebuild
from kstore.log.producers import ProducerStates
from kstore.log.rows import row_of_header
from kstore.log.snapshots import load_snapshot
from kstore.log.transactions import AbortedTransaction

if TYPE_CHECKING:
    from kstore._native.batch import BatchHeader
    from kstore._native.segment import Segment
    from kstore.log.derived import Derived


def restore_producers(derived: Derived, segments: Sequence[Segment], end: int) -> tuple[int, ...]:
    """Set producer state to that of `end`; returns the offsets of snapshots whose check failed. Raises `OSError`."""
    snapshot = load_snapshot(derived.disk, derived.directory, not_after=end)
    derived.restore_producers(snapshot.entries, snapshot.offset or 0)
    for segment, header in headers_between(segments, snapshot.offset or 0, end):
        row = row_of_header(header, segment)
        if row is not None:
            derived.apply(row, segment.base_offset)
    derived.producers.advance(end)
    return snapshot.damaged


def rebuild_aborted(derived: Derived, segments: Sequence[Segment], bases: Collection[int], end: int) -> None:
    """Find the aborted transactions of some segments again, from the batches. Raises `OSError`."""
    snapshot = load_snapshot(derived.disk, derived.directory, not_after=min(bases))
    states = ProducerStates.from_entries(snapshot.entries, snapshot.offset or 0)
    found: dict[int, list[AbortedTransaction]] = {base: [] for base in bases}
    for segment, header in headers_between(segments, snapshot.offset or 0, end):
        row = row_of_header(header, segment)
        done = None if row is None else states.apply(row)
        if done is not None and done.aborted and segment.base_offset in found:
            found[segment.base_offset].append(
                AbortedTransaction(done.producer_id, done.first_offset, done.last_offset, done.last_stable_offset)
            )
    for base, entries in found.items():
        derived.rebuilt_aborted(base, entries)


def lineage_holds(epochs: LeaderEpochs, segments: Sequence[Segment], start: int, end: int) -> bool:
    """Whether every epoch starts in the log where the lineage says: one lookup an epoch, no scan."""
    for entry in epochs.entries:
        at = max(entry.start_offset, start)
        if at >= end:
            return entry.start_offset <= end
        header = next((h for _, h in headers_between(segments, at, end)), None)
        if header is not None and (header.leader_epoch != entry.epoch or header.base_offset != at):
            covered = entry.start_offset < at  # the log start lies inside a batch
            if not covered or header.leader_epoch < entry.epoch:
                return False
    return True


def rebuild_epochs(segments: Sequence[Segment], end: int) -> LeaderEpochs:
    """The lineage from the batches themselves: a walk over every header of the log."""
    runs: list[EpochRun] = []
    for _, header in headers_between(segments, 0, end):
        if runs and runs[-1].epoch == header.leader_epoch:
            runs[-1] = runs[-1]._replace(batches=runs[-1].batches + 1)
        else:
            runs.append(EpochRun(header.leader_epoch, header.base_offset, 1))
    return rebuild(runs).epochs


def headers_between(
    segments: Sequence[Segment], offset: int, end: int
) -> Iterator[tuple[Segment, BatchHeader]]:
    """The headers of every batch that starts at or above `offset` and below `end`, with their segments."""
    for i, segment in enumerate(segments):
        segment_end = segments[i + 1].base_offset if i + 1 < len(segments) else end
        if segment_end <= offset or segment.base_offset >= end:
            continue
        position = segment.locate(offset) if offset > segment.base_offset else 0
        for header in segment.headers(position):
            if offset <= header.base_offset < end:
                yield segment, header
