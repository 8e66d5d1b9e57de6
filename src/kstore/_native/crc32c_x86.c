/* CRC32C on x86-64: three streams of crc32q, and folding by wide carry-less multiplication. See crc32c_rungs.h.
 *
 * Folding (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel 2009): 128 bits of
 * message that stand D bits before others may be replaced by their product with x^D mod P, added to those others. Of a
 * 128-bit lane the first 64 bits meet x^(D+31), the last 64 bits x^(D-33): D itself, 64 more for the half that stands
 * earlier, and 33 less because 32-bit constants in 64-bit reflected products come out 33 bits late.
 *
 * Targets are named per function, so that the library runs on every x86-64 and needs no compiler flag.
 */
#include "crc32c_rungs.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "crc32c.h"

#define SSE42 __attribute__((target("sse4.2,pclmul")))
#define AVX2 __attribute__((target("sse4.2,pclmul,avx2,vpclmulqdq")))
#define AVX512 __attribute__((target("sse4.2,pclmul,avx2,avx512f,avx512vl,vpclmulqdq")))

/* Below this many bytes one stream is as fast as three; measured, not derived. */
#define STREAMS_FROM 160

/* Words of 8 bytes in each of three streams before they are joined: the join is 1 % of 3 * 256 words. */
#define STREAM_WORDS_MAX 256

/* shift[k]: x^(64 * k - 33): the constant that moves a register across k words, for crc32q after the product. */
static uint32_t shift[2 * STREAM_WORDS_MAX + 1];

void ks_crc32c_x86_prepare(void)
{
    uint32_t x64 = ks_crc32c_x_power(64);
    shift[0] = KS_CRC32C_X_MINUS_33;
    for (int k = 1; k <= 2 * STREAM_WORDS_MAX; k++) shift[k] = ks_crc32c_multiply(shift[k - 1], x64);
    __builtin_cpu_init();
}

int ks_crc32c_x86_supports(int rung)
{
    int sse42 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
    int avx2 = sse42 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
    switch (rung) {
    case KS_RUNG_SSE42: return sse42;
    case KS_RUNG_AVX2: return avx2;
    case KS_RUNG_AVX512: return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    default: return 0;
    }
}

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* -- sse42 -------------------------------------------------------------------------------------------------------- */

SSE42 static inline uint32_t one_stream(uint32_t state, const unsigned char *p, size_t n)
{
    uint64_t s = state;
    for (; n >= 8; p += 8, n -= 8) s = _mm_crc32_u64(s, load64(p));
    if (n & 4) {
        uint32_t v;
        memcpy(&v, p, 4);
        s = _mm_crc32_u32((uint32_t)s, v);
        p += 4;
    }
    if (n & 2) {
        uint16_t v;
        memcpy(&v, p, 2);
        s = _mm_crc32_u16((uint32_t)s, v);
        p += 2;
    }
    if (n & 1) s = _mm_crc32_u8((uint32_t)s, *p);
    return (uint32_t)s;
}

SSE42 static inline uint64_t product(uint32_t a, uint32_t b)
{
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0));
}

SSE42 uint32_t ks_crc32c_multiply_sse42(uint32_t a, uint32_t b_over_x33)
{
    return (uint32_t)_mm_crc32_u64(0, product(a, b_over_x33));
}

/* crc32q has a latency of three cycles and starts one each cycle: three independent streams keep it busy. The first
 * two registers are moved across what follows them by one product each, which joins the last word of the third. */
SSE42 uint32_t ks_crc32c_sse42(uint32_t state, const unsigned char *p, size_t n)
{
    while (n >= STREAMS_FROM) {
        size_t words = n / 24 < STREAM_WORDS_MAX ? n / 24 : STREAM_WORDS_MAX;
        const unsigned char *second = p + 8 * words, *third = second + 8 * words, *last = second - 8;
        uint64_t a = state, b = 0, c = 0;
        for (; p < last; p += 8, second += 8, third += 8) {
            a = _mm_crc32_u64(a, load64(p));
            b = _mm_crc32_u64(b, load64(second));
            c = _mm_crc32_u64(c, load64(third));
        }
        a = _mm_crc32_u64(a, load64(p));
        b = _mm_crc32_u64(b, load64(second));
        uint64_t joined = load64(third) ^ product((uint32_t)a, shift[2 * words]) ^ product((uint32_t)b, shift[words]);
        state = (uint32_t)_mm_crc32_u64(c, joined);
        p = third + 8;
        n -= 24 * words;
    }
    return one_stream(state, p, n);
}

/* -- folding ------------------------------------------------------------------------------------------------------ */

/* The constants of a fold across so many bytes, as { first half, last half } of a lane. */
#define FOLD_16 0xF20C0DFE, 0x493C7D27  /* x159, x95 */
#define FOLD_32 0x3DA6D0CB, 0xBA4FC28E  /* x287, x223 */
#define FOLD_64 0x740EEF02, 0x9E4ADDF8  /* x543, x479 */
#define FOLD_128 0x6992CEA2, 0x0D3B6092 /* x1055, x991 */
#define FOLD_256 0xDCB17AA4, 0xB9E02B86 /* x2079, x2015 */

