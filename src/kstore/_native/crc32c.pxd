"""CRC-32C; see crc32c.h."""

from libc.stdint cimport uint32_t

cdef extern from "crc32c.h" nogil:
    uint32_t ks_crc32c(uint32_t crc, const void* data, size_t n)
