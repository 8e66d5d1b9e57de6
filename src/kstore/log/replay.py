"""What the files beside a log say, from the log itself: producers, aborted transactions, leader epochs.

Called by `loader` at open and by `log` after a truncation. Header walks only, but for markers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from kstore._native import batch as native
from kstore.errors import CorruptionError, InvalidBatch
from kstore.log import names
from kstore.log.epochs import EpochRun, LeaderEpochs, rebuild
from kstore.log.producers import ProducerStates
from kstore.log.snapshots import load_snapshot, parse_snapshot, snapshot_offsets
from kstore.log.transactions import AbortedTransaction

if TYPE_CHECKING:
    from kstore._native.batch import BatchHeader
    from kstore._native.segment import ProducerBatch, Segment
    from kstore.log.derived import Derived
    from kstore.log.disk import Disk
    from kstore.log.twins import PartitionFiles


def restore_producers(derived: Derived, segments: Sequence[Segment], end: int) -> tuple[int, ...]:
    """Set producer state to that of `end`; returns the offsets of snapshots whose check failed. Raises `OSError`."""
    snapshot = load_snapshot(derived.disk, derived.directory, not_after=end)
    derived.restore_producers(snapshot.entries, snapshot.offset or 0)
    for segment, batch in _producer_batches_between(segments, snapshot.offset or 0, end):
        derived.apply(batch, segment.base_offset)
    derived.producers.advance(end)
    return snapshot.damaged


def rebuild_aborted(derived: Derived, segments: Sequence[Segment], bases: Collection[int], end: int) -> None:
    """Find the aborted transactions of some segments again, from the batches. Raises `OSError`."""
    snapshot = load_snapshot(derived.disk, derived.directory, not_after=min(bases))
    states = ProducerStates.from_entries(snapshot.entries, snapshot.offset or 0)
    found: dict[int, list[AbortedTransaction]] = {base: [] for base in bases}
    for segment, batch in _producer_batches_between(segments, snapshot.offset or 0, end):
        done = states.apply(batch)
        if done is not None and done.aborted and segment.base_offset in found:
            found[segment.base_offset].append(
                AbortedTransaction(done.producer_id, done.first_offset, done.last_offset, done.last_stable_offset)
            )
    for base, entries in found.items():
        derived.rebuilt_aborted(base, entries)


def missing_front(files: PartitionFiles, log_start: int, first: int) -> int | None:
    """Where a log of dense offsets began, if its segments begin only at `first` and nobody deleted what was below.

    The log start checkpoint and the leader epochs rise, durably, before a segment goes; epochs that nobody vouches for
    say nothing. None where nothing is missing.
    """
    earliest = files.epochs.earliest
    if earliest is None or not files.epochs_trusted:
        return None
    began = max(earliest.start_offset, log_start)
    return began if began < first else None


def lineage_holds(epochs: LeaderEpochs, segments: Sequence[Segment], start: int, end: int) -> bool:
    """Whether the batches on both sides of every epoch's start, and the last one, carry the epoch that they should:
    two lookups an epoch, no scan.

    An epoch may start below the first batch that is left of it, and the last one may have no batch yet.
    """
    if any(entry.start_offset > end for entry in epochs.entries):
        return False
    starts = {entry.start_offset for entry in epochs.entries}
    for offset in sorted({*starts, *(first - 1 for first in starts), end - 1}):
        if start <= offset < end:
            header = _header_at(segments, offset)
            if header is not None and not epochs.fits(header.base_offset, header.leader_epoch):
                return False
    return bool(epochs) or end == start


def _header_at(segments: Sequence[Segment], offset: int) -> BatchHeader | None:
    """The batch that covers or follows `offset` in its segment; None where there is none, or damage."""
    segment = next((one for one in reversed(segments) if one.base_offset <= offset), segments[0])
    try:
        position = segment.locate(offset)
        if position >= segment.size_bytes:
            return None
        return next(iter(native.headers(segment.read(position, segment.size_bytes))), None)
    except (CorruptionError, InvalidBatch):
        return None


def damaged_snapshots(disk: Disk, directory: str, above: int) -> list[int]:
    """The offsets of snapshots above `above` whose check fails: nothing that recovery read by then has met them."""
    return [
        offset
        for offset in snapshot_offsets(disk.list(directory))
        if offset > above and parse_snapshot(disk.read_file(f"{directory}/{names.snapshot_name(offset)}")) is None
    ]


def rebuild_epochs(segments: Sequence[Segment], end: int) -> LeaderEpochs:
    """The lineage from the batches themselves: a walk over every header of the log."""
    runs: list[EpochRun] = []
    for header in (header for segment, _ in _parts_between(segments, 0, end) for header in segment.headers()):
        if header.base_offset >= end:
            break
        if runs and runs[-1].epoch == header.leader_epoch:
            runs[-1] = runs[-1]._replace(batches=runs[-1].batches + 1)
        else:
            runs.append(EpochRun(header.leader_epoch, header.base_offset, 1))
    return rebuild(runs).epochs


def _producer_batches_between(
    segments: Sequence[Segment], offset: int, end: int
) -> Iterator[tuple[Segment, ProducerBatch]]:
    """What moves the producers' states at or above `offset` and below `end`, with its segment."""
    for segment, position in _parts_between(segments, offset, end):
        for batch in segment.producer_batches(position):
            if offset <= batch.base_offset < end:
                yield segment, batch


def _parts_between(segments: Sequence[Segment], offset: int, end: int) -> Iterator[tuple[Segment, int]]:
    """The segments with batches at or above `offset` and below `end`, and the position to read each from."""
    for i, segment in enumerate(segments):
        segment_end = segments[i + 1].base_offset if i + 1 < len(segments) else end
        if segment_end > offset and segment.base_offset < end:
            yield segment, segment.locate(offset) if offset > segment.base_offset else 0
