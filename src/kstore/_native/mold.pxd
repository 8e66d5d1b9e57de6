"""MOLD: records as tuples; see mold.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from kstore._native.batch cimport ks_batch_header
from kstore._native.record cimport ks_record


cdef class Mold:                         # final; one thread at a time
    cdef PyObject* made                  # a tuple that was handed out, or will be
    cdef object timestamp                # that of the record before
    cdef int64_t timestamp_ms

    cdef object cast(self, const ks_record* read, const ks_batch_header* header)
    cdef PyObject* fill(self, PyObject** parts) except NULL
