"""Letting go of records: truncation, deletion of old ones, and what only replication may ask for, to start over.

Owns the order of steps in which a log gets shorter, such that a crash between any two leaves a log that recovery
understands. Called by `log` and `partition` under the writer lock; it must not know who asks, or why.

Invariants
1. Readers keep what they have mapped: a file that gets shorter is replaced, a segment that goes is unlinked.
2. Later segments go, durably and one by one, before earlier ones do or are shortened: what a power loss leaves is a
   prefix. Names reach the medium in any order unless their directory is synced between, and a hole in the middle of a
   log passes for compaction or for damage.
3. Where the disk is full nothing has changed; a failure later on is final for the directory, for the log is half cut.
4. Offsets stay dense: a batch goes whole or stays whole, so an offset inside of one is refused. Replication never asks
   for that, because two logs that agree up to an epoch's end have the same batches up to there.
5. Damage is no reason to keep what must go: it is put aside where it hides the place, and stays, as far as it lies
   below the offset. What is appended next does not follow on its bytes: it gets a segment of its own.
6. `start_over` expects the new log start in its checkpoint before: without any segment the loader begins there.
7. A segment that the disk keeps is still the log's: only with it does the checkpoint name the log start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kstore._native import batch as native
from kstore._native.view import View
from kstore.errors import CorruptionError, InvariantError
from kstore.log import names
from kstore.log.prefixes import take_prefix, write_prefix
from kstore.log.replay import restore_producers

if TYPE_CHECKING:
    from kstore._native.segment import Segment
    from kstore.log.log import Log


def truncate(log: Log, offset: int) -> None:
    """Drop every record at or above `offset`, and every leader epoch that starts there.

    Raises `StorageError`; with nothing changed, `InvariantError` for an offset inside a batch. An offset inside a
    damaged range cuts behind that: nobody knows its batches, and it is said to end at `offset`.
    """
    view = log.view
    if offset >= view.log_end_offset:
        with log.health.guard("truncate", log.directory):
            log.derived.truncate_epochs(view.log_end_offset)
        log.go_on_with(list(view.segments), view)
        return
    keep = [s for s in view.segments if s.base_offset <= offset]
    last = keep[-1]
    with log.health.guard("truncate", log.directory, final=False):
        position = _position(log, last, offset)
    shorter = position != last.size_bytes or not last.is_open or last.next_offset != offset
    with log.health.guard("truncate", log.directory):
        if shorter:
            write_prefix(log.disk, log.directory, last.path, position)
        log.derived.forget_damage(offset)
    with log.health.guard("truncate", log.directory, final=True):
        log.recovery_point = min(log.recovery_point, offset)
        log.derived.tails.remove()
        # What goes is gone for readers first, whatever fails from here on: nobody may have mapped it yet.
        marks = view.high_watermark, view.high_watermark
        log.view = View(tuple(keep), view.log_start_offset, offset, *marks, position)
        _unlink(log, view.segments[len(keep) :])
        if shorter:
            keep[-1] = _shortened(log, last)
        log.derived.truncate(offset, keep)
        log.disk.sync_dir(log.directory)
        restore_producers(log.derived, keep, offset)
        if log.derived.ends_in_damage(keep[-1]):
            log.loader.begin_segment(keep, offset)
    log.go_on_with(keep, View(tuple(keep), view.log_start_offset, offset, *marks))


def _unlink(log: Log, segments: Sequence[Segment]) -> None:
    """Remove segments at the end of the log, the last one first, each for good before the next. Raises `OSError`."""
    for segment in reversed(segments):
        segment.unlink()
        log.disk.sync_dir(log.directory)


def _position(log: Log, last: Segment, offset: int) -> int:
    """Where to cut the last segment that is kept; damage in the way that nobody has met yet is put aside."""
    while True:
        for damage in log.derived.damage:
            if damage.segment_base_offset == last.base_offset and damage.first_offset <= offset < damage.next_offset:
                return damage.position if damage.first_offset == offset else damage.end_position
        try:
            return _boundary(log, last, offset)
        except (CorruptionError, InvariantError):
            if not log.quarantine(last.path):
                raise


def _boundary(log: Log, last: Segment, offset: int) -> int:
    """Where the batch that begins at `offset` lies; the end where there is none."""
    last.digest()  # walks over every header: damage further down must not come up when half of it is cut
    position = last.locate(offset)
    for header in native.headers(last.read(position, last.size_bytes)) if position < last.size_bytes else ():
        if header.base_offset < offset:
            raise InvariantError(
                f"{log.directory}: truncation to {offset}, inside the batch of offsets {header.base_offset} up to "
                f"{header.next_offset}: what lies below in it would be lost"
            )
        break
    return position


def _shortened(log: Log, last: Segment) -> Segment:
    """The last kept segment as its written prefix, open for appends.

    It has files of its own: readers have the old ones mapped, where a cut would kill them (SIGBUS) and later appends
    would change what they have read.
    """
    take_prefix(log.disk, log.directory, last.path)
    for kind in ("index", "timeindex"):
        path = f"{log.directory}/{names.file_name(last.base_offset, kind)}"
        if log.disk.exists(path):     # a segment shortened before has none until it is flushed
            log.disk.unlink(path)
    segment = log.loader.segment(last.base_offset)
    segment.set_quarantine([d for d in log.derived.damage if d.segment_base_offset == last.base_offset])
    segment.open_for_append()
    return segment


def sink_high_watermark(log: Log, offset: int) -> None:
    """Let the high watermark fall to `offset`: an unclean election decided that what lies above is lost."""
    view = log.view
    if offset < view.high_watermark:
        stable = min(view.last_stable_offset, offset)
        log.view = view.with_offsets(high_watermark=offset, last_stable_offset=stable)


def start_over(log: Log, offset: int, base_offset: int) -> None:
    """Drop the whole log; it starts and ends at `offset`, durably, with nothing remembered of producers and epochs.

    The first batch may begin as low as `base_offset`. A crash before it is stored leaves a segment that ends below the
    log start, which the loader takes for an empty log; the recovery point lies below, so that a torn first batch is
    cut and not kept as damage. As UnifiedLog.truncateFullyAndStartAt. Raises `StorageError`.
    """
    log.health.require()
    segments = log.view.segments
    with log.health.guard("start over", log.directory, final=True):
        log.derived.tails.remove()
        # As for `truncate`: readers find an empty log from here on.
        log.view = View(segments[-1:], offset, offset, offset, offset)
        _unlink(log, segments)
        log.derived.start_over(offset, segments)
        fresh = log.loader.segment(base_offset)
        fresh.create()
        log.disk.sync_dir(log.directory)
    log.recovery_point = base_offset
    log.go_on_with([fresh], View((fresh,), offset, offset, offset, offset))


def delete_dead_segments(log: Log) -> None:
    """Unlink the segments wholly below the log start offset; gone for good when this returns.

    Raises `StorageError`; a later call goes on with those that are left.
    """
    view = log.view
    segments, marks = view.segments, (view.log_end_offset, view.high_watermark, view.last_stable_offset)
    dead = 0
    while dead + 1 < len(segments) and segments[dead + 1].base_offset <= view.log_start_offset:
        dead += 1
    with log.health.guard("delete segments of", log.directory):
        log.derived.start_moved(view.log_start_offset)
    if not dead:
        return
    with log.health.guard("fsync", log.directory, final=True):
        log.disk.sync_dir(log.directory)  # of segments just made: a crash could leave a later one as the first
    gone = 0
    log.go_on_with(list(segments[dead:]), View(segments[dead:], view.log_start_offset, *marks))
    try:
        with log.health.guard("delete segments of", log.directory):
            for segment in segments[:dead]:
                segment.unlink()
                log.derived.segment_deleted(segment.base_offset)
                gone += 1
    finally:
        if gone < dead:
            log.view = View(segments[gone:], view.log_start_offset, *marks)
    with log.health.guard("fsync", log.directory, final=True):
        log.disk.sync_dir(log.directory)
