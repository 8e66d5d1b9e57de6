# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What this machine can do at most, in C: an empty call, memcpy, a binary search. Built by `native.py`."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy


cdef class Empty:
    """A call that does nothing but take and return an integer."""

    def call(self, long long x):
        return x


def copy(unsigned char[::1] target, const unsigned char[::1] source, int times):
    """`source` into `target`, so many times."""
    cdef int i
    with nogil:
        for i in range(times):
            memcpy(&target[0], &source[0], source.shape[0])
            target[i & 7] ^= 1  # or the compiler would notice that one copy is enough


def search(const unsigned char[::1] entries, const long long[::1] queries, long long[::1] positions):
    """Branchless binary search of big-endian { offset, position } entries, one query after the other."""
    cdef Py_ssize_t i, n, half, base
    cdef uint32_t key, raw
    cdef const unsigned char* p = &entries[0]
    with nogil:
        for i in range(queries.shape[0]):
            key = <uint32_t>queries[i]
            base = 0
            n = entries.shape[0] // 8
            while n > 1:
                half = n // 2
                memcpy(&raw, p + 8 * (base + half), 4)
                base += half if __builtin_bswap32(raw) <= key else 0
                n -= half
            memcpy(&raw, p + 8 * base + 4, 4)
            positions[i] = __builtin_bswap32(raw)


cdef extern from *:
    uint32_t __builtin_bswap32(uint32_t x) nogil
