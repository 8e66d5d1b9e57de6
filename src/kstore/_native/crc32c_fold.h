/* CRC32C FOLD: the CRC of a message by folds in registers of one width. Included by crc32c_x86.c once for each width.
 *
 * Owns the order of the folds, the same for every width; knows no instruction. It defines the rung `ks_crc32c_` and the
 * width. The includer has, by the name that OF gives them: `load`, `broadcast` of a constant to all lanes, `add` of the
 * CRC register to the first four bytes, `fold` of lanes onto others, `lane`, which folds a register into one lane of
 * 16 bytes. It defines, for this file to undefine:
 *   TARGET, OF   the functions' attribute, and their names;
 *   LANES, BYTES a register's type, and its width;
 *   FOLD_ONE, FOLD_TWO, FOLD_FOUR   the constants of a fold across so many registers.
 */

/* Four registers, because a fold takes five cycles or more and one or two can begin in each. */
typedef struct { LANES a, b, c, d; } OF(four);

TARGET static inline OF(four) OF(begin)(uint32_t state, const unsigned char *p)
{
    return (OF(four)){OF(add)(OF(load)(p), state), OF(load)(p + BYTES), OF(load)(p + 2 * BYTES),
                      OF(load)(p + 3 * BYTES)};
}

TARGET static inline LANES OF(join)(const OF(four) *v)
{
    LANES k = OF(broadcast)(FOLD_TWO);
    LANES ac = OF(fold)(v->a, k, v->c), bd = OF(fold)(v->b, k, v->d);
    return OF(fold)(ac, OF(broadcast)(FOLD_ONE), bd);
}

TARGET static uint32_t OF(both)(uint32_t state, const unsigned char *p, size_t rounds)
{
    struct streams s = streams_at(p + 4 * BYTES * rounds, rounds);
    LANES k = OF(broadcast)(FOLD_FOUR);
    OF(four) v = OF(begin)(state, p);
    one_round(&s);
    for (size_t round = 1; round < rounds; round++) {
        p += 4 * BYTES;
        v.a = OF(fold)(v.a, k, OF(load)(p));
        one_word(&s, 0);
        v.b = OF(fold)(v.b, k, OF(load)(p + BYTES));
        one_word(&s, 1);
        v.c = OF(fold)(v.c, k, OF(load)(p + 2 * BYTES));
        one_word(&s, 2);
        v.d = OF(fold)(v.d, k, OF(load)(p + 3 * BYTES));
        next_round(&s);
    }
    return join(finish(OF(lane)(OF(join)(&v)), p, 0), &s, rounds);
}

TARGET uint32_t OF(ks_crc32c)(uint32_t state, const unsigned char *p, size_t n)
{
    const size_t round_bytes = 4 * BYTES + 3 * 8 * ROUND_WORDS;
    while (n >= BOTH_FROM) {
        size_t rounds = n / round_bytes < ROUNDS_MAX ? n / round_bytes : ROUNDS_MAX;
        state = OF(both)(state, p, rounds);
        p += round_bytes * rounds;
        n -= round_bytes * rounds;
    }
    if (n < 256) {
        /* Compilers clear the wide halves of the registers at a return, and not at a tail call: GCC 12 leaves here with
         * them in use, and whatever code for SSE runs next in the process pays for it at every instruction. */
        _mm256_zeroupper();
        return ks_crc32c_sse42(state, p, n);
    }
    LANES k = OF(broadcast)(FOLD_FOUR);
    OF(four) v = OF(begin)(state, p);
    for (p += 4 * BYTES, n -= 4 * BYTES; n >= 4 * BYTES; p += 4 * BYTES, n -= 4 * BYTES) {
        v.a = OF(fold)(v.a, k, OF(load)(p));
        v.b = OF(fold)(v.b, k, OF(load)(p + BYTES));
        v.c = OF(fold)(v.c, k, OF(load)(p + 2 * BYTES));
        v.d = OF(fold)(v.d, k, OF(load)(p + 3 * BYTES));
    }
    LANES lanes = OF(join)(&v);
    k = OF(broadcast)(FOLD_ONE);
    for (; n >= BYTES; p += BYTES, n -= BYTES) lanes = OF(fold)(lanes, k, OF(load)(p));
    return finish(OF(lane)(lanes), p, n);
}

#undef TARGET
#undef OF
#undef LANES
#undef BYTES
#undef FOLD_ONE
#undef FOLD_TWO
#undef FOLD_FOUR
