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
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from kstore._native.segment import OpenSegments, Recovered, Segment
from kstore._native.view import View
from kstore.errors import CorruptionError
from kstore.log import kept, leftovers, names
from kstore.log.absent import AbsentAsEmpty
from kstore.log.derived import Derived
from kstore.log.replay import (
    damaged_snapshots,
    lineage_holds,
    missing_front,
    rebuild_aborted,
    rebuild_epochs,
    restore_producers,
)
from kstore.log.rewriting import write_again
from kstore.log.twins import PartitionFiles

if TYPE_CHECKING:
    from kstore.config import TopicConfig
    from kstore.log.disk import Disk
    from kstore.log.tails import TailCheckpoint

_log = logging.getLogger(__name__)


class Known(NamedTuple):
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
    undisturbed: bool = True
    """Nobody but kstore has written here since: what its sidecars say of positions still holds."""
    dense_id: bytes | None = None
    """The id of the topic, where its logs are known never to have had a hole."""


class Loaded(NamedTuple):
    """A log as found, ready for `Log`."""

    segments: list[Segment]
    derived: Derived
    log_start_offset: int
    log_end_offset: int
    recovery_point: int
    loader: Loader
    """Makes the segments that come later, and refreshes read-only logs."""
    notes: list[str]
    """What was repaired, one line each; empty after a clean open."""


