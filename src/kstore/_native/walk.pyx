# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""WALK: a walk over the batch headers of one segment, from its mapping or, where the file may change under
us, by copies.

Owns the window of bytes that scan.c looks at, and the exception for what it meets. It must not know indexes
or offsets to start from: `segment` puts `w.position` and `w.next_offset` where the walk begins. One walk
belongs to one thread.
"""

cimport cython

from kstore.errors import CorruptionError
from kstore._native.batch cimport KS_BATCH_HEADER_BYTES
from kstore._native.file cimport File, Mapping
from kstore._native.scan cimport (
    KS_WALK_MORE, ks_range, ks_scan_reason, ks_walk_peek, ks_walk_to_offset, ks_walk_to_position, ks_walk_to_timestamp,
)
from kstore._native.status cimport KS_OK

cdef enum:
    WINDOW_BYTES = 64 * 1024        # one copy covers the walk from an index entry in most logs


@cython.final
@cython.freelist(16)
cdef class Walk:
    cdef int refill(self) except -1:
        """Copy the bytes that the walk needs next; a file that shrank ends in an error, never in a fault."""
        cdef bytes chunk
        cdef Py_ssize_t length = min(self.w.end - self.w.position, WINDOW_BYTES)
        if self.file is not None:
            chunk = self.file.read_at(self.w.position, length)
            if len(chunk) >= min(length, <Py_ssize_t>KS_BATCH_HEADER_BYTES):
                self.window_owner = chunk
                self.w.window = chunk
                self.w.window_position = self.w.position
                self.w.window_end = self.w.position + len(chunk)
                return 0
        raise CorruptionError(self.segment.path, self.w.position, "the file became shorter while it was read")

    cdef int peek(self) except -1:
        cdef int result = ks_walk_peek(&self.w)
        while result == KS_WALK_MORE:
            self.refill()
            result = ks_walk_peek(&self.w)
        return result

    cdef int to_offset(self, long long offset) except -1:
        cdef int result = ks_walk_to_offset(&self.w, offset)
        while result == KS_WALK_MORE:
            self.refill()
            result = ks_walk_to_offset(&self.w, offset)
        return result

    cdef int to_timestamp(self, long long timestamp_ms) except -1:
        cdef int result
        while True:
            with nogil:
                result = ks_walk_to_timestamp(&self.w, timestamp_ms)
            if result != KS_WALK_MORE:
                return result
            self.refill()

    cdef int to_position(self, long long stop) except -1:
        cdef int result = ks_walk_to_position(&self.w, stop)
        while result == KS_WALK_MORE:
            self.refill()
            result = ks_walk_to_position(&self.w, stop)
        return result

    cdef damage(self):
        """The exception for what the walk met: a quarantined range, or bytes that are no batch."""
        if self.w.status == KS_OK:
            return CorruptionError(self.segment.path, self.w.bad.position, "quarantined: its check failed before",
                                   offset=self.w.bad.first_offset, next_offset=self.w.bad.next_offset)
        return CorruptionError(self.segment.path, self.w.position, ks_scan_reason(self.w.status).decode(),
                               offset=self.w.next_offset)


cdef Walk new_walk(object segment, Mapping mapping, File file, long long end, const ks_range* bad,
                   size_t bad_count, object bad_owner):
    """A walk over `[0, end)` of a log: in `mapping`, or in copies from `file` where that is not None."""
    cdef Walk walk = Walk.__new__(Walk)
    walk.segment = segment
    walk.file = file
    walk.window_owner = mapping
    walk.bad_owner = bad_owner
    walk.w.window = mapping.data if mapping is not None else NULL
    walk.w.window_position = 0
    walk.w.window_end = end if mapping is not None else 0
    walk.w.end = end
    walk.w.bad = bad
    walk.w.bad_count = bad_count
    walk.w.status = KS_OK
    walk.w.exact_offset = -1
    walk.w.dense = 0
    walk.w.position = walk.w.last_position = 0
    walk.w.next_offset = 0
    return walk
