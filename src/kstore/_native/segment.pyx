# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""SEGMENT: one segment of a log, from the creation of its files to their removal.

Owns the order in which the three files come to be, grow, are sealed, cut and removed; reading is
`ReadableSegment`'s, writing bytes is `Appender`'s. It must not know when any of it is due: `log` and `loader`
decide, under the partition's writer lock.

Invariants
  1. The log's bytes come first: no index entry is in a file before the batch that it names is in the log
     file.
  2. Index entries live in memory while the segment takes appends. An index file only ever grows, or is
     replaced whole, so that no array over its mapping loses its bytes.
  3. An operation that raises leaves the segment usable as it was before.
"""

from kstore import limits
from kstore.errors import CorruptionError, UsageError
from kstore._native import scan as scan_module
from kstore._native.appender cimport Appender
from kstore._native.batch cimport AppendInfo
from kstore._native.file cimport File
from kstore._native.index cimport (
    Entries, Indexes, OffsetIndex, TimeIndex, KS_OFFSET_ENTRY_BYTES, KS_TIME_ENTRY_BYTES,
)
from kstore._native.opened import OpenSegments
from kstore._native.scan cimport KS_WALK_BAD, KS_WALK_FOUND, ks_walk_step
from kstore._native.readable cimport ReadableSegment
from kstore._native.stored cimport UNKNOWN
from kstore._native.walk cimport Walk

ProducerBatch = scan_module.ProducerBatch
Range = scan_module.Range
Recovered = scan_module.Recovered
Scan = scan_module.Scan

__all__ = ["OpenSegments", "ProducerBatch", "Range", "Recovered", "Scan", "Segment"]

cdef long long INT32_MAX = limits.INT32_MAX


cdef class Segment(ReadableSegment):
    """One segment of a partition's log. One writer at a time; any number of readers."""

    @property
    def is_open(self):
        """Whether it takes appends: created, reopened or recovered, and not sealed since."""
        return self.appender is not None and self.writable

    # -- beginnings ------------------------------------------------------------------------------------------

    def create(self):
        """Make the three files, empty, and take appends. FileExistsError, with nothing changed, when the log
        is there."""
        cdef File file
        cdef list made = []
        if self.disk.exists(self.name("log")):
            raise FileExistsError(f"{self.path} is there already")
        try:
            for kind in ("index", "timeindex"):
                made.append(self.name(kind))
                self.disk.write_file(self.name(kind), b"")
            file = self.disk.open_file(self.name("log"), create=True)
        except OSError:
            for path in made:
                try:
                    self.disk.unlink(path)
                except OSError:
                    pass                            # an index without a log is removed at the next open
            raise
        self.take_appends(file, self.new_indexes(), 0, self.base_offset)
        self.appender.header_digest = 0
        self.offsets_filed = self.times_filed = 0

    def open_for_append(self, *, header_digest=None):
        """Take appends again after a clean stop: the files are trusted as far as a reader trusts them, the
        tail behind the last index entry is walked by its headers. CorruptionError when that is no chain of
        batches.

        `header_digest`: as it stood at the end of the file, where a sidecar kept it.
        """
        cdef Indexes indexes = self.new_indexes()
        cdef long long next_offset = self.next_offset, first_timestamp_ms = self.first_timestamp_ms
        if self.appender is not None:
            raise UsageError(f"{self.path} takes appends already")
        self.look_at_times()
        indexes.adopt(self.offsets, self.times)
        filed = self.indexes_filed
        file = self.disk.open_file(self.name("log"), writable=self.writable)
        self.take_appends(file, indexes, self.size(), next_offset)
        self.appender.first_timestamp_ms = first_timestamp_ms
        self.appender.header_digest = 0 if self.size() == 0 else header_digest
        if filed:
            self.offsets_filed = indexes.offsets.count
            self.times_filed = indexes.times.count

    def recover(self, long long position=0, next_offset=None, *, int leader_epoch=-1, bint dense=False,
                header_digest=None, max_timestamp_ms=None):
        """Check every byte from `position` on, index the good batches, and take appends behind the last of
        them. Ranges in quarantine are jumped over.

        Cuts nothing: the caller saves `[end_position, file_size_bytes)`, then calls `truncate`. With
        `position` above 0 the other arguments say how the log stood there; `max_timestamp_ms` saves a walk.
        `dense`: never compacted, so that an offset left out is damage.
        """
        cdef Indexes indexes = self.new_indexes()
        cdef File file = self.disk.open_file(self.name("log"), writable=self.writable)
        cdef long long size = file.size(), start
        cdef bint goes_on = self.appender is not None and position == self.appender.size_bytes
        if size > INT32_MAX:
            raise UsageError(f"{self.path} has {size} bytes; no Kafka segment is larger than {INT32_MAX}")
        if size < position:
            raise CorruptionError(self.path, size, f"the file ends before byte {position}, up to where it was good")
        if goes_on:                                  # a reader that follows a writer: what it has indexed holds
            indexes = self.appender.indexes
            header_digest = self.appender.header_digest if header_digest is None else header_digest
        self.take_appends(file, indexes, position, self.base_offset if next_offset is None else next_offset)
        if position and not goes_on:
            self.reload_indexes(indexes, position, self.appender.next_offset, max_timestamp_ms)
        start = 0 if self.mapped else position       # a mapping costs nothing; a copy, what is in it
        found = scan_module.recover(self.read(start, size), position, self.appender.next_offset, indexes,
                                    dense=dense, leader_epoch=leader_epoch, header_digest=header_digest,
                                    quarantine=self.quarantine, source_position=start)
        indexes.cadence.since_entry = 0              # as a restarted broker counts
        self.appender.size_bytes = found.end_position
        self.appender.next_offset = found.next_offset
        self.appender.header_digest = found.header_digest
        self.appender.first_timestamp_ms = self.first_batch_timestamp()
        return found

    cdef Indexes new_indexes(self):
        return Indexes(self.base_offset, self.index_interval_bytes, self.index_bytes_max)

    cdef int take_appends(self, File file, Indexes indexes, long long size_bytes, long long next_offset) except -1:
        self.open_segments.remove(self)
        self.mapping = None
        self.file = None if self.mapped else file
        self.offsets = indexes.offsets
        self.times = indexes.times
        self.indexes_filed = False
        self.offsets_filed = self.times_filed = UNKNOWN
        self.changes += 1
        self.appender = Appender(file, indexes, self.base_offset, size_bytes, next_offset, -1)
        return 0

    cdef int reload_indexes(self, Indexes indexes, long long end, long long next_offset, max_timestamp) except -1:
        """Fill the indexes up to `end`: with what soundly stands in the files, behind that from headers; the same
        entries as if every batch had been counted.

        Where an offset entry is due the time index takes the running maximum if that has risen. So the maximum at
        the last offset entry is that of the last time entry, or time entries are missing.
        """
        cdef OffsetIndex offsets = OffsetIndex(self.base_offset, self.stored_index("index", KS_OFFSET_ENTRY_BYTES))
        cdef TimeIndex times = TimeIndex(self.base_offset, self.stored_index("timeindex", KS_TIME_ENTRY_BYTES))
        cdef long long last, maximum
        cdef Walk walk
        offsets.cut(offsets.sound(end))
        times.cut(times.sound())
        self.ready(end)
        indexes.offsets.copy(offsets)
        indexes.times.copy(times)
        indexes.cut_entries(next_offset)
        last = indexes.offsets.offset_at(indexes.offsets.count - 1) if indexes.offsets.count else -1
        indexes.cut(last + 1)                        # time entries behind it were forced at some end
        walk = self.walk(end)
        if (indexes.times.count and not self.time_entry_holds(indexes.times, indexes.times.count - 1, end)
                or indexes.offsets.count and not self.jump(walk, indexes.offsets, indexes.offsets.count - 1)):
            indexes.cut(self.base_offset)
        maximum = indexes.cadence.max_timestamp
        if indexes.offsets.count and (max_timestamp is None or max_timestamp > maximum):
            self.raise_maximum(indexes, walk.w.position + walk.w.header.size_bytes)
            if indexes.cadence.max_timestamp > maximum:
                indexes.cut(self.base_offset)
        if indexes.offsets.count:
            indexes.cadence.since_entry = walk.w.header.size_bytes
            ks_walk_step(&walk.w)                    # the entry's own batch has been counted
        else:
            walk = self.walk(end)
            walk.w.next_offset = self.base_offset
        return self.index_batches(indexes, walk)

    cdef int raise_maximum(self, Indexes indexes, long long end) except -1:
        """Raise the running maximum by the batches behind the last time entry; nothing else of them is
        counted."""
        cdef Py_ssize_t count = indexes.times.count
        cdef Walk walk
        cdef int result
        self.ready(end)
        walk = self.walk(end)
        self.start_at(walk, indexes.times.offset_at(count - 1) if count else self.base_offset)
        result = walk.to_timestamp(indexes.cadence.max_timestamp + 1)
        while result == KS_WALK_FOUND:
            indexes.see(walk.w.header.max_timestamp, walk.w.header.last_offset)
            ks_walk_step(&walk.w)
            result = walk.to_timestamp(indexes.cadence.max_timestamp + 1)
        if result == KS_WALK_BAD:
            raise walk.damage()
        return 0

    # -- growing ---------------------------------------------------------------------------------------------

    def append(self, buffer, AppendInfo info, long long next_offset, int leader_epoch):
        """See `Appender.append`."""
        self.writer().append(buffer, info, next_offset, leader_epoch)
        self.changes += 1

    def append_stamped(self, buffer, AppendInfo info):
        """See `Appender.append_stamped`."""
        self.writer().append_stamped(buffer, info)
        self.changes += 1

    def is_full(self, long long size_bytes, long long last_offset, long long segment_bytes):
        """See `Appender.is_full`."""
        return self.writer().is_full(size_bytes, last_offset, segment_bytes)

    cdef Appender writer(self):
        if self.appender is None or not self.writable:
            raise UsageError(f"{self.path} takes no appends: it is sealed, closed, or was opened to be read")
        return self.appender

    def flush_log(self):
        """Return once every byte appended before the call is on the medium. Any thread; OSError is final."""
        cdef Appender appender = self.appender
        cdef long long changes = self.changes
        if self.log_flushed >= changes:
            return
        if appender is not None:
            appender.file.sync()                     # holds the file even if the segment is sealed meanwhile
        else:
            self.sync_file("log")
        self.log_flushed = max(self.log_flushed, changes)

    def flush_indexes(self):
        """Bring the index entries to their files and both files to the medium. Under the writer lock while
        open."""
        cdef long long changes = self.changes
        if self.indexes_flushed >= changes:
            return
        self.write_indexes()
        self.sync_file("index")
        self.sync_file("timeindex")
        self.indexes_flushed = changes

    def write_indexes(self):
        """Bring the index entries to their files; a flush is left to others."""
        if self.appender is not None:
            self.offsets_filed = self.write_entries("index", self.offsets, self.offsets_filed)
            self.times_filed = self.write_entries("timeindex", self.times, self.times_filed)

    cdef Py_ssize_t write_entries(self, str kind, Entries entries, Py_ssize_t filed) except -1:
        cdef File file
        cdef str path = self.name(kind)
        if filed < 0 or not self.disk.exists(path):
            self.disk.write_file_atomic(path, entries.tail(0))
        elif filed < entries.count:
            file = self.disk.open_file(path)
            try:
                file.write_at(entries.tail(filed), filed * entries.entry_bytes())
            finally:
                file.close()
        return entries.count

    cdef int sync_file(self, str kind) except -1:
        cdef File file = self.disk.open_file(self.name(kind))
        try:
            file.sync()
        finally:
            file.close()
        return 0

    # -- ends ------------------------------------------------------------------------------------------------

    def seal(self, *, bint sync=True):
        """Take no more appends: the forced last time index entry, whole index files; with `sync` all on the
        medium."""
        cdef Appender appender = self.writer()
        appender.indexes.force_last_time()
        self.write_indexes()
        if sync:
            self.flush_log()
            self.flush_indexes()
        self.sealed_size = appender.size_bytes
        self.sealed_next_offset = appender.next_offset
        self.sealed_max_timestamp_offset = appender.indexes.cadence.max_timestamp_offset
        self.sealed_max_timestamp = appender.indexes.cadence.max_timestamp
        self.indexes_filed = True
        self.appender = None                         # its file closes when the last flush that holds it is done
        self.open_segments.add(self)

    def close(self, *, bint sync=True):
        """Kafka's clean stop of a segment: sealed when it takes appends, then every handle let go."""
        if self.is_open:
            self.seal(sync=sync)
        self.abandon()

    def abandon(self):
        """Let go of every handle and of what was appended but not written to the indexes; changes no file."""
        if self.appender is not None:
            self.appender = None
            self.sealed_size = self.sealed_next_offset = self.sealed_max_timestamp = UNKNOWN
            self.offsets = None
            self.times = None
        self.log_flushed = self.indexes_flushed = self.changes
        self.open_segments.remove(self)
        self.shut()

    def truncate(self, long long position, long long next_offset):
        """End at byte `position`, where a batch begins, and at `next_offset`. Only while it takes appends;
        OSError with nothing changed. What readers hold of the bytes behind must be above every high
        watermark."""
        cdef Appender appender = self.writer()
        appender.cut(position, next_offset)
        self.mapping = None
        if appender.indexes.offsets.count < self.offsets_filed:
            self.offsets_filed = UNKNOWN
        if appender.indexes.times.count < self.times_filed:
            self.times_filed = UNKNOWN
        self.changes += 1
        try:
            self.raise_maximum(appender.indexes, position)
            appender.header_digest = self.digest()[0]
        except CorruptionError:
            pass                                     # the log is cut; what lies below is found by who reads there

    def rename_suffix(self, str suffix):
        """Rename the three files to end in `suffix`, `.deleted` for one; reads go on under the new names."""
        cdef str old = self.suffix
        for kind in ("log", "index", "timeindex"):
            source = self.name(kind)
            self.suffix = suffix
            target = self.name(kind)
            self.suffix = old
            if self.disk.exists(source):
                self.disk.rename(source, target)
        self.suffix = suffix
        self.log_name = None

    def unlink(self):
        """Remove the files that are there, the log first: without it the others mean nothing."""
        for kind in ("log", "index", "timeindex"):
            if self.disk.exists(self.name(kind)):
                self.disk.unlink(self.name(kind))
        self.log_flushed = self.indexes_flushed = self.changes
        self.open_segments.remove(self)
