/* CURSOR: big-endian integers and Kafka's varints, every read bounded by its end.
 *
 * Owns the encodings of single numbers and nothing above them. Called by every native parser and writer.
 *
 *   1. A reader moves `*p` only when it returns KS_OK, and never past `end`.
 *   2. Writers do not check: the caller has made room for KS_VARINT_BYTES_MAX or KS_VARLONG_BYTES_MAX.
 *
 * A varint is zigzag (0, -1, 1, -2, ... become 0, 1, 2, 3, ...), then seven bits a byte, lowest first, the top bit
 * saying that more follows (docs/FORMAT.md, "Varints"). Kafka writes the shortest form and reads padded ones, so these
 * read them too; where a padded form must not pass, compare the bytes used with ks_varint_size. */
#ifndef KSTORE_CURSOR_H
#define KSTORE_CURSOR_H

#include <stdint.h>
#include <string.h>

#include "status.h"

enum {
    KS_VARINT_BYTES_MAX = 5,  /* 32 bits, seven a byte */
    KS_VARLONG_BYTES_MAX = 10 /* 64 bits, seven a byte */
};

static inline uint16_t ks_load_be16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}

static inline uint32_t ks_load_be32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

static inline uint64_t ks_load_be64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}

static inline void ks_store_be16(unsigned char *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}

static inline void ks_store_be32(unsigned char *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}

static inline void ks_store_be64(unsigned char *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kstore's loads and stores swap bytes: big-endian machines need their own"
#endif

static inline uint64_t ks_zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }
static inline int64_t ks_unzigzag(uint64_t v) { return (int64_t)((v >> 1) ^ (0 - (v & 1))); }

/* The bytes of an unsigned LEB128 number of at most `bits` bits. KS_SHORT: `end` comes first. */
static inline ks_status ks_read_leb128(const unsigned char **p, const unsigned char *end, int bits, uint64_t *value)
{
    uint64_t v = 0;
    const unsigned char *q = *p;
    for (int shift = 0; shift < bits; shift += 7) {
        if (q >= end) return KS_SHORT;
        uint64_t group = *q & 0x7f;
        if (bits - shift < 7 && group >> (bits - shift)) return KS_BAD_VARINT; /* bits that the type does not have */
        v |= group << shift;
        if (!(*q++ & 0x80)) {
            *p = q;
            *value = v;
            return KS_OK;
        }
    }
    return KS_BAD_VARINT;
}

/* A signed 32-bit varint. Most are one or two bytes: those do not loop. */
static inline ks_status ks_read_varint(const unsigned char **p, const unsigned char *end, int64_t *value)
{
    const unsigned char *q = *p;
    uint64_t v;
    if (end - q >= 2) {
        if (q[0] < 0x80) {
            *value = ks_unzigzag(q[0]);
            *p = q + 1;
            return KS_OK;
        }
        if (q[1] < 0x80) {
            *value = ks_unzigzag((uint64_t)(q[0] & 0x7f) | (uint64_t)q[1] << 7);
            *p = q + 2;
            return KS_OK;
        }
    }
    ks_status status = ks_read_leb128(p, end, 32, &v);
    if (status == KS_OK) *value = ks_unzigzag(v);
    return status;
}

/* A signed 64-bit varint. */
static inline ks_status ks_read_varlong(const unsigned char **p, const unsigned char *end, int64_t *value)
{
    uint64_t v;
    if (*p < end && **p < 0x80) {
        *value = ks_unzigzag(**p);
        *p += 1;
        return KS_OK;
    }
    ks_status status = ks_read_leb128(p, end, 64, &v);
    if (status == KS_OK) *value = ks_unzigzag(v);
    return status;
}

/* The bytes of the shortest form of `v`, as a varint or a varlong. Nearly all are one or two. */
static inline int ks_varint_size(int64_t v)
{
    uint64_t u = ks_zigzag(v);
    if (u < 1u << 7) return 1;
    if (u < 1u << 14) return 2;
    return (63 - __builtin_clzll(u)) / 7 + 1;
}

/* Writes the shortest form; returns the byte behind it. The same for varints and varlongs. */
static inline unsigned char *ks_write_varint(unsigned char *p, int64_t value)
{
    uint64_t v = ks_zigzag(value);
    if (v < 1u << 7) {
        *p = (unsigned char)v;
        return p + 1;
    }
    if (v < 1u << 14) {
        p[0] = (unsigned char)(v | 0x80);
        p[1] = (unsigned char)(v >> 7);
        return p + 2;
    }
    while (v >= 0x80) {
        *p++ = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (unsigned char)v;
    return p;
}

/* The bytes that ks_write_size takes. */
static inline int ks_size_size(uint32_t size)
{
    return size < 1u << 13 ? 1 + (size >= 1u << 6) : ks_varint_size(size);
}

/* A size or count: never negative, so that the zigzag is a shift. Below 2^30. */
static inline unsigned char *ks_write_size(unsigned char *p, uint32_t size)
{
    if (size < 1u << 6) {
        *p = (unsigned char)(size << 1);
        return p + 1;
    }
    if (size < 1u << 13) {
        uint16_t both = (uint16_t)((size << 1 & 0x7f) | 0x80 | size >> 6 << 8);
        memcpy(p, &both, 2);
        return p + 2;
    }
    return ks_write_varint(p, size);
}

/* Copies like memcpy. Up to 128 bytes it neither calls nor loops: two overlapping halves, whatever the size is. */
static inline void ks_copy(unsigned char *to, const unsigned char *from, size_t size)
{
    if (size > 128 || size < 16) {
        __asm__("" : "+r"(size)); /* knowing a bound of the size, gcc copies by `rep movs`: 30 cycles to begin with */
        memcpy(to, from, size);
    } else if (size >= 64) {
        memcpy(to, from, 64);
        memcpy(to + size - 64, from + size - 64, 64);
    } else if (size >= 32) {
        memcpy(to, from, 32);
        memcpy(to + size - 32, from + size - 32, 32);
    } else {
        memcpy(to, from, 16);
        memcpy(to + size - 16, from + size - 16, 16);
    }
}

#endif
