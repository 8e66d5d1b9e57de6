/* The rungs of crc32c.c, which is the only caller, and the algebra that they share.
 *
 * A rung takes and returns the bare register (crc32c.c inverts it on both sides) and reads exactly [p, p + n), at any
 * alignment. A value stands for a polynomial over GF(2) modulo P, the Castagnoli polynomial; as in the checksum itself
 * the most significant bit of 32 is x^0. Names like x543 are constants: x^543 mod P.
 */
#ifndef KSTORE_CRC32C_RUNGS_H
#define KSTORE_CRC32C_RUNGS_H

#include <stddef.h>
#include <stdint.h>

#define KS_CRC32C_POLYNOMIAL 0x82F63B78u

/* A carry-less product of two reflected 32-bit values, fed to the crc32q instruction, gains a factor x^33: one from
 * the product of reflected numbers and 32 from the instruction. Constants for that path are divided by it first. */
#define KS_CRC32C_X_MINUS_33 0xA9CDDA0Du

typedef uint32_t ks_crc32c_function(uint32_t state, const unsigned char *p, size_t n);

uint32_t ks_crc32c_multiply(uint32_t a, uint32_t b); /* a * b mod P, on any processor */
uint32_t ks_crc32c_x_power(uint64_t bits);           /* x^bits mod P */

#if defined(__x86_64__)
void ks_crc32c_x86_prepare(void); /* before any of the others */
int ks_crc32c_x86_supports(int rung);
ks_crc32c_function ks_crc32c_sse42;
ks_crc32c_function ks_crc32c_avx2;
ks_crc32c_function ks_crc32c_avx512;
uint32_t ks_crc32c_multiply_sse42(uint32_t a, uint32_t b_over_x33); /* a * b mod P, given b * x^-33 */
#endif

#if defined(__aarch64__)
void ks_crc32c_arm_prepare(void);
int ks_crc32c_arm_supports(void);
ks_crc32c_function ks_crc32c_armv8;
#endif

#endif
