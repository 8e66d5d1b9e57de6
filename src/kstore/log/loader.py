"""Opening a log: from the files of a partition directory to a `Log`'s first state. Recovery lives here.

Owns the order of steps at open and what is cut, kept or put aside. It must not know replica roles, clocks or other
partitions. Called by `store` (through `Log`), once for each partition; afterwards the log never looks here again.

Invariants:
1. A clean open reads no segment body beyond the tail behind the last index entry.
2. Below `durable`, damage is put in quarantine and never cut; above it, the log ends at the first bad batch, and what
   is cut is kept beside it in a `.corrupt` file unless it is nothing but zeros.
3. Loading twice gives the same files, byte for byte.
4. A read-only load changes no byte.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstore._native.segment import OpenSegments, Recovered, Segment
from kstore._native.view import View
from kstore.errors import CorruptionError
from kstore.log import leftovers, names
from kstore.log.absent import AbsentAsEmpty
from kstore.log.derived import Derived
from kstore.log.replay import (
    damaged_snapshots,
    lineage_holds,
    rebuild_aborted,
    rebuild_epochs,
    restore_producers,
)
from kstore.log.rows import row_of_scan
from kstore.log.tails import TailCheckpoint, tail_fits
from kstore.log.twins import PartitionFiles

if TYPE_CHECKING:
    from kstore.config import TopicConfig
    from kstore.log.disk import Disk

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What the directory's root says of one partition."""

    clean: bool
    """The last stop was clean: no byte needs to be checked."""
    scan_from: int
    """Records at or above this offset are re-checked after an unclean stop."""
    durable: int
    """Records below this offset were on the medium: what is bad among them is damage, not a torn tail."""
    log_start: int | None
    """The log start offset, None where it is the first segment's base."""
    log_start_sure: bool = True
    """A checksummed twin vouches for `log_start`."""


@dataclass
class Loaded:
    """A log as found, ready for `Log`."""

    segments: list[Segment]
    derived: Derived
    log_start_offset: int
    log_end_offset: int
    recovery_point: int
    loader: Loader
    """Makes the segments that come later, and refreshes read-only logs."""
    notes: list[str] = field(default_factory=list)
    """What was repaired, one line each; empty after a clean open."""


