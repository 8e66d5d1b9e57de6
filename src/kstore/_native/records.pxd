"""RECORDS: the encoder; see records.pyx for the rules."""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t

from kstore._native.batch cimport ks_append_info, ks_batch_header
from kstore._native.block cimport Block
from kstore._native.columns cimport Columns


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
    cdef int add_all(self, object records, int64_t timestamp) except -1
    cdef int add_columns(self, Columns columns, int64_t timestamp) except -1
    cdef Py_ssize_t fill(self, PyObject** items, Py_ssize_t items_count, int64_t timestamp) noexcept
    cdef Py_ssize_t fill_values(self, PyObject** items, Py_ssize_t items_count) noexcept
    cdef unsigned char* end(self) noexcept
    cdef int add(self, object item, int64_t timestamp) except -1
    cdef int put(self, object key, object value, bytes headers, int64_t timestamp) except -1
    cdef int admit(self, int64_t size) except -1
    cdef int open_batch(self, int64_t timestamp) except -1
    cdef int close_batch(self) except -1
    cdef int64_t pack(self) except -1
