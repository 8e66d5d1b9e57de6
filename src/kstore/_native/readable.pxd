"""READABLE: lookups in a stored segment. See readable.pyx."""

from kstore._native.stored cimport StoredSegment
from kstore._native.walk cimport Walk


cdef class ReadableSegment(StoredSegment):
    cdef int span(self, long long offset, Py_ssize_t max_bytes, long long end, long long offset_end,
                  long long* start, long long* stop, long long* next_offset) except -1
    cdef int reach(self, Walk walk, long long target, long long offset_end) except -1
    cdef long long time_floor(self, long long timestamp_ms, long long end) except? -1
    cdef bint batch_holds(self, long long position, long long end_position) except -1
    cpdef locate(self, long long offset, long long end_position=*)
    cpdef read(self, long long position, long long end_position)
