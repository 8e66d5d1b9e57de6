"""WIRE LAYOUT: see wire_layout.pyx."""

from kstore._native.wire cimport ks_wire_field, ks_wire_layout, ks_wire_step


cdef class Layout:
    cdef ks_wire_layout c
    cdef ks_wire_field* fields      # what c.fields points at; owned
    cdef readonly object struct     # the class of the instances, a subclass of tuple
    cdef readonly int version
    cdef tuple names                # by slot
    cdef tuple defaults             # by slot
    cdef tuple layouts              # by field: the layout of its structs, or None
    cdef tuple absent               # slots without a field in this version: a reader puts the default there
    cdef tuple refused              # those of them that a writer must not drop
    cdef Py_ssize_t slots

    cdef int measure(self) except -1
    cdef int check(self, const unsigned char* start, const unsigned char** p, const unsigned char* end,
                   long long elements_max) except -1
    cdef str path(self, const ks_wire_step* steps, int count, bint innermost_first)
