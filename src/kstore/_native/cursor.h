/* CURSOR: bounded reading and writing of big-endian integers and varints. A pointer never travels without its end, and
 * every step checks it; the readers advance `*p` only on success. Varints are Kafka's: zigzag, least group first, at
 * most 5 bytes for 32 bits and 10 for 64 (ByteUtils). */
#ifndef KSTORE_CURSOR_H
#define KSTORE_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "status.h"

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

/* An unsigned varint of at most `bits` significant bits; the bits beyond must be zero. */
static inline ks_status ks_read_unsigned(const unsigned char **p, const unsigned char *end, int bits, uint64_t *value)
{
    const unsigned char *q = *p;
    uint64_t result = 0;
    for (int shift = 0; shift < bits; shift += 7) {
        if (q == end) return KS_SHORT;
        uint64_t group = *q & 0x7f;
        if (shift + 7 > bits && group >> (bits - shift)) return KS_BAD_VARINT;
        result |= group << shift;
        if (!(*q++ & 0x80)) {
            *p = q;
            *value = result;
            return KS_OK;
        }
    }
    return KS_BAD_VARINT;
}

static inline ks_status ks_read_varint(const unsigned char **p, const unsigned char *end, int64_t *value)
{
    if (*p < end && !(**p & 0x80)) { /* one byte: nearly every field of a small record */
        uint32_t raw = *(*p)++;
        *value = (int32_t)(raw >> 1) ^ -(int32_t)(raw & 1);
        return KS_OK;
    }
    uint64_t raw;
    ks_status status = ks_read_unsigned(p, end, 32, &raw);
    if (status == KS_OK) *value = (int32_t)((uint32_t)raw >> 1) ^ -(int32_t)(raw & 1);
    return status;
}

static inline ks_status ks_read_varlong(const unsigned char **p, const unsigned char *end, int64_t *value)
{
    uint64_t raw;
    ks_status status = ks_read_unsigned(p, end, 64, &raw);
    if (status == KS_OK) *value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return status;
}

static inline int ks_varint_bytes(int64_t value)
{
    uint64_t raw = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    return (70 - __builtin_clzll(raw | 1)) / 7;
}

/* The caller has made room: at most 10 bytes. */
static inline unsigned char *ks_write_varint(unsigned char *p, int64_t value)
{
    uint64_t raw = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (raw >= 0x80) {
        *p++ = (unsigned char)(raw | 0x80);
        raw >>= 7;
    }
    *p++ = (unsigned char)raw;
    return p;
}

#endif