def _nothing() -> None:
    """No store above: nobody remembers whether there are holes."""


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
        self._front_lost = False
        self.dense = False
        """Offsets are known to follow one another without holes, so that a hole is damage."""
        self.on_hole: Callable[[], None] = _nothing
        """Called before the first batch that leaves offsets out is stored, so that the root forgets it had none."""
        self.recheck_dense: Callable[[], bool] | None = None
        """Asked by a reader before it calls a hole damage: the writer beside it may have stored one since."""

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
        self.dense = known.dense_id is not None and known.dense_id == derived.files.topic_id
        if not known.undisturbed:
            derived.distrust()
        start = self._log_start(derived, known)
        segments = self._segments(listing, start)
        for segment in segments:
            segment.set_quarantine([d for d in derived.damage if d.segment_base_offset == segment.base_offset])
        self._bad_aborted = derived.load_aborted(listing, segments)
        for base in self._bad_aborted:
            derived.rebuilt_aborted(base, ())
        clean = known.clean and self._open_clean(segments, derived)
        if not clean:
            self._recover(segments, derived, known)
        if segments[-1].next_offset < start:
            segments = self._start_over(segments, derived, start)
        else:
            self._look_at_front(derived, start, segments[0].base_offset)
            start = max(start, segments[0].base_offset)
        if self.dense and segments[-1].next_offset < known.durable:
            lost = f"{segments[-1].next_offset} up to {known.durable}"
            self._notes.append(f"{self.directory}: the offsets {lost} are gone; the log goes on behind them")
            self.begin_segment(segments, known.durable)
        elif derived.ends_in_damage(segments[-1]):
            self.begin_segment(segments, segments[-1].next_offset)
        end = segments[-1].next_offset
        self._settle(segments, derived, start, end, clean=clean)
        return Loaded(segments, derived, start, end, end, self, self._notes)

    def _log_start(self, derived: Derived, known: Known) -> int:
        """The checkpoint's word; where no twin vouches for it, the leader epochs, which rise with the log start, may
        reach further down: a flipped digit must not hide records."""
        start = known.log_start or 0
        earliest = derived.epochs.earliest
        return start if known.log_start_sure or earliest is None else min(start, earliest.start_offset)

    def _look_at_front(self, derived: Derived, start: int, first: int) -> None:
        """The first segment begins above the log start: what was below is lost, where it was not deleted by request."""
        lost = missing_front(derived.files, start, first) if self.dense else None
        if lost is not None:
            self._front_lost = True
            self._notes.append(f"{self.directory}: no segment has the offsets {lost} up to {first}: one is gone")

    def begin_segment(self, segments: list[Segment], offset: int) -> None:
        """Append from now on to a new segment: none of its bytes may follow on damage, and no offset come twice."""
        if self._writable and offset > segments[-1].base_offset:
            segments[-1].seal()
            fresh = self.segment(offset)
            fresh.create()
            self.disk.sync_dir(self.directory)
            segments.append(fresh)

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
        if derived.epochs.clear() and self._writable:
            derived.files.write_epochs(derived.epochs)
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
            if found.status and self.dense and not self.still_dense((*segments, *fresh)):
                found = segment.recover(position, next_offset)
            self._take_in(segment, found, derived)
        segments += fresh
        end = segments[-1].next_offset
        start = max(view.log_start_offset, segments[0].base_offset)
        stable = max(derived.producers.last_stable_offset(end), start)
        return View(tuple(segments), start, end, end, stable)

    def still_dense(self, segments: Iterable[Segment]) -> bool:
        """Whether a hole in these segments of the log is still to be called damage."""
        if self.dense and self.recheck_dense is not None and not self.recheck_dense():
            self._forget_dense(segments)
        return self.dense

    def note_hole(self, segments: Iterable[Segment]) -> None:
        """Before the log has a hole, or may get one. Raises `OSError`; then nobody knows of it, and none may come."""
        if self.dense:
            self.on_hole()
            self._forget_dense(segments)

    def _forget_dense(self, segments: Iterable[Segment]) -> None:
        self.dense = False
        for segment in segments:
            segment.dense = False

    def _absent_at(self, base_offset: int) -> Segment:
        self._absent = self.segment(base_offset, mapped=False, absent=True)
        return self._absent

    def _unchanged(self, view: View, segments: list[Segment]) -> bool:
        last = segments[-1]
        return len(segments) == len(view.segments) and self.disk.size(last.path) == last.size_bytes

    def _take_in(self, segment: Segment, found: Recovered, derived: Derived) -> None:
        for epoch, start in found.epochs:
            if epoch > derived.epochs.latest_epoch:
                derived.epochs.assign(epoch, start)  # not a new one: its batches are in the log, `_settle` writes it
        for batch in found.producer_batches:
            derived.apply(batch, segment.base_offset)

    # -- clean ----------------------------------------------------------------------------------------------

    def _open_clean(self, segments: list[Segment], derived: Derived) -> bool:
        """Open as the clean stop left it; False where the tail of the log is damaged and wants a recovery."""
        last = segments[-1]
        try:
            if not last.is_open:
                last.open_for_append()
            self._restore_producers(segments, derived, last.next_offset)
        except CorruptionError as damage:
            self._notes.append(str(damage))
            return False
        return True

    def _restore_producers(self, segments: list[Segment], derived: Derived, end: int) -> None:
        for bad in restore_producers(derived, segments, end):
            self._notes.append(f"ignored {names.snapshot_name(bad)}: its check fails")
            if self._writable:  # another one is written for the same offset when it is due
                self.disk.unlink(f"{self.directory}/{names.snapshot_name(bad)}")

    # -- unclean --------------------------------------------------------------------------------------------

    def _recover(self, segments: list[Segment], derived: Derived, known: Known) -> None:
        tail = derived.tails.usable({segment.base_offset: segment.path for segment in segments})
        if tail is None and self._writable:
            derived.tails.remove()  # of a log that is no more
        scan_from, durable = known.scan_from, known.durable
        if tail is not None:
            scan_from, durable = max(scan_from, tail.next_offset), max(durable, tail.next_offset)
        first = max((i for i, segment in enumerate(segments) if segment.base_offset <= scan_from), default=0)
        found = None if tail is None else self._from_tail(segments[first], derived, tail)
        if found is None:
            first = self._begin_scan(segments, derived, first)
        i = first
        while i < len(segments):
            end_offset = segments[i + 1].base_offset if i + 1 < len(segments) else -1
            later = segments[i + 1 :]
            if self._recover_segment(segments[i], derived, found if i == first else None, durable, end_offset, later):
                del segments[i + 1 :]
            if i + 1 < len(segments) and self._writable:
                segments[i].seal()
                derived.reseal([segments[i]])
            i += 1
        if self._writable:
            for offset in damaged_snapshots(self.disk, self.directory, segments[first].base_offset):
                self.disk.unlink(f"{self.directory}/{names.snapshot_name(offset)}")
                self._notes.append(f"removed {names.snapshot_name(offset)}: its check fails")
        end = segments[-1].next_offset
        derived.epochs.truncate_from_end(end)
        derived.producers.advance(end)
        if self._writable:
            # What a killed process left is in the page cache only, its new files' names too.
            if known.undisturbed:  # else the recovery point is Kafka's, and may lie a whole segment back
                write_again(self.disk, segments[first:], durable)
            segments[-1].flush_log()
            derived.sync_snapshots(segments[first:])
            self.disk.sync_dir(self.directory)

    def _from_tail(self, segment: Segment, derived: Derived, tail: TailCheckpoint) -> Recovered | None:
        """Scan what came after a tail checkpoint; None where the segment is another, or damaged below it.

        Batches below it are not read again, but those behind the last index entry are counted by their headers.
        """
        if segment.base_offset != tail.segment_base_offset:
            return None
        try:
            found = segment.recover(
                tail.position,
                tail.next_offset,
                leader_epoch=tail.last_batch.leader_epoch if tail.last_batch else -1,
                dense=self.dense,
                header_digest=tail.header_digest,
                max_timestamp_ms=tail.max_timestamp_ms,
            )
        except CorruptionError as damage:
            self._notes.append(str(damage))
            return None
        derived.restore_producers(tail.producers, tail.next_offset)
        base = tail.segment_base_offset
        if base not in self._bad_aborted and not derived.aborted_fits(base, tail.txn_index, tail.next_offset):
            self._bad_aborted.append(base)
        derived.replace_aborted(segment, tail.next_offset)
        return found

    def _begin_scan(self, segments: list[Segment], derived: Derived, first: int) -> int:
        """Restore the producers as they were where segment `first` begins; returns the segment to scan from.

        That is the very first one where damage hides what became of the producers: a scan goes on behind it.
        """
        try:
            self._restore_producers(segments[:first], derived, segments[first].base_offset)
        except CorruptionError as damage:
            self._notes.append(str(damage))
            first = 0
            self._restore_producers([], derived, segments[0].base_offset)
        return first

    def _recover_segment(
        self,
        segment: Segment,
        derived: Derived,
        found: Recovered | None,
        durable: int,
        end_offset: int,
        later: list[Segment],
    ) -> bool:
        """Scan one segment, unless it is `found` already; True where the log ends in it, and `later` ones go."""
        dense = self.dense
        if found is None:
            found = segment.recover(dense=dense)
            derived.replace_aborted(segment, segment.base_offset)
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
        ends = end_offset >= 0 and found.next_offset >= durable and _falls_short(found, end_offset, dense=dense)
        if ends:  # before the cut, without which nothing says that they lie behind one: the offsets may have holes
            self._set_aside(later)
        if found.end_position < found.file_size_bytes:
            self._cut(segment, found)
        return ends

    def _check_epochs(self, segments: list[Segment], derived: Derived, start: int, end: int) -> None:
        if derived.files.epochs_trusted:
            return
        if derived.epochs and lineage_holds(derived.epochs, segments, start, end):
            return
        epochs = rebuild_epochs(segments, end)
        if epochs != derived.epochs:
            self._notes.append(f"rebuilt {names.EPOCHS_FILE} from the batches")
            derived.epochs = epochs

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
        kept.keep(self.disk, segment.path, found.end_position, removed)
        segment.truncate(found.end_position, found.next_offset)
        segment.flush_log()

    def _set_aside(self, segments: list[Segment]) -> None:
        """Segments behind a cut: out of the log, their bytes kept under another name."""
        for segment in segments:
            self._notes.append(f"{segment.path}: set aside behind a cut")
            if self._writable:
                segment.abandon()
                kept.keep_segment(self.disk, segment.path)
                for kind in ("index", "timeindex", "txnindex"):
                    path = f"{self.directory}/{names.file_name(segment.base_offset, kind)}"
                    if self.disk.exists(path):
                        self.disk.unlink(path)
        if segments and self._writable:
            self.disk.sync_dir(self.directory)

    def _settle(self, segments: list[Segment], derived: Derived, start: int, end: int, *, clean: bool) -> None:
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
        if not clean:  # in this order, or a lineage that is empty after one recovery comes back in the next
            if not self._front_lost:  # what the lineage says of it is the only witness
                derived.epochs.truncate_from_start(start)
            derived.epochs.truncate_from_end(end)
        if self._writable:
            derived.files.write_epochs(derived.epochs)
            derived.files.heal()
            derived.remove_stray_snapshots([s.base_offset for s in segments], start, end)
            derived.forget_seals({s.base_offset for s in segments[:-1]})


def _falls_short(found: Recovered, end_offset: int, *, dense: bool) -> bool:
    """Whether a segment ends in a bad batch, or whole but before the next segment begins, as a lost page leaves it."""
    return bool(found.status) or (dense and found.next_offset < end_offset)
