# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""INDEX: the sparse offset and time index of one segment.

Owns sorted entries in memory (the active segment) or over a mapped file (a sealed one), their search, their
structural check, and `Indexes`, the pair that grows by Kafka's cadence on append and on recovery alike. It
must not know files or batches: whether an entry tells the truth about the log is checked by `segment`, which
reads the batch it points to.

Invariants
  1. Published entries never change. Growth and cuts go to a new block; readers and numpy views keep the old
     one.
  2. Both columns rise strictly; every position lies inside the log.
  3. One writer. Readers take `data`, `count` and a reference to `owner` under the GIL, then may release it.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyObject_GetBuffer, PyBuffer_FillInfo, PyBuffer_Release
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from kstore._native.crc32c cimport ks_crc32c

FIELDS = {
    "OFFSET_ENTRY": [("relative_offset", ">i4"), ("position", ">i4")],
    "TIME_ENTRY": [("timestamp", ">i8"), ("relative_offset", ">i4")],
}


def __getattr__(str name):
    """OFFSET_ENTRY and TIME_ENTRY, made when they are asked for: who only writes and looks up needs no numpy."""
    if name not in FIELDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import numpy as np
    return np.dtype(FIELDS[name])


cdef enum:
    FIRST_BLOCK_ENTRIES = 64      # a fresh segment costs less than a kilobyte; blocks double from here


cdef class Block:
    """Memory of index entries: never moves, is freed with its last reader, exports itself read-only."""

    cdef unsigned char* data
    cdef Py_ssize_t capacity

    def __cinit__(self, Py_ssize_t capacity):
        self.data = <unsigned char*>malloc(capacity)
        if self.data == NULL:
            raise MemoryError
        self.capacity = capacity

    def __dealloc__(self):
        free(self.data)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.capacity, 1, flags)


cdef class Held:
    """Keeps the buffer of any exporter (a mapping, bytes) alive and at its place."""

    cdef Py_buffer view

    def __cinit__(self, source):
        PyObject_GetBuffer(source, &self.view, PyBUF_SIMPLE)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.view.buf, self.view.len, 1, flags)


cdef class Entries:
    """Sorted entries of one size. `source`: any buffer, whole entries only; None makes an empty one that can
    grow."""

    def __init__(self, long long base_offset, source=None):
        cdef Held held
        self.base_offset = base_offset
        if source is not None:
            held = Held(source)
            self.owner = held
            self.data = <const unsigned char*>held.view.buf
            self.count = held.view.len // self.entry_bytes()

    cdef Py_ssize_t entry_bytes(self) noexcept nogil:
        return KS_OFFSET_ENTRY_BYTES

    def __len__(self):
        return self.count

    cdef unsigned char* room(self) except NULL:
        """Where the next entry goes. Growing copies to a new block, so that readers of the old one never
        notice."""
        cdef Block block
        cdef Py_ssize_t size = self.count * self.entry_bytes()
        if isinstance(self.owner, Block) and size + self.entry_bytes() <= (<Block>self.owner).capacity:
            return (<Block>self.owner).data + size
        block = Block(max(2 * size, FIRST_BLOCK_ENTRIES * self.entry_bytes()))
        if size:
            memcpy(block.data, self.data, size)
        self.data = block.data
        self.owner = block
        return block.data + size

    cdef int cut(self, Py_ssize_t count) except -1:
        """Keep the first `count` entries. The rest may be in a reader's hands: what follows goes to a new
        block."""
        if count < self.count:
            self.take(self.data, count)
        return 0

    cdef int copy(self, Entries other) except -1:
        """Become a copy of `other`, in memory."""
        return self.take(other.data, other.count)

    cdef int take(self, const unsigned char* data, Py_ssize_t count) except -1:
        cdef Py_ssize_t size = count * self.entry_bytes()
        cdef Block block = Block(max(2 * size, FIRST_BLOCK_ENTRIES * self.entry_bytes()))
        if size:
            memcpy(block.data, data, size)
        self.count = count
        self.data = block.data
        self.owner = block
        return 0

    cpdef bytes tail(self, Py_ssize_t start):
        """The bytes of the entries from slot `start` on, as they go to the file."""
        cdef Py_ssize_t size = self.entry_bytes()
        if start < 0 or start >= self.count:
            return b""
        return (<const char*>self.data)[start * size:self.count * size]

    cpdef digest(self):
        """`(size_bytes, CRC-32C)` of all entries."""
        cdef Py_ssize_t size = self.count * self.entry_bytes()
        return size, ks_crc32c(0, self.data, size)

    cdef object view(self, str entry):
        import numpy as np
        dtype = np.dtype(FIELDS[entry])
        if self.count == 0:
            return np.empty(0, dtype)
        return np.frombuffer(self.owner, dtype, self.count)


