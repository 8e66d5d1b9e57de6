/* COLUMNS: records that lie in columns, checked and written as the records section of a batch.
 *
 * Owns the rule for bounds that a caller brings and the loop over them. Knows no Python object, no batch header and no
 * codec. Called by `columns.pyx` when a table is made, and by `records.pyx` when one is encoded.
 *
 *   1. ks_columns_write follows no bound that ks_bounds_check has not passed.
 *   2. Nothing is written at or past `end`.
 */
#ifndef KSTORE_COLUMNS_H
#define KSTORE_COLUMNS_H

#include "record.h"

/* The first record whose bounds are neither a stretch of a buffer of `size` bytes nor both -1 (null), else `count`. */
static inline int64_t ks_bounds_check(const int64_t *starts, const int64_t *ends, int64_t count, int64_t size)
{
    for (int64_t i = 0; i < count; i++) {
        const int inside = (0 <= starts[i]) & (starts[i] <= ends[i]) & (ends[i] <= size);
        const int null = (starts[i] == -1) & (ends[i] == -1);
        if (!(inside | null)) return i;
    }
    return count;
}

/* A key or value with its size in front; a null has the size -1. */
static inline unsigned char *ks_bounds_write(unsigned char *p, const unsigned char *origin, int64_t start, int64_t size)
{
    if (start < 0) {
        *p = 1;
        return p + 1;
    }
    p = ks_write_size(p, (uint32_t)size);
    ks_copy(p, origin + start, (size_t)size);
    return p + size;
}

static inline uint32_t ks_bounds_size(int64_t start, int64_t size)
{
    return start < 0 ? 1 : (uint32_t)(ks_size_size((uint32_t)size) + size);
}

/* Of the batch being written: the next offset delta, the first record's time, the highest, and what "no time" means. */
typedef struct ks_open_batch {
    uint32_t count;
    int64_t base_timestamp, max_timestamp, no_timestamp;
} ks_open_batch;

/* Writes records [first, count) of the columns at `*p`, up to the first that does not surely fit before `end`; returns
 * which that is. A timestamp of -1 is no time. */
static inline int64_t ks_columns_write(unsigned char **p, const unsigned char *end, const ks_columns *rows,
                                       int64_t first, int64_t count, ks_open_batch *batch)
{
    /* All in locals: the bytes written could be any of these, for all that the compiler knows. */
    const unsigned char *const origin = rows->origin;
    const int64_t *const timestamps = rows->timestamps;
    const int64_t *const key_starts = rows->key_starts, *const key_ends = rows->key_ends;
    const int64_t *const value_starts = rows->value_starts, *const value_ends = rows->value_ends;
    const int64_t base_timestamp = batch->base_timestamp, no_timestamp = batch->no_timestamp;
    int64_t max_timestamp = batch->max_timestamp, i;
    uint32_t delta = batch->count;
    unsigned char *q = *p;
    ks_lead lead = {.value_size = SIZE_MAX};

    for (i = first; i < count; i++) {
        const int64_t key_start = key_starts[i], key_size = key_ends[i] - key_start;
        const int64_t start = value_starts[i], size = value_ends[i] - start;
        const int64_t room = end - q - KS_RECORD_OVERHEAD_BYTES_MAX;
        if (size > room || key_size > room - size) break;
        const int64_t timestamp = timestamps[i] == -1 ? no_timestamp : timestamps[i];
        if (timestamp == base_timestamp && key_start < 0 && start >= 0 && size < KS_LEAD_VALUE_END &&
            delta < KS_LEAD_END) {
            if ((size_t)size != lead.value_size || delta >= lead.count_end) lead = ks_lead_of((size_t)size, delta);
            q = ks_lead_write(q, &lead, delta++, origin + start);
            continue;
        }
        const int64_t time = (int64_t)((uint64_t)timestamp - (uint64_t)base_timestamp); /* wraps, as Java's does */
        q = ks_write_size(q, 2 + (uint32_t)ks_varint_size(time) + (uint32_t)ks_size_size(delta) +
                                 ks_bounds_size(key_start, key_size) + ks_bounds_size(start, size));
        *q = 0;
        q = ks_write_varint(q + 1, time);
        q = ks_write_size(q, delta++);
        q = ks_bounds_write(q, origin, key_start, key_size);
        q = ks_bounds_write(q, origin, start, size);
        *q++ = 0;
        if (timestamp > max_timestamp) max_timestamp = timestamp;
    }
    batch->count = delta;
    batch->max_timestamp = max_timestamp;
    *p = q;
    return i;
}

#endif
