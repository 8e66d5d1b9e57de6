"""COLUMNS: records as numbers over a buffer; see columns.pyx."""

from kstore._native.block cimport Block
from kstore._native.record cimport ks_columns

cdef enum:
    COLUMNS = 6


cdef class Columns:                   # final; immutable
    cdef readonly object buffer
    cdef Py_ssize_t count
    cdef Block table                  # COLUMNS rows of `count` numbers
    cdef list arrays                  # over them, made when first asked for: that is when numpy is imported

    cdef object column(self, Py_ssize_t row)
    cdef object bytes_at(self, Py_ssize_t row, Py_ssize_t i)


# Columns of `count` records over `buffer`; `rows` points to where the caller writes the numbers, all of them.
cdef Columns columns_of(object buffer, Py_ssize_t count, ks_columns* rows)
