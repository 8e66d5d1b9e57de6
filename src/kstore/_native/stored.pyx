# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""STORED: one segment's `.log`, `.index` and `.timeindex`: opening them, and trusting them.

Owns what is mapped and when, how far an index entry is believed, and the ranges in quarantine. It must not know leader
epochs, high watermarks or retention. `ReadableSegment` looks things up in it, `Segment` writes.

Invariants
  1. Construction does no I/O. The files are opened when first used and may be shut at any time.
  2. An index entry is used only if the batch that it points to confirms it. An index that lies, or is missing, is
     made anew from the log and counted, and no reader notices.
  3. Where another process may change the file (`mapped=False`) bytes are copied, never mapped.
"""

from errno import ESTALE

from libc.stdint cimport uint32_t
from libc.stdlib cimport malloc, free

from kstore import limits
from kstore.errors import InvariantError, UsageError
from kstore._native.crc32c cimport ks_crc32c
from kstore._native.file cimport File
from kstore._native.index cimport (
    Indexes, OffsetIndex, TimeIndex, KS_OFFSET_ENTRY_BYTES, KS_TIME_ENTRY_BYTES, ks_offset_index_search,
    ks_offset_index_search_position,
)
from kstore._native.opened cimport Openable, OpenSegments
from kstore._native.scan cimport (
    KS_WALK_BAD, KS_WALK_END, KS_WALK_FOUND, ks_range, ks_walk_step,
)
from kstore._native.walk cimport Walk, new_walk

cdef enum:
    DIGEST_BYTES = 21                 # of each header: what the batch's own checksum leaves out, and that checksum

cdef long long INT32_MAX = limits.INT32_MAX
cdef long long INT64_MAX = limits.INT64_MAX
cdef OpenSegments lone_segments = OpenSegments()       # for segments that belong to no store


cdef class Ranges:
    """Memory of quarantined ranges, immutable once filled."""

    cdef ks_range* ranges

    def __cinit__(self, tuple ranges):
        cdef Py_ssize_t i
        self.ranges = <ks_range*>malloc(max(len(ranges), 1) * sizeof(ks_range))
        if self.ranges == NULL:
            raise MemoryError
        for i in range(len(ranges)):
            self.ranges[i].position = ranges[i].position
            self.ranges[i].end_position = ranges[i].end_position
            self.ranges[i].first_offset = ranges[i].first_offset
            self.ranges[i].next_offset = ranges[i].next_offset

    def __dealloc__(self):
        free(self.ranges)


cdef class StoredSegment(Openable):
    """What of a segment can be read. Errors: OSError of the disk, CorruptionError of the log's bytes, never
    of an index."""

    def __init__(self, disk, str directory, long long base_offset, *, long long index_interval_bytes=4096,
                 long long index_bytes_max=10485760, bint writable=False, bint mapped=True,
                 OpenSegments open_segments=None):
        self.disk = disk
        self.directory = directory
        self.base_offset = base_offset
        self.index_interval_bytes = index_interval_bytes
        self.index_bytes_max = index_bytes_max
        self.writable = writable
        self.mapped = mapped
        self.open_segments = open_segments if open_segments is not None else lone_segments
        self.suffix = ""
        self.quarantine = ()
        self.sealed_size = self.sealed_next_offset = UNKNOWN
        self.sealed_max_timestamp = self.sealed_max_timestamp_offset = UNKNOWN

    def __repr__(self):
        return f"Segment({self.path!r})"

    cdef str name(self, str kind):
        return f"{self.directory}/{self.base_offset:020d}.{kind}{self.suffix}"

    cdef str log_path(self):
        """Made once: every fetch carries it, in case its bytes are damaged."""
        if self.log_name is None:
            self.log_name = self.name("log")
        return self.log_name

    @property
    def path(self):
        """The path of the `.log` file."""
        return self.log_path()

    # -- what it holds ---------------------------------------------------------------------------------------

    cdef long long size(self) except -1:
        cdef Appender appender = self.appender
        if appender is not None:
            return appender.size_bytes
        if self.sealed_size == UNKNOWN:
            self.sealed_size = self.disk.size(self.name("log"))
        return self.sealed_size

    @property
    def size_bytes(self):
        """Bytes of the log file; while it takes appends, up to the last whole one."""
        return self.size()

    @property
    def next_offset(self):
        """One above the last offset that the segment holds; its base offset when it is empty."""
        cdef Walk walk
        cdef Appender appender = self.appender
        if appender is not None:
            return appender.next_offset
        if self.sealed_next_offset == UNKNOWN:
            self.ready(self.size())
            walk = self.walk(self.size())
            self.start_at(walk, INT64_MAX)
            if walk.to_offset(INT64_MAX) != KS_WALK_END:
                raise walk.damage()
            self.sealed_next_offset = walk.w.next_offset
        return self.sealed_next_offset

    @property
    def max_timestamp_ms(self):
        """The largest batch timestamp, -1 when no batch has one."""
        cdef Appender appender = self.appender
        if appender is not None:
            return appender.indexes.cadence.max_timestamp
        self.look_at_times()
        return self.sealed_max_timestamp

    @property
    def max_timestamp_offset(self):
        """The last offset of the first batch with the largest timestamp, -1 when no batch has one."""
        cdef Appender appender = self.appender
        if appender is not None:
            return appender.indexes.cadence.max_timestamp_offset
        self.look_at_times()
        return self.sealed_max_timestamp_offset

    @property
    def first_timestamp_ms(self):
        """The maximum timestamp of the first batch, -1 when the segment is empty: rolling by time starts from
        it."""
        return self.appender.first_timestamp_ms if self.appender is not None else self.first_batch_timestamp()

    cdef long long first_batch_timestamp(self) except? -1:
        cdef Walk walk
        self.ready(self.size())
        walk = self.walk(self.size())
        return walk.w.header.max_timestamp if walk.peek() == KS_WALK_FOUND else -1

    @property
    def header_digest(self):
        """CRC-32C over the first 21 bytes of every batch: with the batches' own checksums it covers every
        bit.

        None while the segment takes appends and was reopened without it; when sealed, by a walk over all
        headers.
        """
        return self.appender.header_digest if self.appender is not None else self.digest()[0]

    def index_digests(self):
        """`(size_bytes, CRC-32C)` of the whole index, then of the time index, as they stand in their files at
        a flush."""
        self.ready(self.size())
        return self.offsets.digest(), self.times.digest()

    def digest(self):
        """`(header_digest, size_bytes, next_offset)` by a walk over all headers."""
        cdef long long end = self.size()
        cdef uint32_t digest = 0
        cdef Walk walk
        cdef int result
        self.ready(end)
        walk = self.walk(end)
        walk.w.next_offset = self.base_offset
        result = walk.peek()
        while result == KS_WALK_FOUND:
            digest = ks_crc32c(digest, walk.w.window + (walk.w.position - walk.w.window_position), DIGEST_BYTES)
            ks_walk_step(&walk.w)
            result = walk.peek()
        if result == KS_WALK_BAD:
            raise walk.damage()
        return digest, end, walk.w.next_offset

    @property
    def offset_index(self):
        """The offset index as a read-only numpy array, big-endian: `relative_offset`, `position`."""
        self.ready(self.size())
        return self.offsets.array

    @property
    def time_index(self):
        """The time index as a read-only numpy array, big-endian: `timestamp`, `relative_offset`."""
        self.ready(self.size())
        return self.times.array

    # -- opening and shutting --------------------------------------------------------------------------------

    cdef int ready(self, long long end) except -1:
        """Have the bytes `[0, end)` and the indexes at hand; they stay so until the GIL is given up next. Costs
        nothing when they are."""
        self.touched = True
        while (self.offsets is None or self.times is None
               or (self.mapping is None or self.mapping.length < end if self.mapped else self.file is None)):
            self.open_again(end)                       # again where another thread had it shut meanwhile
        return 0

    cdef int open_again(self, long long end) except -1:
        cdef Appender appender = self.appender
        cdef long long size = self.size()
        if appender is not None:
            if self.mapped:
                self.mapping = appender.file.mapping(max(size, end))
            return 0
        if size > INT32_MAX:
            raise UsageError(f"{self.path} has {size} bytes; no Kafka segment is larger than {INT32_MAX}")
        self.open_log(max(size, end))
        if self.offsets is None or self.times is None:
            self.load_indexes(size)
        return 0

    cdef int open_log(self, long long end) except -1:
        cdef File file
        if self.file is None if not self.mapped else self.mapping is None or self.mapping.length < end:
            file = self.disk.open_file(self.name("log"), writable=False)
            if file.size() < end:
                file.close()                           # a mapping behind the end of a file kills who reads it
                raise OSError(ESTALE, "the file is shorter than it was", self.path)
            if self.mapped:
                self.mapping = file.mapping(end)       # outlives its descriptor
                file.close()
            else:
                self.file = file
            self.open_segments.add(self)
        return 0

    cdef int shut(self) except -1:
        """Let go of what can be opened again; what readers hold stays with them."""
        self.file = None
        self.mapping = None
        if self.indexes_filed:
            self.offsets = None
            self.times = None
        return 0

    def set_quarantine(self, ranges):
        """Keep `ranges` (each with `position`, `end_position`, `first_offset`, `next_offset`) from being
        read."""
        cdef tuple rising = tuple(sorted(ranges, key=lambda r: r.position))
        cdef Ranges owner = Ranges(rising)
        self.bad_count = 0
        self.bad_owner = owner
        self.bad = owner.ranges
        self.bad_count = len(rising)
        self.quarantine = rising
        self.sealed_next_offset = UNKNOWN
        self.sealed_max_timestamp = UNKNOWN

    # -- where is an offset ----------------------------------------------------------------------------------

    cdef Walk walk(self, long long end):
        cdef Walk walk = new_walk(self, self.mapping, self.file, end, self.bad, self.bad_count, self.bad_owner)
        walk.w.dense = self.dense
        return walk

    cdef Py_ssize_t sound_slot(self, OffsetIndex offsets, Py_ssize_t slot, long long end) noexcept:
        """`slot`, or the next lower one whose position lies before `end` and in no quarantined range."""
        cdef long long position
        cdef size_t i
        while slot >= 0:
            position = offsets.position_at(slot)
            if position >= end:
                slot = ks_offset_index_search_position(offsets.data, offsets.count, end - 1)
                continue
            for i in range(self.bad_count):
                if self.bad[i].position <= position < self.bad[i].end_position:
                    slot = ks_offset_index_search_position(offsets.data, offsets.count, self.bad[i].position - 1)
                    break
            else:
                return slot
        return -1

    cdef bint jump(self, Walk walk, OffsetIndex offsets, Py_ssize_t slot) except -1:
        """Put the walk where an index entry points to; False when no batch there has the entry's offset."""
        walk.w.position = offsets.position_at(slot)
        walk.w.next_offset = 0
        walk.w.exact_offset = -1
        walk.w.bad = self.bad
        walk.w.bad_count = self.bad_count
        if walk.peek() != KS_WALK_FOUND or walk.w.header.last_offset != offsets.offset_at(slot):
            return False
        walk.w.next_offset = walk.w.header.base_offset
        return True

    cdef int start_at(self, Walk walk, long long offset) except -1:
        """Put the walk at the last indexed batch at or below `offset`, or at the start."""
        cdef OffsetIndex offsets
        cdef Py_ssize_t slot
        cdef int attempt
        for attempt in range(2):
            offsets = self.offsets
            if offsets is None:
                break                              # shut by another thread: the start serves as well
            slot = ks_offset_index_search(offsets.data, offsets.count, offset - self.base_offset)
            slot = self.sound_slot(offsets, slot, walk.w.end)
            if slot < 0:
                break
            if self.jump(walk, offsets, slot):
                return 0
            if self.appender is not None or attempt:
                break                              # then the log is what is damaged: walking there finds out
            self.rebuild_indexes()
        walk.w.position = 0
        walk.w.next_offset = self.base_offset
        walk.w.exact_offset = self.base_offset if self.dense else -1
        walk.w.bad = self.bad
        walk.w.bad_count = self.bad_count
        return 0

    cdef bint time_entry_holds(self, TimeIndex times, Py_ssize_t slot, long long end) except -1:
        """Whether the batch that the entry names ends at its offset and has its timestamp."""
        cdef Walk walk
        cdef int result
        self.ready(end)
        walk = self.walk(end)
        self.start_at(walk, times.offset_at(slot))
        result = walk.to_offset(times.offset_at(slot))
        if result == KS_WALK_BAD:
            raise walk.damage()
        return (result == KS_WALK_FOUND and walk.w.header.last_offset == times.offset_at(slot)
                and walk.w.header.max_timestamp == times.timestamp_at(slot))

    cdef int look_at_times(self) except -1:
        """Find the maximum timestamp of a sealed segment: the last time entry's, confirmed by it and all
        batches behind.

        Whole entries may be missing from the end of a file without any trace in it, hence the walk.
        """
        cdef Walk walk
        cdef TimeIndex times
        cdef long long timestamp, offset
        cdef int _attempt, result
        if self.sealed_max_timestamp != UNKNOWN:
            return 0
        for _attempt in range(2):
            self.ready(self.size())
            times = self.times
            timestamp = times.timestamp_at(times.count - 1) if times.count else -1
            offset = times.offset_at(times.count - 1) if times.count else -1
            if not times.count or self.time_entry_holds(times, times.count - 1, self.size()):
                self.ready(self.size())
                walk = self.walk(self.size())
                self.start_at(walk, max(offset, self.base_offset))
                result = walk.to_timestamp(timestamp + 1)
                if result == KS_WALK_BAD:
                    raise walk.damage()
                if result == KS_WALK_END:
                    self.sealed_max_timestamp_offset = offset
                    self.sealed_max_timestamp = timestamp
                    return 0
            self.rebuild_indexes()
            if self.sealed_max_timestamp != UNKNOWN:
                return 0
        raise InvariantError(f"{self.path}: a rebuilt time index does not fit its log")

    # -- trust in the index files ----------------------------------------------------------------------------

    cdef int load_indexes(self, long long size) except -1:
        """Map both index files; what cannot be a whole and rising index in front of this log is made anew."""
        cdef OffsetIndex offsets
        cdef TimeIndex times
        if size == 0:
            self.times = TimeIndex(self.base_offset)
            self.offsets = OffsetIndex(self.base_offset)
            return 0
        offset_bytes = self.stored_index("index", KS_OFFSET_ENTRY_BYTES)
        time_bytes = self.stored_index("timeindex", KS_TIME_ENTRY_BYTES)
        if offset_bytes is not None and time_bytes is not None:
            offsets = OffsetIndex(self.base_offset, offset_bytes)
            times = TimeIndex(self.base_offset, time_bytes)
            if offsets.sound(size) == offsets.count and times.sound() == times.count:
                self.times = times
                self.offsets = offsets
                self.indexes_filed = True
                return 0
        return self.rebuild_indexes()

    cdef object stored_index(self, str kind, Py_ssize_t entry_bytes):
        """The bytes of an index file; None when it is missing or does not end with an entry."""
        cdef File file
        cdef long long size
        cdef str path = self.name(kind)
        if not self.disk.exists(path):
            return None
        file = self.disk.open_file(path, writable=False)
        try:
            size = file.size()
            if size % entry_bytes:
                return None
            return file.mapping(size).view[:size] if self.mapped else file.read_at(0, size)
        finally:
            file.close()

    cdef int rebuild_indexes(self) except -1:
        """Make both indexes of a sealed segment from its batches, by the cadence of an append; on disk if
        that works."""
        cdef Indexes indexes = Indexes(self.base_offset, self.index_interval_bytes, self.index_bytes_max)
        cdef Walk walk
        self.open_log(self.size())
        walk = self.walk(self.size())
        walk.w.next_offset = self.base_offset
        self.index_batches(indexes, walk)
        indexes.force_last_time()
        self.index_rebuilds += 1
        self.open_segments.index_rebuilds += 1
        self.sealed_next_offset = walk.w.next_offset
        self.sealed_max_timestamp_offset = indexes.cadence.max_timestamp_offset
        self.sealed_max_timestamp = indexes.cadence.max_timestamp
        self.times = indexes.times
        self.offsets = indexes.offsets
        self.indexes_filed = False
        if self.writable:
            try:
                self.disk.write_file_atomic(self.name("index"), indexes.offsets.tail(0))
                self.disk.write_file_atomic(self.name("timeindex"), indexes.times.tail(0))
                self.indexes_filed = True
            except OSError:
                pass                               # they serve from memory; the next open tries again
        return 0

    cdef int index_batches(self, Indexes indexes, Walk walk) except -1:
        """Count every batch from where the walk stands to its end."""
        cdef int result = walk.peek()
        while result == KS_WALK_FOUND:
            indexes.count_batch(walk.w.position, walk.w.header.size_bytes, walk.w.header.last_offset,
                                walk.w.header.max_timestamp)
            ks_walk_step(&walk.w)
            result = walk.peek()
        if result == KS_WALK_BAD:
            raise walk.damage()
        return 0
