"""CRC-32C for native callers; see crc32c.h."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "crc32c.h" nogil:
    uint32_t ks_crc32c(uint32_t crc, const void* data, size_t n)
    uint32_t ks_crc32c_combine(uint32_t crc1, uint32_t crc2, uint64_t len2)
    const char* ks_crc32c_rung()
    const char* ks_crc32c_refused()
    const char* ks_crc32c_rung_name(int rung)
    int ks_crc32c_supported(int rung)
    uint32_t ks_crc32c_with(int rung, uint32_t crc, const void* data, size_t n)
    uint32_t ks_crc32c_combine_portable(uint32_t crc1, uint32_t crc2, uint64_t len2)
    enum:
        KS_RUNGS
