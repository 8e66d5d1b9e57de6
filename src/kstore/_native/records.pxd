"""RECORD: records and the encoder; see record.h for the bytes and records.pyx for the rules."""

from libc.stdint cimport int32_t, int64_t

from kstore._native.batch cimport BatchHeader, ks_append_info, ks_batch_header


cdef class Record:                       # final; immutable
    cdef readonly object value           # bytes or None (a tombstone)
    cdef readonly object key             # bytes or None
    cdef readonly tuple headers          # of (str, bytes or None)
    cdef readonly BatchHeader batch      # None for a record that was not read from a batch
    cdef readonly long long offset       # -1 as long as no log gave it one
    cdef readonly int size_bytes         # as stored in its (unpacked) batch; -1 when not read from one
    cdef bint has_timestamp
    cdef long long timestamp
    cdef int offset_delta


cdef class Block:                        # memory that is not reused while a memoryview on it lives
    cdef unsigned char* data
    cdef Py_ssize_t capacity
    cdef Py_ssize_t length               # bytes that a memoryview shows
    cdef Py_ssize_t exports


cdef class Encoder:                      # final; one thread at a time
    cdef Block block
    cdef bint busy
    # What every batch of one call shares.
    cdef ks_batch_header proto
    cdef ks_append_info info
    cdef object level
    cdef int codec
    cdef int64_t batch_bytes_max         # at which a batch is closed
    cdef int64_t alone_bytes_max         # of a batch of one record
    # The batch being written: it starts at `start`, its next record at `used`.
    cdef int64_t start
    cdef int64_t used
    cdef int32_t count
    cdef int64_t base_timestamp
    cdef int64_t max_timestamp

    cdef int begin(self) except -1
    cdef int grow(self, int64_t size) except -1
    cdef int values(self, object records, int64_t timestamp) except -1
    cdef int mixed(self, object records, int64_t timestamp) except -1
    cdef int put(self, object key, object value, bytes headers, int64_t timestamp) except -1
    cdef int admit(self, int64_t size) except -1
    cdef int open_batch(self, int64_t timestamp) except -1
    cdef int close_batch(self) except -1
    cdef int64_t pack(self) except -1


cdef tuple parse_headers(const unsigned char* p, const unsigned char* end, int64_t count)
