"""INDEX: sorted fixed-size entries in memory or in a mapped file. See index.pyx."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "index.h" nogil:
    enum:
        KS_OFFSET_ENTRY_BYTES
        KS_TIME_ENTRY_BYTES
    ctypedef struct ks_cadence:
        int64_t interval_bytes
        int64_t since_entry
        int64_t max_timestamp
        int64_t max_timestamp_offset
    int64_t ks_index_int32(const unsigned char* p)
    int64_t ks_index_int64(const unsigned char* p)
    void ks_store_be32(unsigned char* p, uint32_t value)
    void ks_store_be64(unsigned char* p, uint64_t value)
    Py_ssize_t ks_offset_index_search(const unsigned char* entries, size_t count, int64_t relative_offset)
    Py_ssize_t ks_offset_index_search_position(const unsigned char* entries, size_t count, int64_t position)
    Py_ssize_t ks_time_index_search(const unsigned char* entries, size_t count, int64_t timestamp)
    Py_ssize_t ks_offset_index_first_bad(const unsigned char* entries, size_t count, int64_t log_bytes)
    Py_ssize_t ks_time_index_first_bad(const unsigned char* entries, size_t count)
    int ks_cadence_count(ks_cadence* c, int64_t size_bytes, int64_t last_offset, int64_t max_timestamp)


cdef class Entries:
    cdef object owner                  # what keeps `data` alive: a Block, or the exporter of a buffer
    cdef const unsigned char* data
    cdef readonly Py_ssize_t count
    cdef readonly long long base_offset

    cdef Py_ssize_t entry_bytes(self) noexcept nogil
    cdef unsigned char* room(self) except NULL
    cdef int cut(self, Py_ssize_t count) except -1
    cdef int copy(self, Entries other) except -1
    cdef int take(self, const unsigned char* data, Py_ssize_t count) except -1
    cpdef bytes tail(self, Py_ssize_t start)
    cpdef digest(self)
    cdef object view(self, str entry)


cdef class OffsetIndex(Entries):
    cdef long long offset_at(self, Py_ssize_t slot) noexcept nogil
    cdef long long position_at(self, Py_ssize_t slot) noexcept nogil
    cpdef long long lookup(self, long long offset) noexcept
    cpdef Py_ssize_t sound(self, long long log_bytes) noexcept


cdef class TimeIndex(Entries):
    cdef long long timestamp_at(self, Py_ssize_t slot) noexcept nogil
    cdef long long offset_at(self, Py_ssize_t slot) noexcept nogil
    cpdef Py_ssize_t slot_below(self, long long timestamp_ms) noexcept
    cpdef Py_ssize_t sound(self) noexcept


cdef class Indexes:
    cdef readonly OffsetIndex offsets
    cdef readonly TimeIndex times
    cdef readonly Py_ssize_t offset_entries_max
    cdef readonly Py_ssize_t time_entries_max
    cdef ks_cadence cadence

    cdef int adopt(self, OffsetIndex offsets, TimeIndex times) except -1
    cdef int count_batch(self, long long position, long long size_bytes, long long last_offset,
                         long long max_timestamp) except -1 nogil
    cpdef see(self, long long max_timestamp, long long last_offset)
    cdef int add_time(self) except -1
    cdef int add_due(self, long long position, long long last_offset) except -1
    cpdef force_last_time(self)
    cpdef bint is_full(self)
    cpdef cut(self, long long next_offset)
    cdef int cut_entries(self, long long next_offset) except -1
