"""COLUMNS: records as numbers over a buffer; see columns.pyx."""

from libc.stdint cimport int64_t

from kstore._native.block cimport Block
from kstore._native.record cimport ks_columns

cdef extern from "columns.h" nogil:
    ctypedef struct ks_open_batch:
        unsigned int count
        int64_t base_timestamp
        int64_t max_timestamp
        int64_t no_timestamp
    int64_t ks_bounds_check(const int64_t* starts, const int64_t* ends, int64_t count, int64_t size)
    int64_t ks_columns_write(unsigned char** p, const unsigned char* end, const ks_columns* rows, int64_t first,
                             int64_t count, ks_open_batch* batch)

cdef enum:
    COLUMNS = 6


cdef class Columns:                   # final; immutable
    cdef readonly object buffer
    cdef Py_ssize_t count
    cdef Block table                  # COLUMNS rows of `count` numbers
    cdef list arrays                  # over them, made when first asked for: that is when numpy is imported

    cdef int64_t* row(self, Py_ssize_t row) noexcept
    cdef ks_columns rows(self) noexcept
    cdef object column(self, Py_ssize_t row)
    cdef object bytes_at(self, Py_ssize_t row, Py_ssize_t i)


# Columns of `count` records over `buffer`; `rows` points to where the caller writes the numbers, all of them.
cdef Columns columns_of(object buffer, Py_ssize_t count, ks_columns* rows)
