"""Append a topic's records to a file and commit how far a group has read.

Owns the order of writing, syncing and committing. It must not know how commits are stored (`store.groups`) or how
logs are read. Called by `kstore file-consumer`.

Each record's value is written as it is, and a newline behind it; a null value gives an empty line. Partitions are
read in turns, so lines of one partition keep their order in FILE and lines of different partitions mix.

What is promised (at least once): no record is lost; records between the last commit and a crash may be written
twice. That window is what a commit leaves open, and it is shown when a run resumes: every commit carries the size
that FILE had, so the bytes behind it are exactly what will be written again.
- `--commit sync`: after every N records FILE is synced, then the commit is made durable, then reading goes on. The
  window is at most N records (and what was written before a commit finished).
- `--commit async`: a second thread syncs and commits while reading goes on; commits lag, the window is larger by
  what was read meanwhile. The commit still follows the sync, so nothing is lost even when the machine dies.
- `--exactly` cuts FILE back to the size of the last commit when it resumes: then nothing is written twice either.

Invariants:
1. A commit never covers a record that is not in FILE on the medium.
2. FILE never gains a line that glues a half line of a killed run to a new one: a half line is cut off first, and it
   is in the window, so it comes again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kstore.apps.output import READ_BYTES, Output, Summary, end_last_line, metadata_of, show_window, size_in
from kstore.apps.stopping import StopFlag
from kstore.errors import CorruptionError, OffsetOutOfRange

if TYPE_CHECKING:
    from kstore.partition import Partition
    from kstore.store import Store
    from kstore.store.group_commits import CommittedOffset

PARTITIONS_S = 1.0
"""Time between looks for new partitions: a topic may be seen while its writer is still making it."""
COMMIT_EVERY = 1000
"""Default of `--commit-every`: at about 5 ms for a commit this costs 5 us a record, and a crash repeats little."""


class FileConsumer:
    """One topic, one FILE, one group. `run` does everything; another thread may call `stop`."""

    def __init__(
        self,
        store: Store,
        topic: str,
        path: str,
        group: str,
        *,
        follow: bool = False,
        commit: str = "sync",
        commit_every: int = COMMIT_EVERY,
        exactly: bool = False,
        skip_damaged: bool = False,
        max_records: int | None = None,
        poll_ms: int = 100,
        notice: Callable[[str], None] = lambda text: None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """`notice` gets one line for each thing a user should know; `progress` gets records read and in all."""
        self._store = store
        self._topic = topic
        self._path = path
        self._group = group
        self._follow = follow
        self._commit_every = commit_every
        self._exactly = exactly
        self._skip_damaged = skip_damaged
        self._max_records = max_records
        self._poll_s = poll_ms / 1000
        self._notice = notice
        self._progress = progress
        self._stop = StopFlag()
        self._partitions: list[Partition] = []
        self._offsets: dict[int, int] = {}
        self._looked_s = time.monotonic()
        self._uncommitted = 0
        self._committed: tuple[dict[int, int], int] | None = None
        self._committer = Committer(self, background=commit == "async")
        self.summary = Summary()

    def stop(self) -> None:
        """Let a following `run` write and commit what it has read, and return."""
        self._stop.set()

    def run(self) -> Summary:
        """Read to the end; with `follow`, go on until `stop`. What was written is committed when it returns.

        Raises `OSError` for FILE, `CorruptionError` at damage unless it is to be skipped.
        """
        self._partitions = self._new_partitions()
        self._output = Output(self._path)
        try:
            self._resume()
            self._committer.start()
            try:
                self._consume()
            finally:
                self._committer.finish()
        finally:
            self._output.close()
        self.summary.next_offsets = dict(self._offsets)
        return self.summary

    # -- start and resume -----------------------------------------------------------------------------------

    def _resume(self) -> None:
        known = self._start_at(self._partitions)
        if known:
            self.summary.resumed = True
            places = ", ".join(f"{index}: {offset}" for index, offset in sorted(self._offsets.items()))
            self._notice(f"group {self._group} resumes at its committed offsets ({places})")
            newest = max(known, key=lambda c: c.commit_timestamp_ms).metadata
            show_window(
                self._output, size_in(newest, self._output.path), self.summary, self._notice, exactly=self._exactly
            )
        else:
            end_last_line(self._output, self._notice)
            self._commit_now()

    def _new_partitions(self) -> list[Partition]:
        """Partitions that are not read yet: all of them at first, later those that a writer has added since."""
        indexes = set(self._store.topics()[self._topic].partitions) - set(self._offsets)
        return [self._store.partition(self._topic, index) for index in sorted(indexes)]

    def _start_at(self, partitions: list[Partition]) -> list[CommittedOffset]:
        """Set where reading of partitions starts; returns the commits that say so."""
        committed = self._store.groups.committed(self._group)
        found = {p.index: c for p in partitions if (c := committed.get((self._topic, p.index))) is not None}
        for partition in partitions:
            commit = found.get(partition.index)
            self._offsets[partition.index] = partition.log_start_offset if commit is None else commit.offset
        return list(found.values())

    # -- reading and writing --------------------------------------------------------------------------------

    def _consume(self) -> None:
        while not self._done():
            if self._turn():
                continue
            if self._uncommitted:
                self._commit_now()
            if not self._follow:
                break
            self._stop.wait(self._poll_s)
            self._refresh()
        self._commit_now()

    def _done(self) -> bool:
        return self._stop.is_set() or (self._max_records is not None and self.summary.records >= self._max_records)

    def _refresh(self) -> None:
        for partition in self._partitions:
            partition.refresh()
        if time.monotonic() - self._looked_s >= PARTITIONS_S:
            self._looked_s = time.monotonic()
            added = self._new_partitions()
            self._start_at(added)
            self._partitions += added

    def _turn(self) -> bool:
        """Read up to a megabyte of each partition; False when there was nothing anywhere."""
        some = False
        for partition in self._partitions:
            offset = self._offsets[partition.index]
            if offset == partition.high_watermark:
                continue
            values, next_offset = self._read(partition, offset)
            self._write(partition.index, values, next_offset)
            some = True
            if self._done():
                break
        self._progress(
            self.summary.records,
            self.summary.records + sum(p.high_watermark - self._offsets[p.index] for p in self._partitions),
        )
        return some

    def _read(self, partition: Partition, offset: int) -> tuple[list[tuple[bytes, int]], int]:
        """Values with their offsets, and where to read on."""
        try:
            batches = partition.read(offset, max_bytes=READ_BYTES)
            values = [(record.value or b"", record.offset) for record in batches if record.offset >= offset]
            return values, batches.next_offset
        except OffsetOutOfRange as gone:
            place = gone.log_start_offset if offset < gone.log_start_offset else gone.end_offset
            lost = (
                f"records {offset} up to {place} were deleted by retention"
                if offset < place
                else f"the log ends at {place}: a crash took what was not durable, and it may be written again"
            )
            self._notice(f"partition {partition.index}: {lost}; reading on at offset {place}")
            return [], place
        except CorruptionError as damage:
            if not self._skip_damaged or damage.next_offset <= offset:
                raise
            self._notice(f"{damage}; skipped")
            return [], damage.next_offset

    def _write(self, index: int, values: list[tuple[bytes, int]], next_offset: int) -> None:
        """Append values, committing after each N records and at no other place within a batch."""
        done = 0
        while done < len(values):
            room = self._commit_every - self._uncommitted
            if self._max_records is not None:
                room = min(room, self._max_records - self.summary.records)
                if room == 0:
                    return
            part = values[done : done + room]
            data = b"\n".join([value for value, _ in part]) + b"\n"
            self._output.write(data)
            done += len(part)
            self._offsets[index] = part[-1][1] + 1
            self._uncommitted += len(part)
            self.summary.records += len(part)
            self.summary.size_bytes += len(data)
            if self._uncommitted >= self._commit_every:
                self._commit_now()
        self._offsets[index] = next_offset

    def _commit_now(self) -> None:
        self._uncommitted = 0
        place = (dict(self._offsets), self._output.size_bytes)
        if place != self._committed:
            self._committed = place
            self._committer.commit(*place)

    def store_commit(self, offsets: dict[int, int], size_bytes: int) -> None:
        """Make FILE durable, then the commit; called by the committer."""
        self._output.sync()
        self._store.groups.commit(
            self._group,
            {(self._topic, index): offset for index, offset in offsets.items()},
            metadata=metadata_of(self._output.path, size_bytes),
        )
        self.summary.commits += 1


class Committer:
    """Commits at once, or in a thread of its own that always takes the newest offsets and lets older ones go."""

    def __init__(self, consumer: FileConsumer, *, background: bool) -> None:
        """`background` is `--commit async`."""
        self._consumer = consumer
        self._background = background
        self._changed = threading.Condition()
        self._next: tuple[dict[int, int], int] | None = None
        self._closing = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, where there is one."""
        if self._background:
            self._thread = threading.Thread(target=self._run, name="kstore-commit", daemon=True)
            self._thread.start()

    def commit(self, offsets: dict[int, int], size_bytes: int) -> None:
        """Commit now, or leave it to the thread; raises what a commit raised."""
        if self._thread is None:
            self._consumer.store_commit(offsets, size_bytes)
            return
        with self._changed:
            if self._failure is not None:
                raise self._failure
            self._next = (offsets, size_bytes)
            self._changed.notify()

    def finish(self) -> None:
        """Wait for the last commit; raises what it raised."""
        if self._thread is None:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._closing)
                work, self._next = self._next, None
            if work is None:
                return
            try:
                self._consumer.store_commit(*work)
            except BaseException as failure:
                with self._changed:
                    self._failure = failure
                return
