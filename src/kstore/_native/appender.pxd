"""APPENDER: the write end of one segment. See appender.pyx."""

from libc.stdint cimport uint32_t

from kstore._native.batch cimport AppendInfo, Pieces
from kstore._native.file cimport File
from kstore._native.index cimport Indexes


cdef class Staging:
    cdef unsigned char* data


cdef class Appender:
    cdef readonly File file
    cdef readonly Indexes indexes
    cdef readonly long long base_offset
    cdef readonly long long size_bytes
    cdef readonly long long next_offset
    cdef readonly long long first_timestamp_ms
    cdef uint32_t digest
    cdef bint digest_known

    cpdef append(self, buffer, AppendInfo info, long long next_offset, int leader_epoch)
    cdef append_apart(self, Pieces pieces, AppendInfo info, long long next_offset, int leader_epoch)
    cpdef append_stamped(self, buffer, AppendInfo info)
    cdef int admit_next(self, Py_ssize_t length, AppendInfo info, long long next_offset) except -1
    cdef int admit(self, Py_ssize_t length, AppendInfo info, long long first_offset, long long next_offset) except -1
    cdef int write_one(self, const unsigned char* data, Py_ssize_t length, long long next_offset,
                       int leader_epoch) except -1
    cdef int write_many(self, const unsigned char* data, Py_ssize_t length, long long next_offset,
                        int leader_epoch) except -1
    cdef int stage(self, unsigned char* staging, const unsigned char* data, Py_ssize_t length, long long next_offset,
                   int leader_epoch) noexcept nogil
    cdef int count(self, const unsigned char* data, Py_ssize_t length, long long next_offset, int leader_epoch,
                   bint stamp) except -1
    cpdef bint is_full(self, long long size_bytes, long long last_offset, long long segment_bytes) except -1
    cdef cut_back(self, int error)
