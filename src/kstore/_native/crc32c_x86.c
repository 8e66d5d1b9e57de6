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

/* A round of the wide rungs: four folds, and three words of each of three streams beside them (see `Both at once`).
 * At most so many rounds before they are joined, 64 KiB of AVX-512's; and at least so many bytes to begin at all. */
#define ROUND_WORDS 3
#define ROUNDS_MAX 200
#define BOTH_FROM 2048

/* shift[k]: x^(64 * k - 33), the constant that moves a register across k words by a product and crc32q. */
static uint32_t shift[3 * ROUND_WORDS * ROUNDS_MAX + 1];

void ks_crc32c_x86_prepare(void)
{
    __builtin_cpu_init();
    if (!ks_crc32c_x86_supports(KS_RUNG_SSE42)) return;
    uint32_t step = ks_crc32c_x_power(64 - 33); /* the product itself brings the other 33 */
    shift[0] = KS_CRC32C_X_MINUS_33;
    for (size_t k = 1; k < sizeof shift / sizeof *shift; k++) shift[k] = ks_crc32c_multiply_sse42(shift[k - 1], step);
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

/* -- sse42 ------------------------------------------------------------------------------------------------------- */

SSE42 static inline uint32_t one_stream(uint32_t state, const unsigned char *p, size_t n)
{
    uint64_t s = state;
    for (; n >= 32; p += 32, n -= 32) {
        s = _mm_crc32_u64(s, load64(p));
        s = _mm_crc32_u64(s, load64(p + 8));
        s = _mm_crc32_u64(s, load64(p + 16));
        s = _mm_crc32_u64(s, load64(p + 24));
    }
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
SSE42 static __attribute__((noinline)) uint32_t three_streams(uint32_t state, const unsigned char *p, size_t n)
{
    do {
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
    } while (n >= STREAMS_FROM);
    return one_stream(state, p, n);
}

SSE42 uint32_t ks_crc32c_sse42(uint32_t state, const unsigned char *p, size_t n)
{
    return n < STREAMS_FROM ? one_stream(state, p, n) : three_streams(state, p, n);
}

/* -- folding ----------------------------------------------------------------------------------------------------- */

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

/* Both at once: products run in the vector units and crc32q in an integer unit, so that a long message is parted into
 * one piece for the folds and three behind it for the streams. The proportion suits processors that start a wide
 * product each cycle (Ice Lake) and each second cycle (Zen 4). */
struct streams {
    const unsigned char *first, *second, *third;
    uint64_t a, b, c;
};

SSE42 static inline struct streams streams_at(const unsigned char *p, size_t rounds)
{
    size_t bytes = 8 * ROUND_WORDS * rounds;
    return (struct streams){p, p + bytes, p + 2 * bytes, 0, 0, 0};
}

/* The words of a round cost nothing when they are spread between the folds; where the compiler heaps them up, they hold
 * the folds up (12 % at 64 KiB on Zen 4). */
#define KEEP_ORDER __asm__ volatile("" ::: "memory")

SSE42 static inline __attribute__((always_inline)) void one_word(struct streams *s, int word)
{
    KEEP_ORDER;
    s->a = _mm_crc32_u64(s->a, load64(s->first + 8 * word));
    s->b = _mm_crc32_u64(s->b, load64(s->second + 8 * word));
    s->c = _mm_crc32_u64(s->c, load64(s->third + 8 * word));
    KEEP_ORDER;
}

SSE42 static inline __attribute__((always_inline)) void next_round(struct streams *s)
{
    KEEP_ORDER;
    s->first += 8 * ROUND_WORDS;
    s->second += 8 * ROUND_WORDS;
    s->third += 8 * ROUND_WORDS;
}

SSE42 static inline void one_round(struct streams *s)
{
    for (int word = 0; word < ROUND_WORDS; word++) one_word(s, word);
    next_round(s);
}

SSE42 static inline uint32_t join(uint32_t folded, const struct streams *s, size_t rounds)
{
    size_t words = ROUND_WORDS * rounds;
    uint64_t joined = product(folded, shift[3 * words]) ^ product((uint32_t)s->a, shift[2 * words]) ^
                      product((uint32_t)s->b, shift[words]);
    return (uint32_t)(_mm_crc32_u64(0, joined) ^ s->c);
}

/* -- avx2 -------------------------------------------------------------------------------------------------------- */

AVX2 static inline __m256i load_avx2(const unsigned char *p) { return _mm256_loadu_si256((const void *)p); }

AVX2 static inline __m256i broadcast_avx2(const uint64_t *k) { return _mm256_broadcastsi128_si256(load_16(k)); }

AVX2 static inline __m256i add_avx2(__m256i lanes, uint32_t state)
{
    return _mm256_xor_si256(lanes, _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)state)));
}

AVX2 static inline __m256i fold_avx2(__m256i lanes, __m256i k, __m256i next)
{
    __m256i first = _mm256_clmulepi64_epi128(lanes, k, 0x00), last = _mm256_clmulepi64_epi128(lanes, k, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(first, last), next);
}

AVX2 static inline __m128i lane_avx2(__m256i lanes)
{
    return fold_lane(_mm256_castsi256_si128(lanes), load_16(fold_16), _mm256_extracti128_si256(lanes, 1));
}

#define TARGET AVX2
#define OF(name) name##_avx2
#define LANES __m256i
#define BYTES 32
#define FOLD_ONE fold_32
#define FOLD_TWO fold_64
#define FOLD_FOUR fold_128
#include "crc32c_fold.h"

/* -- avx512 ------------------------------------------------------------------------------------------------------ */

AVX512 static inline __m512i load_avx512(const unsigned char *p) { return _mm512_loadu_si512(p); }

AVX512 static inline __m512i broadcast_avx512(const uint64_t *k) { return _mm512_broadcast_i32x4(load_16(k)); }

AVX512 static inline __m512i add_avx512(__m512i lanes, uint32_t state)
{
    return _mm512_xor_si512(lanes, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state)));
}

AVX512 static inline __m512i fold_avx512(__m512i lanes, __m512i k, __m512i next)
{
    __m512i first = _mm512_clmulepi64_epi128(lanes, k, 0x00), last = _mm512_clmulepi64_epi128(lanes, k, 0x11);
    return _mm512_ternarylogic_epi64(first, last, next, 0x96); /* the exclusive or of all three */
}

AVX512 static inline __m128i lane_avx512(__m512i lanes)
{
    __m128i k = load_16(fold_16);
    __m128i lane = fold_lane(_mm512_castsi512_si128(lanes), k, _mm512_extracti32x4_epi32(lanes, 1));
    lane = fold_lane(lane, k, _mm512_extracti32x4_epi32(lanes, 2));
    return fold_lane(lane, k, _mm512_extracti32x4_epi32(lanes, 3));
}

#define TARGET AVX512
#define OF(name) name##_avx512
#define LANES __m512i
#define BYTES 64
#define FOLD_ONE fold_64
#define FOLD_TWO fold_128
#define FOLD_FOUR fold_256
#include "crc32c_fold.h"

#else
typedef int ks_no_x86; /* a translation unit may not be empty */
#endif
