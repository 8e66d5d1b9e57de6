"""OPENED: which sealed segments keep their mappings. See opened.pyx."""


cdef class Openable:
    cdef bint touched                   # used since the hand last passed
    cdef bint listed                    # among those that its OpenSegments counts

    cdef int shut(self) except -1


cdef class OpenSegments:
    cdef list opened
    cdef Py_ssize_t hand
    cdef readonly Py_ssize_t limit
    cdef public long long index_rebuilds

    cdef int add(self, Openable segment) except -1
    cdef int remove(self, Openable segment) except -1
