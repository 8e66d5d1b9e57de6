"""TURNS: see turns.pyx; for those who move much without the lock."""

cimport cython

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass


@cython.final
cdef class Lock:
    cdef pthread_mutex_t mutex

    cdef bint take(self) noexcept nogil
