"""BATCHES: what a read returns; see batches.pyx."""

from kstore._native.batch cimport ks_batch_header


cdef class Batches:
    cdef readonly object buffer             # read-only memoryview over whole batches
    cdef readonly str file                  # where the bytes come from, for messages
    cdef readonly long long position        # of the first byte in that file
    cdef long long empty_next_offset
    cdef object aborted                     # (producer id, first offset, last offset) of what read_committed must hide

    cdef int check(self, const unsigned char* p, const unsigned char* end, long long at, ks_batch_header* h) except -1
    cdef object damaged(self, long long at, const ks_batch_header* h, str reason)
    cdef bint is_hidden(self, const ks_batch_header* h, bint control)
    cdef object unpack(self, long long at, const ks_batch_header* h)
    cdef object arena(self, list wanted, const unsigned char* start)


cdef Batches make_batches(object buffer, long long next_offset, str file, long long position, object aborted)
