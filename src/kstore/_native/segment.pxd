"""SEGMENT: a stored segment that can be written. See segment.pyx."""

from kstore._native.appender cimport Appender
from kstore._native.file cimport File
from kstore._native.index cimport Entries, Indexes
from kstore._native.readable cimport ReadableSegment


cdef class Segment(ReadableSegment):
    # Entries that stand in the index files; UNKNOWN: what stands there is not the beginning of ours.
    cdef Py_ssize_t offsets_filed
    cdef Py_ssize_t times_filed
    # Changes so far, and how many of them a flush has brought to the medium.
    cdef long long changes
    cdef long long log_flushed
    cdef long long indexes_flushed

    cdef Appender writer(self)
    cdef Indexes new_indexes(self)
    cdef int take_appends(self, File file, Indexes indexes, long long size_bytes, long long next_offset) except -1
    cdef int reload_indexes(self, Indexes indexes, long long end, long long next_offset, max_timestamp) except -1
    cdef int raise_maximum(self, Indexes indexes, long long end) except -1
    cdef Py_ssize_t write_entries(self, str kind, Entries entries, Py_ssize_t filed) except -1
    cdef int sync_file(self, str kind) except -1