static const uint64_t fold_16[2] = {FOLD_16}, fold_32[2] = {FOLD_32}, fold_64[2] = {FOLD_64}, fold_128[2] = {FOLD_128},
                      fold_256[2] = {FOLD_256};

SSE42 static inline __m128i load_16(const void *p) { return _mm_loadu_si128(p); }

SSE42 static inline __m128i fold_lane(__m128i lane, __m128i k, __m128i next)
{
    __m128i first = _mm_clmulepi64_si128(lane, k, 0x00), last = _mm_clmulepi64_si128(lane, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, last), next);
}

/* What a lane stands for, then the rest of the message: the lane is as good as 16 bytes of message at register zero. */
SSE42 static inline uint32_t finish(__m128i lane, const unsigned char *p, size_t n)
{
    __m128i k = load_16(fold_16);
    for (; n >= 16; p += 16, n -= 16) lane = fold_lane(lane, k, load_16(p));
    uint64_t state = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(lane));
    state = _mm_crc32_u64(state, (uint64_t)_mm_extract_epi64(lane, 1));
    return one_stream((uint32_t)state, p, n);
}

/* -- avx2 --------------------------------------------------------------------------------------------------------- */

AVX2 static inline __m256i load_32(const unsigned char *p) { return _mm256_loadu_si256((const void *)p); }

AVX2 static inline __m256i fold_2(__m256i lanes, __m256i k, __m256i next)
{
    __m256i first = _mm256_clmulepi64_epi128(lanes, k, 0x00), last = _mm256_clmulepi64_epi128(lanes, k, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(first, last), next);
}

AVX2 uint32_t ks_crc32c_avx2(uint32_t state, const unsigned char *p, size_t n)
{
    if (n < 256) return ks_crc32c_sse42(state, p, n);
    __m256i a = _mm256_xor_si256(load_32(p), _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)state)));
    __m256i b = load_32(p + 32), c = load_32(p + 64), d = load_32(p + 96);
    __m256i k = _mm256_broadcastsi128_si256(load_16(fold_128));
    for (p += 128, n -= 128; n >= 128; p += 128, n -= 128) {
        a = fold_2(a, k, load_32(p));
        b = fold_2(b, k, load_32(p + 32));
        c = fold_2(c, k, load_32(p + 64));
        d = fold_2(d, k, load_32(p + 96));
    }
    k = _mm256_broadcastsi128_si256(load_16(fold_64));
    a = fold_2(a, k, c);
    b = fold_2(b, k, d);
    k = _mm256_broadcastsi128_si256(load_16(fold_32));
    a = fold_2(a, k, b);
    for (; n >= 32; p += 32, n -= 32) a = fold_2(a, k, load_32(p));
    __m128i lane = fold_lane(_mm256_castsi256_si128(a), load_16(fold_16), _mm256_extracti128_si256(a, 1));
    return finish(lane, p, n);
}

/* -- avx512 ------------------------------------------------------------------------------------------------------- */

AVX512 static inline __m512i load_64(const unsigned char *p) { return _mm512_loadu_si512(p); }

AVX512 static inline __m512i fold_4(__m512i lanes, __m512i k, __m512i next)
{
    __m512i first = _mm512_clmulepi64_epi128(lanes, k, 0x00), last = _mm512_clmulepi64_epi128(lanes, k, 0x11);
    return _mm512_ternarylogic_epi64(first, last, next, 0x96); /* the exclusive or of all three */
}

AVX512 uint32_t ks_crc32c_avx512(uint32_t state, const unsigned char *p, size_t n)
{
    if (n < 256) return ks_crc32c_sse42(state, p, n);
    __m512i a = _mm512_xor_si512(load_64(p), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state)));
    __m512i b = load_64(p + 64), c = load_64(p + 128), d = load_64(p + 192);
    __m512i k = _mm512_broadcast_i32x4(load_16(fold_256));
    for (p += 256, n -= 256; n >= 256; p += 256, n -= 256) {
        a = fold_4(a, k, load_64(p));
        b = fold_4(b, k, load_64(p + 64));
        c = fold_4(c, k, load_64(p + 128));
        d = fold_4(d, k, load_64(p + 192));
    }
    k = _mm512_broadcast_i32x4(load_16(fold_128));
    a = fold_4(a, k, c);
    b = fold_4(b, k, d);
    k = _mm512_broadcast_i32x4(load_16(fold_64));
    a = fold_4(a, k, b);
    for (; n >= 64; p += 64, n -= 64) a = fold_4(a, k, load_64(p));
    __m128i k16 = load_16(fold_16);
    __m128i lane = fold_lane(_mm512_castsi512_si128(a), k16, _mm512_extracti32x4_epi32(a, 1));
    lane = fold_lane(lane, k16, _mm512_extracti32x4_epi32(a, 2));
    lane = fold_lane(lane, k16, _mm512_extracti32x4_epi32(a, 3));
    return finish(lane, p, n);
}

#else
typedef int ks_no_x86; /* a translation unit may not be empty */
#endif
