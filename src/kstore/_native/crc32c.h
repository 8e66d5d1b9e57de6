/* CRC32C: CRC-32C (Castagnoli, RFC 3720 B.4), the checksum of Kafka's record batches.
 *
 * `ks_crc32c(0, data, n)` is the finished checksum and may be passed on to continue it: the convention of zlib's crc32
 * and of PyPI's crc32c. One implementation, a *rung*, is chosen when the object is loaded: the fastest that this
 * processor supports, or the one that the environment variable KSTORE_CPU names. A name that is unknown or unsupported
 * chooses the fastest and is kept for `ks_crc32c_refused`; the Python edge raises for it.
 *
 * Every extension module links its own copy of this library. The choice is made in a constructor, which the loader runs
 * once and alone, so that no call ever meets a half-made table and no call pays for a lock.
 */
#ifndef KSTORE_CRC32C_H
#define KSTORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Slowest first within a family; the numbers are an index, not a format. */
enum ks_crc32c_rung {
    KS_RUNG_TABLE = 0,  /* "table": slicing by eight, any processor */
    KS_RUNG_ARMV8 = 1,  /* "armv8": the CRC32 instructions of ARMv8-A, three streams */
    KS_RUNG_SSE42 = 2,  /* "sse42": crc32q in three streams, joined by PCLMULQDQ */
    KS_RUNG_AVX2 = 3,   /* "avx2": folding by 256-bit VPCLMULQDQ (Zen 3, Alder Lake) */
    KS_RUNG_AVX512 = 4, /* "avx512": folding by 512-bit VPCLMULQDQ (Ice Lake, Zen 4) */
    KS_RUNGS = 5
};

uint32_t ks_crc32c(uint32_t crc, const void *data, size_t n);

/* The checksum of A followed by B from crc1 = ks_crc32c(0, A) and crc2 = ks_crc32c(0, B), where B has len2 bytes. */
uint32_t ks_crc32c_combine(uint32_t crc1, uint32_t crc2, uint64_t len2);

const char *ks_crc32c_rung(void);          /* the name of the rung in use */
const char *ks_crc32c_refused(void);       /* what KSTORE_CPU names in vain, or NULL */
const char *ks_crc32c_rung_name(int rung); /* NULL outside [0, KS_RUNGS) */
int ks_crc32c_supported(int rung);         /* 1 where this processor can run it */

/* For tests: the same by a named rung. The caller has asked ks_crc32c_supported. */
uint32_t ks_crc32c_with(int rung, uint32_t crc, const void *data, size_t n);
uint32_t ks_crc32c_combine_portable(uint32_t crc1, uint32_t crc2, uint64_t len2);

#endif
