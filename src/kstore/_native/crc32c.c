#include "crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "crc32c_rungs.h"

/* -- slicing by eight ------------------------------------------------------------------------------------------- */

/* slices[k][b]: the register after the byte b and then k zero bytes. */
static uint32_t slices[8][256];

static void fill_slices(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (int bit = 0; bit < 8; bit++) state = (state >> 1) ^ (state & 1 ? KS_CRC32C_POLYNOMIAL : 0);
        slices[0][byte] = state;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int k = 1; k < 8; k++) slices[k][byte] = (slices[k - 1][byte] >> 8) ^ slices[0][slices[k - 1][byte] & 255];
}

static uint32_t by_table(uint32_t state, const unsigned char *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t w0, w1;
        memcpy(&w0, p, 4);
        memcpy(&w1, p + 4, 4);
        w0 ^= state;
        state = slices[7][w0 & 255] ^ slices[6][w0 >> 8 & 255] ^ slices[5][w0 >> 16 & 255] ^ slices[4][w0 >> 24] ^
                slices[3][w1 & 255] ^ slices[2][w1 >> 8 & 255] ^ slices[1][w1 >> 16 & 255] ^ slices[0][w1 >> 24];
    }
    for (; n; n--) state = (state >> 8) ^ slices[0][(state ^ *p++) & 255];
    return state;
}

/* -- algebra ----------------------------------------------------------------------------------------------------- */

uint32_t ks_crc32c_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (int bit = 31; bit >= 0; bit--) {
        product ^= b & -((a >> bit) & 1);
        b = (b >> 1) ^ (KS_CRC32C_POLYNOMIAL & -(b & 1));
    }
    return product;
}

uint32_t ks_crc32c_x_power(uint64_t bits)
{
    uint32_t power = 0x80000000u, square = 0x40000000u; /* x^0, x^1 */
    for (; bits; bits >>= 1) {
        if (bits & 1) power = ks_crc32c_multiply(power, square);
        square = ks_crc32c_multiply(square, square);
    }
    return power;
}

/* powers[k][d]: x^(8 * d * 16^k), so that a length of 64 KiB takes five products and any length at most sixteen. */
static uint32_t powers[16][16];
#if defined(__x86_64__)
static uint32_t powers_over_x33[16][16];
#endif

static void fill_powers(void)
{
    uint32_t step = ks_crc32c_x_power(8);
    for (int k = 0; k < 16; k++) {
        powers[k][0] = 0x80000000u;
        for (int d = 1; d < 16; d++) powers[k][d] = ks_crc32c_multiply(powers[k][d - 1], step);
        step = ks_crc32c_multiply(powers[k][15], step);
#if defined(__x86_64__)
        for (int d = 0; d < 16; d++) powers_over_x33[k][d] = ks_crc32c_multiply(powers[k][d], KS_CRC32C_X_MINUS_33);
#endif
    }
}

uint32_t ks_crc32c_combine_portable(uint32_t crc1, uint32_t crc2, uint64_t len2)
{
    for (int k = 0; len2; k++, len2 >>= 4)
        if (len2 & 15) crc1 = ks_crc32c_multiply(crc1, powers[k][len2 & 15]);
    return crc1 ^ crc2;
}

/* -- the choice -------------------------------------------------------------------------------------------------- */

static const char *const names[KS_RUNGS] = {"table", "armv8", "sse42", "avx2", "avx512"};
static ks_crc32c_function *rungs[KS_RUNGS] = {by_table}; /* NULL: not on this processor */
static int chosen;
static ks_crc32c_function *chosen_function = by_table;
static char refused[64];

static int rung_of(const char *name)
{
    for (int rung = 0; rung < KS_RUNGS; rung++)
        if (!strcmp(name, names[rung])) return rung;
    return -1;
}

__attribute__((constructor)) static void choose(void)
{
    fill_slices();
    fill_powers();
#if defined(__x86_64__)
    ks_crc32c_x86_prepare();
    if (ks_crc32c_x86_supports(KS_RUNG_SSE42)) rungs[KS_RUNG_SSE42] = ks_crc32c_sse42;
    if (ks_crc32c_x86_supports(KS_RUNG_AVX2)) rungs[KS_RUNG_AVX2] = ks_crc32c_avx2;
    if (ks_crc32c_x86_supports(KS_RUNG_AVX512)) rungs[KS_RUNG_AVX512] = ks_crc32c_avx512;
#elif defined(__aarch64__)
    ks_crc32c_arm_prepare();
    if (ks_crc32c_arm_supports()) rungs[KS_RUNG_ARMV8] = ks_crc32c_armv8;
#endif
    const char *asked = getenv("KSTORE_CPU");
    int rung = asked && *asked ? rung_of(asked) : -1;
    if (!ks_crc32c_supported(rung)) {
        if (asked && *asked) strncpy(refused, asked, sizeof refused - 1);
        for (rung = KS_RUNGS - 1; !rungs[rung]; rung--) {}
    }
    chosen = rung;
    chosen_function = rungs[rung];
}

uint32_t ks_crc32c(uint32_t crc, const void *data, size_t n) { return ~chosen_function(~crc, data, n); }

uint32_t ks_crc32c_combine(uint32_t crc1, uint32_t crc2, uint64_t len2)
{
#if defined(__x86_64__)
    if (chosen >= KS_RUNG_SSE42) {
        for (int k = 0; len2; k++, len2 >>= 4)
            if (len2 & 15) crc1 = ks_crc32c_multiply_sse42(crc1, powers_over_x33[k][len2 & 15]);
        return crc1 ^ crc2;
    }
#endif
    return ks_crc32c_combine_portable(crc1, crc2, len2);
}

const char *ks_crc32c_rung(void) { return names[chosen]; }

const char *ks_crc32c_refused(void) { return *refused ? refused : NULL; }

const char *ks_crc32c_rung_name(int rung) { return rung >= 0 && rung < KS_RUNGS ? names[rung] : NULL; }

int ks_crc32c_supported(int rung) { return rung >= 0 && rung < KS_RUNGS && rungs[rung] != NULL; }

uint32_t ks_crc32c_with(int rung, uint32_t crc, const void *data, size_t n) { return ~rungs[rung](~crc, data, n); }
