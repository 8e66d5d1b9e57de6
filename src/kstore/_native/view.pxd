"""VIEW: one moment of a log, as readers see it. See view.pyx."""

from kstore._native.segment cimport Segment


cdef class View:
    cdef readonly tuple segments
    cdef readonly long long log_start_offset
    cdef readonly long long log_end_offset
    cdef readonly long long high_watermark
    cdef readonly long long last_stable_offset
    cdef readonly long long end_position       # bytes of the last segment that belong to this moment

    cdef Py_ssize_t slot_of(self, long long offset) noexcept