@cython.final
cdef class OffsetIndex(Entries):
    """Entries `(last offset of a batch, position of the batch)`."""

    cdef long long offset_at(self, Py_ssize_t slot) noexcept nogil:
        return self.base_offset + ks_index_int32(self.data + slot * KS_OFFSET_ENTRY_BYTES)

    cdef long long position_at(self, Py_ssize_t slot) noexcept nogil:
        return ks_index_int32(self.data + slot * KS_OFFSET_ENTRY_BYTES + 4)

    cpdef long long lookup(self, long long offset) noexcept:
        """The position of the last entry at or below `offset`; 0, the start of the segment, when there is
        none."""
        cdef Py_ssize_t slot = ks_offset_index_search(self.data, self.count, offset - self.base_offset)
        return self.position_at(slot) if slot >= 0 else 0

    def lookup_many(self, offsets):
        """`lookup` of each of an array of offsets: int64 positions. The GIL is released."""
        import numpy as np
        cdef const int64_t[::1] targets = np.ascontiguousarray(offsets, dtype=np.int64)
        cdef Py_ssize_t i, slot, count = self.count, n = targets.shape[0]
        cdef const unsigned char* data = self.data
        cdef object _owner = self.owner  # keeps `data` alive while the GIL is not held
        cdef long long base_offset = self.base_offset
        positions = np.empty(n, np.int64)
        cdef int64_t[::1] out = positions
        with nogil:
            for i in range(n):
                slot = ks_offset_index_search(data, count, targets[i] - base_offset)
                out[i] = ks_index_int32(data + slot * KS_OFFSET_ENTRY_BYTES + 4) if slot >= 0 else 0
        return positions

    cpdef Py_ssize_t sound(self, long long log_bytes) noexcept:
        """How many entries from the first on can stand where they stand, in front of a log of `log_bytes`."""
        cdef Py_ssize_t slot = ks_offset_index_first_bad(self.data, self.count, log_bytes)
        return self.count if slot < 0 else slot

    @property
    def array(self):
        """The entries as a read-only numpy array of `OFFSET_ENTRY`, valid as long as it is held."""
        return self.view("OFFSET_ENTRY")


@cython.final
cdef class TimeIndex(Entries):
    """Entries `(running maximum timestamp, last offset of the batch that set it)`."""

    cdef Py_ssize_t entry_bytes(self) noexcept nogil:
        return KS_TIME_ENTRY_BYTES

    cdef long long timestamp_at(self, Py_ssize_t slot) noexcept nogil:
        return ks_index_int64(self.data + slot * KS_TIME_ENTRY_BYTES)

    cdef long long offset_at(self, Py_ssize_t slot) noexcept nogil:
        return self.base_offset + ks_index_int32(self.data + slot * KS_TIME_ENTRY_BYTES + 8)

    cpdef Py_ssize_t slot_below(self, long long timestamp_ms) noexcept:
        """The last slot whose timestamp is below `timestamp_ms`, or -1."""
        if timestamp_ms <= 0:          # no entry is below 0, and the lowest int64 has nothing below it
            return -1
        return ks_time_index_search(self.data, self.count, timestamp_ms - 1)

    cpdef Py_ssize_t sound(self) noexcept:
        """How many entries from the first on can stand where they stand."""
        cdef Py_ssize_t slot = ks_time_index_first_bad(self.data, self.count)
        return self.count if slot < 0 else slot

    @property
    def array(self):
        """The entries as a read-only numpy array of `TIME_ENTRY`, valid as long as it is held."""
        return self.view("TIME_ENTRY")