class Loader:
    """Loads one partition directory."""

    def __init__(
        self, disk: Disk, directory: str, config: TopicConfig, open_segments: OpenSegments, *, writable: bool
    ) -> None:
        self.disk = disk
        self.directory = directory
        self.config = config
        self._open_segments = open_segments
        self._writable = writable
        self._notes: list[str] = []
        self._absent: Segment | None = None
        """Stands for the first segment of a log that its writer is still making."""
        self._bad_aborted: list[int] = []
        self.dense = False
        """Offsets are known to follow one another without holes, so that a hole is damage."""

    def segment(self, base_offset: int, *, mapped: bool = True, absent: bool = False) -> Segment:
        """A segment object of this log; no I/O. `absent`: its files are not there yet, and count as empty."""
        segment = Segment(
            AbsentAsEmpty(self.disk) if absent else self.disk,
            self.directory,
            base_offset,
            index_interval_bytes=self.config.index_interval_bytes,
            index_bytes_max=self.config.segment_index_bytes,
            writable=self._writable,
            mapped=mapped,
            open_segments=self._open_segments,
        )
        segment.dense = self.dense
        return segment

    def load(self, known: Known) -> Loaded:
        """Load the log; raises `OSError` where the disk fails and `CorruptionError` never: damage is put aside."""
        if self._writable:
            self._notes += leftovers.resolve(self.disk, self.directory)
        listing = self.disk.list(self.directory)
        derived = Derived(
            self.disk, self.directory, PartitionFiles.open(self.disk, self.directory), writable=self._writable
        )
        start = self._log_start(derived, known)
        segments = self._segments(listing, start)
        for segment in segments:
            segment.set_quarantine([d for d in derived.damage if d.segment_base_offset == segment.base_offset])
        self._bad_aborted = derived.load_aborted(listing, segments)
        for base in self._bad_aborted:
            derived.rebuilt_aborted(base, ())
        if not (known.clean and self._open_clean(segments, derived)):
            self._recover(segments, derived, known)
        if segments[-1].next_offset < start:
            segments = self._start_over(segments, derived, start)
        else:
            start = max(start, segments[0].base_offset)
        end = segments[-1].next_offset
        self._settle(segments, derived, start, end)
        return Loaded(segments, derived, start, end, end, self, self._notes)

    def _log_start(self, derived: Derived, known: Known) -> int:
        """The checkpoint's word; where no twin vouches for it, the leader epochs, which rise with the log start, may
        reach further down: a flipped digit must not hide records."""
        start = known.log_start or 0
        earliest = derived.epochs.earliest
        return start if known.log_start_sure or earliest is None else min(start, earliest.start_offset)

    def _segments(self, listing: Iterable[str], log_start: int) -> list[Segment]:
        bases: list[int] = []
        orphans: list[str] = []
        files = [(name, file) for name in listing if (file := names.parse_file_name(name)) and not file.suffix]
        logs = {file.offset for _, file in files if file.kind == "log"}
        for name, file in files:
            if file.kind == "log":
                bases.append(file.offset)
            elif file.kind != "snapshot" and file.offset not in logs:
                orphans.append(name)
        if self._writable:
            for name in orphans:
                self.disk.unlink(f"{self.directory}/{name}")
                self._notes.append(f"removed {name}: it has no log")
        if not bases and not self._writable:
            return [self._absent_at(log_start)]
        if not bases:
            fresh = self.segment(log_start)
            fresh.create()
            self.disk.sync_dir(self.directory)
            return [fresh]
        bases.sort()
        bases = self._without_dead(bases, log_start)
        return [self.segment(base, mapped=self._writable or base != bases[-1]) for base in bases]

    def _without_dead(self, bases: list[int], log_start: int) -> list[int]:
        """The segments that are not wholly below the log start: a crash brings back any that had been deleted."""
        dead = [base for base, following in itertools.pairwise(bases) if following <= log_start]
        if self._writable:
            for base in dead:
                self.segment(base).unlink()
                self._notes.append(f"removed segment {base}: it lies below the log start offset {log_start}")
            if dead:
                self.disk.sync_dir(self.directory)
        return bases[len(dead) :]

    def _start_over(self, segments: list[Segment], derived: Derived, start: int) -> list[Segment]:
        """An empty log at the log start offset: all that the crash left had been deleted by request."""
        self._notes.append(f"the log ended at {segments[-1].next_offset}, below its start {start}: it begins there")
        fresh = self.segment(start) if self._writable else self._absent_at(start)
        if self._writable:
            derived.tails.remove()
            for segment in segments:
                segment.abandon()
                segment.unlink()
            fresh.create()
            self.disk.sync_dir(self.directory)
        derived.producers.clear(start)
        return [fresh]

    def refresh(self, view: View, derived: Derived) -> View | None:
        """What a read-only log shows after its writer went on; None where nothing has changed.

        None, too, where the writer deletes files at this moment: the next call sees what is left.
        """
        try:
            return self._refreshed(view, derived)
        except FileNotFoundError:
            return None

    def _refreshed(self, view: View, derived: Derived) -> View | None:
        files = [names.parse_file_name(name) for name in self.disk.list(self.directory)]
        bases = sorted(f.offset for f in files if f is not None and f.kind == "log" and not f.suffix)
        segments = [s for s in view.segments if s.base_offset in bases and s is not self._absent]
        last = segments[-1] if segments else None
        fresh = [self.segment(base, mapped=False) for base in bases if last is None or base > last.base_offset]
        if not fresh and (last is None or self._unchanged(view, segments)):
            return None
        for segment in (*segments[-1:], *fresh):
            position = segment.size_bytes if segment is last else 0
            next_offset = segment.next_offset if segment is last else segment.base_offset
            found = segment.recover(position, next_offset, dense=self.dense)
            self._take_in(segment, found, derived)
        segments += fresh
        end = segments[-1].next_offset
        start = max(view.log_start_offset, segments[0].base_offset)
        stable = max(derived.producers.last_stable_offset(end), start)
        return View(tuple(segments), start, end, end, stable)

    def _absent_at(self, base_offset: int) -> Segment:
        self._absent = self.segment(base_offset, mapped=False, absent=True)
        return self._absent

    def _unchanged(self, view: View, segments: list[Segment]) -> bool:
        last = segments[-1]
        return len(segments) == len(view.segments) and self.disk.size(last.path) == last.size_bytes

    def _take_in(self, segment: Segment, found: Recovered, derived: Derived) -> None:
        for epoch, start in found.epochs:
            if epoch > derived.epochs.latest_epoch:
                derived.assign_epoch(epoch, start)
        for row in found.producer_batches:
            mapped = row_of_scan(row)
            if mapped is not None:
                derived.apply(mapped, segment.base_offset)

    # -- clean ----------------------------------------------------------------------------------------------

    def _open_clean(self, segments: list[Segment], derived: Derived) -> bool:
        """Open as the clean stop left it; False where the tail of the log is damaged and wants a recovery."""
        last = segments[-1]
        if not last.is_open:
            try:
                last.open_for_append()
            except CorruptionError as damage:
                self._notes.append(str(damage))
                return False
        end = last.next_offset
        self._restore_producers(segments, derived, end)
        return True

    def _restore_producers(self, segments: list[Segment], derived: Derived, end: int) -> None:
        for bad in restore_producers(derived, segments, end):
            self._notes.append(f"ignored {names.snapshot_name(bad)}: its check fails")
            if self._writable:  # another one is written for the same offset when it is due
                self.disk.unlink(f"{self.directory}/{names.snapshot_name(bad)}")

    # -- unclean --------------------------------------------------------------------------------------------

    def _recover(self, segments: list[Segment], derived: Derived, known: Known) -> None:
        tail = self._usable_tail(segments, derived)
        scan_from = known.scan_from
        durable = known.durable if tail is None else max(known.durable, tail.next_offset)
        first = 0
        for i, segment in enumerate(segments):
            if segment.base_offset <= (scan_from if tail is None else tail.next_offset):
                first = i
        if tail is not None and segments[first].base_offset == tail.segment_base_offset:
            derived.restore_producers(tail.producers, tail.next_offset)
            base = tail.segment_base_offset
            if base not in self._bad_aborted and not derived.aborted_fits(base, tail.txn_index, tail.next_offset):
                self._bad_aborted.append(base)
        else:
            tail = None
            self._restore_producers(segments[:first], derived, segments[first].base_offset)
        i = first
        while i < len(segments):
            end_offset = segments[i + 1].base_offset if i + 1 < len(segments) else -1
            cut = self._recover_segment(segments[i], derived, tail if i == first else None, durable, end_offset)
            if cut:
                self._set_aside(segments[i + 1 :])
                del segments[i + 1 :]
            if i + 1 < len(segments) and self._writable:
                segments[i].seal()
            i += 1
        if self._writable:
            for offset in damaged_snapshots(self.disk, self.directory, segments[first].base_offset):
                self.disk.unlink(f"{self.directory}/{names.snapshot_name(offset)}")
                self._notes.append(f"removed {names.snapshot_name(offset)}: its check fails")
        end = segments[-1].next_offset
        if derived.epochs.truncate_from_end(end) and self._writable:
            derived.files.write_epochs(derived.epochs)
        derived.producers.advance(end)
        if self._writable:
            # What a killed process left is in the page cache only, its new files' names too.
            segments[-1].flush_log()
            self.disk.sync_dir(self.directory)

    def _usable_tail(self, segments: list[Segment], derived: Derived) -> TailCheckpoint | None:
        """The newest tail checkpoint whose log bytes are still there."""
        paths = {segment.base_offset: segment.path for segment in segments}

        def fits(tail: TailCheckpoint) -> bool:
            path = paths.get(tail.segment_base_offset)
            if path is None:
                return False
            file = self.disk.open_file(path, writable=False)
            try:
                return tail_fits(tail, file)
            finally:
                file.close()

        return derived.tails.newest(fits)

    def _recover_segment(
        self, segment: Segment, derived: Derived, tail: TailCheckpoint | None, durable: int, end_offset: int
    ) -> bool:
        """Scan one segment from the tail checkpoint, or whole; True where its end was cut."""
        dense = self.dense
        if tail is None:
            found = segment.recover(dense=dense)
            derived.replace_aborted(segment, segment.base_offset)
        else:
            found = segment.recover(
                tail.position,
                tail.next_offset,
                leader_epoch=tail.last_batch.leader_epoch if tail.last_batch else -1,
                dense=dense,
                header_digest=tail.header_digest,
                max_timestamp_ms=tail.max_timestamp_ms,
            )
            derived.replace_aborted(segment, tail.next_offset)
        if _falls_short(found, end_offset, dense=dense) and found.next_offset < durable:
            derived.quarantine(
                segment,
                end_offset if end_offset <= durable else -1,
                dense=dense,
                durable=durable,
                end_position=found.file_size_bytes,
            )
            self._notes.append(f"{segment.path}: {found.reason} at byte {found.end_position}; put in quarantine")
            found = segment.recover(dense=dense)
        self._take_in(segment, found, derived)
        if found.end_position < found.file_size_bytes:
            self._cut(segment, found)
        return end_offset >= 0 and found.next_offset >= durable and _falls_short(found, end_offset, dense=dense)

    def _check_epochs(self, segments: list[Segment], derived: Derived, start: int, end: int) -> None:
        if derived.files.epochs_trusted:
            return
        if derived.epochs and lineage_holds(derived.epochs, segments, start, end):
            epochs = derived.epochs
        else:
            epochs = rebuild_epochs(segments, end)
            if epochs == derived.epochs:
                return
            self._notes.append(f"rebuilt {names.EPOCHS_FILE} from the batches")
        derived.epochs = epochs
        if self._writable and epochs:
            derived.files.write_epochs(epochs)

    def _cut(self, segment: Segment, found: Recovered) -> None:
        """End the segment at its last good batch; the bytes behind are kept unless they are zeros."""
        length = found.file_size_bytes - found.end_position
        self._notes.append(f"{segment.path}: cut {length} bytes at {found.end_position}: {found.reason or 'zeros'}")
        if not self._writable:
            return
        file = self.disk.open_file(segment.path, writable=False)
        try:
            removed = file.read_at(found.end_position, length)
        finally:
            file.close()
        if removed.strip(b"\0"):
            self.disk.write_file_atomic(f"{segment.path}.{found.end_position}.corrupt", removed)
        segment.truncate(found.end_position, found.next_offset)
        segment.flush_log()

    def _set_aside(self, segments: list[Segment]) -> None:
        """Segments behind a cut: out of the log, their bytes kept under another name."""
        for segment in segments:
            self._notes.append(f"{segment.path}: set aside behind a cut")
            if self._writable:
                segment.abandon()
                self.disk.rename(segment.path, f"{segment.path}.corrupt")
                for kind in ("index", "timeindex", "txnindex"):
                    path = f"{self.directory}/{names.file_name(segment.base_offset, kind)}"
                    if self.disk.exists(path):
                        self.disk.unlink(path)
        if segments and self._writable:
            self.disk.sync_dir(self.directory)

    def _settle(self, segments: list[Segment], derived: Derived, start: int, end: int) -> None:
        """Bring what lies beside the segments in line with them."""
        try:
            self._check_epochs(segments, derived, start, end)
            there = {segment.base_offset for segment in segments}
            bad = [base for base in self._bad_aborted if base in there]
            if bad:
                rebuild_aborted(derived, segments, bad, end)
                self._notes.append(f"rebuilt the transaction indexes of {bad}")
        except CorruptionError as damage:
            self._notes.append(f"{damage}; what is derived from it is left as it was")
        if self._writable:
            derived.remove_stray_snapshots([s.base_offset for s in segments], start, end)
            derived.forget_seals({s.base_offset for s in segments[:-1]})


def _falls_short(found: Recovered, end_offset: int, *, dense: bool) -> bool:
    """Whether a segment ends in a bad batch, or whole but before the next segment begins, as a lost page leaves it."""
    return bool(found.status) or (dense and found.next_offset < end_offset)
