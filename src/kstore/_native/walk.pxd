"""WALK: a walk over the batch headers of one segment. See walk.pyx."""

from kstore._native.file cimport File, Mapping
from kstore._native.scan cimport ks_range, ks_walk


cdef class Walk:
    cdef ks_walk w
    cdef object segment             # for its path, should the walk meet damage
    cdef File file                  # None: the mapping holds every byte
    cdef object window_owner        # keeps the bytes of the window alive: a Mapping or bytes
    cdef object bad_owner           # keeps the quarantined ranges alive

    cdef int refill(self) except -1
    cdef int peek(self) except -1
    cdef int to_offset(self, long long offset) except -1
    cdef int to_timestamp(self, long long timestamp_ms) except -1
    cdef int to_position(self, long long stop) except -1
    cdef damage(self)


cdef Walk new_walk(object segment, Mapping mapping, File file, long long end, const ks_range* bad,
                   size_t bad_count, object bad_owner)