cdef class Indexes:
    """Both indexes of the segment that is being written, and the cadence by which they grow.

    `index_bytes_max` is Kafka's segment.index.bytes: as many whole entries fit, of the time index one is
    reserved for the entry forced at the end.
    """

    def __cinit__(self, long long base_offset, long long interval_bytes, long long index_bytes_max):
        self.offsets = OffsetIndex(base_offset)
        self.times = TimeIndex(base_offset)
        self.offset_entries_max = index_bytes_max // KS_OFFSET_ENTRY_BYTES
        self.time_entries_max = index_bytes_max // KS_TIME_ENTRY_BYTES
        self.cadence.interval_bytes = interval_bytes
        self.cadence.since_entry = 0
        self.cadence.max_timestamp = -1
        self.cadence.max_timestamp_offset = -1

    cdef int adopt(self, OffsetIndex offsets, TimeIndex times) except -1:
        """Go on from a copy of entries that stand in files; their last time entry is the running maximum so
        far."""
        self.offsets.copy(offsets)
        self.times.copy(times)
        if times.count:
            self.see(times.timestamp_at(times.count - 1), times.offset_at(times.count - 1))
        return 0

    cpdef see(self, long long max_timestamp, long long last_offset):
        """Raise the running maximum without counting a batch: what earlier batches of the segment held."""
        if max_timestamp > self.cadence.max_timestamp:
            self.cadence.max_timestamp = max_timestamp
            self.cadence.max_timestamp_offset = last_offset

    @property
    def max_timestamp_ms(self):
        """The running maximum over the segment, -1: none."""
        return self.cadence.max_timestamp

    @property
    def max_timestamp_offset(self):
        """The last offset of the batch that set it, -1: none."""
        return self.cadence.max_timestamp_offset

    def add(self, long long position, long long size_bytes, long long last_offset, long long max_timestamp):
        """Count one batch that now stands in the log; entries are added when they are due."""
        self.count_batch(position, size_bytes, last_offset, max_timestamp)

    cdef int count_batch(self, long long position, long long size_bytes, long long last_offset,
                         long long max_timestamp) except -1 nogil:
        if ks_cadence_count(&self.cadence, size_bytes, last_offset, max_timestamp):
            with gil:
                self.add_due(position, last_offset)
        return 0

    cdef int add_due(self, long long position, long long last_offset) except -1:
        """One append may carry many batches: entries beyond the file's room are left out, lookups walk
        further."""
        cdef unsigned char* entry
        if self.offsets.count < self.offset_entries_max:
            entry = self.offsets.room()
            ks_store_be32(entry, <uint32_t>(last_offset - self.offsets.base_offset))
            ks_store_be32(entry + 4, <uint32_t>position)
            self.offsets.count += 1
        if self.times.count < self.time_entries_max - 1:
            self.add_time()
        return 0

    cdef int add_time(self) except -1:
        cdef unsigned char* entry
        cdef Py_ssize_t count = self.times.count
        if self.cadence.max_timestamp <= (self.times.timestamp_at(count - 1) if count else -1):
            return 0
        entry = self.times.room()
        ks_store_be64(entry, <uint64_t>self.cadence.max_timestamp)
        ks_store_be32(entry + 8, <uint32_t>(self.cadence.max_timestamp_offset - self.times.base_offset))
        self.times.count += 1
        return 0

    cpdef force_last_time(self):
        """At roll, close and the end of recovery: the maximum becomes the last time entry, full or not."""
        if self.times.count < self.time_entries_max:
            self.add_time()

    cpdef bint is_full(self):
        """True when no entry fits any more: the segment must roll."""
        return (self.offsets.count >= self.offset_entries_max
                or self.times.count >= self.time_entries_max - 1)

    cpdef cut(self, long long next_offset):
        """Drop the entries at and above `next_offset`, and the running maximum down to the last time entry."""
        cdef Py_ssize_t slot
        self.cut_entries(next_offset)
        slot = self.times.count - 1
        self.cadence.since_entry = 0
        self.cadence.max_timestamp = self.times.timestamp_at(slot) if slot >= 0 else -1
        self.cadence.max_timestamp_offset = self.times.offset_at(slot) if slot >= 0 else -1

    cdef int cut_entries(self, long long next_offset) except -1:
        cdef Py_ssize_t slot = self.times.count
        self.offsets.cut(1 + ks_offset_index_search(self.offsets.data, self.offsets.count,
                                                    next_offset - 1 - self.offsets.base_offset))
        while slot > 0 and self.times.offset_at(slot - 1) >= next_offset:
            slot -= 1
        return self.times.cut(slot)
