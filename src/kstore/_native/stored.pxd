"""STORED: one segment's files as readers see them. See stored.pyx."""

from kstore._native.appender cimport Appender
from kstore._native.file cimport File, Mapping
from kstore._native.index cimport Indexes, OffsetIndex, TimeIndex
from kstore._native.opened cimport Openable, OpenSegments
from kstore._native.scan cimport ks_range
from kstore._native.walk cimport Walk


cdef enum:
    UNKNOWN = -2                            # not looked at yet; -1 means: there is none


cdef class StoredSegment(Openable):
    cdef readonly object disk
    cdef readonly str directory
    cdef readonly long long base_offset
    cdef readonly bint writable
    cdef readonly bint mapped
    cdef public bint dense                  # never compacted: a hole between offsets is damage
    cdef readonly long long index_rebuilds
    cdef readonly tuple quarantine          # of scan.Range
    cdef long long index_interval_bytes
    cdef long long index_bytes_max
    cdef str suffix
    cdef str log_name
    cdef OpenSegments open_segments
    # What is open. The appender: while the segment takes appends. The others serve readers and may be shut.
    cdef Appender appender
    cdef File file                          # only when not mapped
    cdef Mapping mapping
    cdef OffsetIndex offsets
    cdef TimeIndex times
    cdef bint indexes_filed                 # both stand whole in their files: they may be dropped
    # What is known of a sealed segment.
    cdef long long sealed_size
    cdef long long sealed_next_offset
    cdef long long sealed_max_timestamp
    cdef long long sealed_max_timestamp_offset
    # Quarantined ranges, sorted, in memory that `bad_owner` holds.
    cdef const ks_range* bad
    cdef size_t bad_count
    cdef object bad_owner

    cdef str name(self, str kind)
    cdef str log_path(self)
    cdef long long size(self) except -1
    cdef long long first_batch_timestamp(self) except? -1
    cdef int ready(self, long long end) except -1
    cdef int open_again(self, long long end) except -1
    cdef int open_log(self, long long end) except -1
    cdef Walk walk(self, long long end)
    cdef int start_at(self, Walk walk, long long offset) except -1
    cdef Py_ssize_t sound_slot(self, OffsetIndex offsets, Py_ssize_t slot, long long end) noexcept
    cdef bint jump(self, Walk walk, OffsetIndex offsets, Py_ssize_t slot) except -1
    cdef bint time_entry_holds(self, TimeIndex times, Py_ssize_t slot, long long end) except -1
    cdef int look_at_times(self) except -1
    cdef int load_indexes(self, long long size) except -1
    cdef object stored_index(self, str kind, Py_ssize_t entry_bytes)
    cdef int rebuild_indexes(self) except -1
    cdef int index_batches(self, Indexes indexes, Walk walk) except -1
