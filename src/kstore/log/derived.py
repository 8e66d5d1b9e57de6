"""What a log's batches imply, kept in memory and in files beside the segments.

Owns leader epochs, producer state and its snapshots, the transaction index, and kstore's own sidecars: seals of
finished segments, tail checkpoints, the quarantine. All of it can be found again by reading the log; `loader` does
so where a file is missing. Called by `log` and `loader` under the writer lock. It must not know segments' insides
or decide when to roll.

Invariants:
1. A leader epoch is in its file before the first batch of that epoch is in the log.
2. A lost or failed sidecar of our own costs time at the next open, never data; writing one never fails an append.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kstore.log import names
from kstore.log.damage import DamagedRange, damaged_below, read_damage, write_damage
from kstore.log.digests import NO_FILE, FileDigest
from kstore.log.epochs import LeaderEpochs
from kstore.log.producers import ProducerBatch, ProducerEntry, ProducerStates
from kstore.log.seals import SegmentSeal, read_seals, write_seals
from kstore.log.snapshots import snapshot_offsets, stray_snapshots, write_snapshot
from kstore.log.tails import TailCheckpoint, TailFiles
from kstore.log.transactions import AbortedTransaction, TransactionIndex, aborted_between

if TYPE_CHECKING:
    from kstore._native.segment import Segment
    from kstore.log.disk import Disk
    from kstore.log.twins import PartitionFiles

_log = logging.getLogger(__name__)


class Derived:
    """The state beside one log's segments."""

    def __init__(self, disk: Disk, directory: str, files: PartitionFiles, *, writable: bool) -> None:
        self.disk = disk
        self.directory = directory
        self.files = files
        self.epochs = files.epochs
        self.producers = ProducerStates()
        self.seals: dict[int, SegmentSeal] = read_seals(disk, directory)
        self.damage: tuple[DamagedRange, ...] = read_damage(disk, directory)
        self.tails = TailFiles(disk, directory)
        self._aborted: dict[int, TransactionIndex] = {}
        self._aborted_late: set[int] = set()
        self._writable = writable

    def distrust(self) -> None:
        """Take nothing from sidecars that speak of positions: someone else may have moved the bytes since."""
        self.seals = {}
        self.damage = ()

    # -- leader epochs --------------------------------------------------------------------------------------

    def assign_epoch(self, epoch: int, start_offset: int) -> None:
        """Note that `epoch` starts at `start_offset`; on the medium when this returns. Raises `OSError`."""
        changed = self.epochs.copy()
        if changed.assign(epoch, start_offset):
            self._take_epochs(changed)

    def _take_epochs(self, changed: LeaderEpochs) -> None:
        """The file first: what could not be written is not so, or nobody would write it again. Raises `OSError`."""
        if self._writable:
            self.files.write_epochs(changed)
        self.epochs = changed

    # -- producers and transactions -------------------------------------------------------------------------

    def apply(self, batch: ProducerBatch, segment_base_offset: int) -> None:
        """Take a stored batch into the producer state; an abort goes to the transaction index of its segment."""
        done = self.producers.apply(batch)
        if done is None or not done.aborted:
            return
        index = self.aborted_index(segment_base_offset)
        entry = AbortedTransaction(done.producer_id, done.first_offset, done.last_offset, done.last_stable_offset)
        if index.entries and index.entries[-1].last_offset >= entry.last_offset:
            return  # a replay: the index has it
        try:
            if not self._writable:
                raise OSError(0, "read-only")
            index.append(entry)
        except OSError:
            # The marker is in the log, so readers must honour it; the file is written whole at the next flush.
            index.entries = (*index.entries, entry)
            self._aborted_late.add(segment_base_offset)

    def flush_aborted(self) -> None:
        """Sync the transaction indexes that grew. Raises `OSError`."""
        for base in sorted(self._aborted_late):
            self._aborted[base].replace(self._aborted[base].entries)
        self._aborted_late.clear()
        for index in self._aborted.values():
            index.flush()

    def replace_aborted(self, segment: Segment, offset: int) -> None:
        """Drop what a segment's transaction index says from `offset` on: the scan that follows finds it again."""
        index = self._aborted.get(segment.base_offset)
        if index is not None and index.entries and index.entries[-1].last_offset >= offset:
            if self._writable:
                index.truncate(offset)
            else:
                index.entries = tuple(entry for entry in index.entries if entry.last_offset < offset)

    def aborted_fits(self, segment_base_offset: int, expected: FileDigest, below: int) -> bool:
        """Whether a segment's transaction index is, below an offset, what a tail checkpoint remembers."""
        index = self.aborted_index(segment_base_offset)
        if index.load(expected, below=below):
            return True
        self.rebuilt_aborted(segment_base_offset, ())
        return False

    def rebuilt_aborted(self, segment_base_offset: int, entries: Iterable[AbortedTransaction]) -> None:
        """Put a segment's transaction index, found again from the log, in place of a damaged one. `OSError`."""
        index = self.aborted_index(segment_base_offset)
        if self._writable:
            index.replace(entries)
        else:
            index.entries = tuple(entries)

    def aborted_index(self, segment_base_offset: int) -> TransactionIndex:
        """The transaction index of a segment; its file appears with the first entry."""
        index = self._aborted.get(segment_base_offset)
        if index is None:
            index = TransactionIndex(self.disk, self.directory, segment_base_offset)
            self._aborted[segment_base_offset] = index
        return index

    def aborted_between(self, segments: Iterable[Segment], offset: int, end: int) -> list[tuple[int, int, int]]:
        """Aborted transactions that touch offsets from `offset` up to `end`, by producer."""
        if not self._aborted:
            return []
        rising = [self._aborted[s.base_offset].entries for s in segments if s.base_offset in self._aborted]
        return aborted_between(rising, offset, end)

    def write_snapshot(self, offset: int, *, sync: bool = False) -> None:
        """Write the producer snapshot of `offset`, as Kafka does at a roll and a clean stop. Raises `OSError`."""
        if offset > 0:
            self.producers.advance(offset)
            write_snapshot(self.disk, self.directory, self.producers, sync=sync)

    def sync_snapshots(self, segments: Iterable[Segment]) -> None:
        """Sync the snapshots that these segments' rolls wrote: recovery looks at none below its start. `OSError`."""
        for segment in segments:
            path = f"{self.directory}/{names.snapshot_name(segment.base_offset)}"
            if self.disk.exists(path):
                file = self.disk.open_file(path)
                try:
                    file.sync()
                finally:
                    file.close()

    def remove_snapshot(self, offset: int) -> None:
        """Delete the snapshot of `offset` where there is one. Raises `OSError`."""
        path = f"{self.directory}/{names.snapshot_name(offset)}"
        if self.disk.exists(path):
            self.disk.unlink(path)

    def restore_producers(self, entries: Iterable[ProducerEntry], offset: int) -> None:
        """Start from what a snapshot or a tail checkpoint says of `offset`."""
        self.producers = ProducerStates.from_entries(entries, offset)

    def load_aborted(self, listing: Iterable[str], segments: Sequence[Segment]) -> list[int]:
        """Read the transaction indexes there are; returns the segments whose index must be rebuilt."""
        there = {file.offset for name in listing if (file := names.parse_file_name(name)) and file.kind == "txnindex"}
        bad: list[int] = []
        for segment in segments:
            base = segment.base_offset
            seal = self.seals.get(base)
            if base in there:
                if not self.aborted_index(base).load(seal.txn_index if seal is not None else None):
                    bad.append(base)
            elif seal is not None and seal.txn_index != NO_FILE:
                bad.append(base)
        return bad

    def remove_stray_snapshots(self, segment_bases: list[int], log_start: int, log_end: int) -> None:
        """Delete snapshots that Kafka would not keep either (ProducerStateManager.removeStraySnapshots).

        The one of the first segment stays where Kafka drops it, below the log start: it alone knows the producers
        whose batches are deleted.
        """
        offsets = snapshot_offsets(self.disk.list(self.directory))
        for offset in stray_snapshots(offsets, segment_bases, log_start, log_end):
            if offset not in segment_bases:
                self.remove_snapshot(offset)

    # -- truncation and deletion ----------------------------------------------------------------------------

    def truncate(self, offset: int, segments: Sequence[Segment]) -> None:
        """Forget what lies at or above `offset`; producer state is the caller's to restore. Raises `OSError`."""
        self.tails.remove()
        self.truncate_epochs(offset)
        kept = {segment.base_offset for segment in segments}
        for base, index in list(self._aborted.items()):
            if base not in kept:
                index.unlink()
                del self._aborted[base]
            elif index.entries and index.entries[-1].last_offset >= offset:
                index.truncate(offset)
        self._aborted_late.clear()
        for snapshot in snapshot_offsets(self.disk.list(self.directory)):
            if snapshot > offset:
                self.disk.unlink(f"{self.directory}/{names.snapshot_name(snapshot)}")
        self.forget_seals(kept - {segments[-1].base_offset})

    def truncate_epochs(self, end_offset: int) -> None:
        """Forget the leader epochs that start at or above `end_offset`. Raises `OSError`."""
        changed = self.epochs.copy()
        if changed.truncate_from_end(end_offset):
            self._take_epochs(changed)

    def start_over(self, offset: int, segments: Iterable[Segment]) -> None:
        """The log is emptied and goes on at `offset`: nothing that its batches implied is left. Raises `OSError`."""
        if self.epochs:
            self._take_epochs(LeaderEpochs())
        for segment in segments:
            self.segment_deleted(segment.base_offset)
        for snapshot in snapshot_offsets(self.disk.list(self.directory)):
            self.remove_snapshot(snapshot)
        self._aborted_late.clear()
        self.producers.clear(offset)
        self.forget_damage(0)
        self.forget_seals(set())

    def start_moved(self, offset: int) -> None:
        """The log start offset rose to `offset`. Raises `OSError`."""
        changed = self.epochs.copy()
        if changed.truncate_from_start(offset):
            self._take_epochs(changed)
        self.producers.on_log_start(offset)

    def segment_deleted(self, base_offset: int) -> None:
        """A segment is gone: its transaction index, snapshot and seal go too. Raises `OSError`."""
        index = self._aborted.pop(base_offset, None)
        if index is not None:
            index.unlink()
        self.remove_snapshot(base_offset)
        self.seals.pop(base_offset, None)

    def forget_seals(self, sealed: set[int]) -> None:
        """Drop the seals of segments that are not among the sealed ones any more."""
        gone = [base for base in self.seals if base not in sealed]
        for base in gone:
            del self.seals[base]
        if gone and self._writable:
            self._losable(lambda: write_seals(self.disk, self.directory, self.seals), "seals")

    # -- damage ---------------------------------------------------------------------------------------------

    def forget_damage(self, offset: int) -> None:
        """Forget, durably, the damage at or above `offset`: what is appended there next is good. Raises `OSError`."""
        below = [d for d in self.damage if d.first_offset < offset]
        kept = tuple(d._replace(next_offset=min(d.next_offset, offset)) for d in below)
        if kept != self.damage:
            write_damage(self.disk, self.directory, kept, durable=True)
            self.damage = kept

    def ends_in_damage(self, last: Segment) -> bool:
        """Whether a file ends in damaged bytes: half a batch could take its other half from an append behind it."""
        ends = (d.end_position for d in self.damage if d.segment_base_offset == last.base_offset)
        return max(ends, default=-1) >= last.size_bytes

    def quarantine(
        self, segment: Segment, end_offset: int, *, dense: bool, durable: int = -1, end_position: int = -1
    ) -> bool:
        """Scan a segment, put its damaged ranges aside and remember them; False where none is new.

        In the last segment (`end_offset` -1) only what begins below `durable` is damage, see `damaged_below`.
        `end_position` is the file's size while a recovery that stopped at the damage has not ended.
        """
        found = segment.scan_damage(end_offset, dense=dense, end_position=end_position)
        bad = found.bad
        if end_offset < 0 <= durable:
            bad = damaged_below(bad, found.size_bytes, durable)
        base = segment.base_offset
        before = {(d.position, d.end_position) for d in self.damage if d.segment_base_offset == base}
        ranges = [
            DamagedRange(base, r.position, r.end_position, r.first_offset, r.next_offset, r.reason) for r in bad
        ]
        segment.set_quarantine(bad)
        self.damage = (*(d for d in self.damage if d.segment_base_offset != base), *ranges)
        if self._writable:
            self._losable(lambda: write_damage(self.disk, self.directory, self.damage), "quarantine")
        return any((d.position, d.end_position) not in before for d in ranges)

    # -- sidecars -------------------------------------------------------------------------------------------

    def seal(self, segment: Segment, header_digest: int | None) -> None:
        """Remember the digest of a finished segment, so that any later change of a bit in it is seen."""
        if header_digest is None:
            return
        try:
            offset_index, time_index = segment.index_digests()
        except OSError as error:
            _log.warning("no seal of %s (%s): a change of it is seen by its checksums only", segment.path, error)
            return
        aborted = self._aborted.get(segment.base_offset)
        seal = SegmentSeal(
            segment.base_offset,
            segment.next_offset,
            segment.size_bytes,
            header_digest,
            segment.max_timestamp_ms,
            FileDigest(*offset_index),
            FileDigest(*time_index),
            aborted.digest if aborted is not None else NO_FILE,
        )
        if self.seals.get(segment.base_offset) == seal:
            return
        self.seals[segment.base_offset] = seal
        self._losable(lambda: write_seals(self.disk, self.directory, self.seals), "seals")

    def reseal(self, segments: Iterable[Segment]) -> None:
        """After their indexes were made anew: the seals of segments whose log is still what was sealed."""
        for segment in segments:
            seal = self.seals.get(segment.base_offset)
            sealed = (segment.header_digest, segment.size_bytes)
            if seal is not None and sealed == (seal.header_digest, seal.size_bytes):
                self.seal(segment, seal.header_digest)

    def tail_of(self, segment: Segment, next_offset: int) -> TailCheckpoint | None:
        """The tail checkpoint of this moment; None where the segment's digest is not known."""
        self.producers.advance(next_offset)
        aborted = self._aborted.get(segment.base_offset)
        return TailCheckpoint.of(segment, self.producers.entries(), NO_FILE if aborted is None else aborted.digest)

    def write_tail(self, tail: TailCheckpoint) -> None:
        """Write a tail checkpoint whose log bytes are on the medium."""
        self._losable(lambda: self.tails.write(tail), "tail checkpoint")

    def _losable(self, write: Callable[[], None], what: str) -> None:
        try:
            write()
        except OSError as error:
            _log.warning("%s of %s not written (%s): the next recovery reads more", what, self.directory, error)
