/* CRC32C on 64-bit ARM: three streams of crc32cx. See crc32c_rungs.h.
 *
 * Only the CRC32 extension is asked for, not the carry-less product (a Raspberry Pi 4 has the first and not the
 * second), so streams are joined by portable products; they are long enough for that not to matter.
 */
#include "crc32c_rungs.h"

#if defined(__aarch64__)

#include <string.h>

#if defined(__clang__)
#define CRC __attribute__((target("crc")))
#define CRC32CX __builtin_arm_crc32cd
#define CRC32CB __builtin_arm_crc32cb
#else
#define CRC __attribute__((target("+crc")))
#define CRC32CX __builtin_aarch64_crc32cx
#define CRC32CB __builtin_aarch64_crc32cb
#endif

#if defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

/* Bytes in each of three streams, long and short: two portable products (60 ns) join three of them. */
#define LONG 8192
#define SHORT 1024

static uint32_t across_long[2], across_short[2]; /* x^(8 * stream bytes), and its square */

void ks_crc32c_arm_prepare(void)
{
    for (int streams = 1; streams <= 2; streams++) {
        across_long[streams - 1] = ks_crc32c_x_power(8ull * LONG * (uint64_t)streams);
        across_short[streams - 1] = ks_crc32c_x_power(8ull * SHORT * (uint64_t)streams);
    }
}

int ks_crc32c_arm_supports(void)
{
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#elif defined(__APPLE__) || defined(__ARM_FEATURE_CRC32)
    return 1; /* every 64-bit Mac has it; elsewhere the compiler was told so */
#else
    return 0;
#endif
}

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

CRC static uint32_t three_streams(uint32_t state, const unsigned char *p, size_t stream_bytes, const uint32_t *across)
{
    uint32_t second = 0, third = 0;
    for (const unsigned char *end = p + stream_bytes; p < end; p += 8) {
        state = CRC32CX(state, load64(p));
        second = CRC32CX(second, load64(p + stream_bytes));
        third = CRC32CX(third, load64(p + 2 * stream_bytes));
    }
    return ks_crc32c_multiply(state, across[1]) ^ ks_crc32c_multiply(second, across[0]) ^ third;
}

CRC uint32_t ks_crc32c_armv8(uint32_t state, const unsigned char *p, size_t n)
{
    for (; n >= 3 * LONG; p += 3 * LONG, n -= 3 * LONG) state = three_streams(state, p, LONG, across_long);
    for (; n >= 3 * SHORT; p += 3 * SHORT, n -= 3 * SHORT) state = three_streams(state, p, SHORT, across_short);
    for (; n >= 8; p += 8, n -= 8) state = CRC32CX(state, load64(p));
    for (; n; n--) state = CRC32CB(state, *p++);
    return state;
}

#else
typedef int ks_no_arm; /* a translation unit may not be empty */
#endif
