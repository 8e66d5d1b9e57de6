/* INDEX: the two sparse indexes of a segment, as bytes. Layouts: docs/FORMAT.md, "Offset index" and "Time index".
 *
 * Owns the search in sorted big-endian entries, the structural check of an index file, and Kafka's cadence (after
 * which batch an entry is due). Knows no file, no Python object and no batch: callers pass numbers.
 *
 *   offset index entry, 8 bytes:   int32 last offset of the batch - base offset, int32 position of the batch
 *   time index entry,  12 bytes:   int64 running maximum timestamp, int32 last offset of the batch that set it - base
 */
#ifndef KSTORE_INDEX_H
#define KSTORE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "cursor.h"

enum { KS_OFFSET_ENTRY_BYTES = 8, KS_TIME_ENTRY_BYTES = 12 };

static inline int64_t ks_index_int32(const unsigned char *p) { return (int32_t)ks_load_be32(p); }
static inline int64_t ks_index_int64(const unsigned char *p) { return (int64_t)ks_load_be64(p); }

/* The last slot in [low, high) whose key is <= target; that of `low` is. Random targets would mispredict a branch every
 * other step: the probe is chosen by a conditional move instead, and both probes that may follow are fetched ahead of
 * it. `load` reads the key at an entry. */
#define KS_INDEX_HALVE(entries, low, high, target, entry_bytes, load)                         \
    do {                                                                                      \
        const unsigned char *base = (entries) + (low) * (entry_bytes);                        \
        size_t left = (high) - (low);                                                         \
        while (left > 1) {                                                                    \
            const unsigned char *middle = base + left / 2 * (entry_bytes);                    \
            left -= left / 2;                                                                 \
            __builtin_prefetch(base + left / 2 * (entry_bytes));                              \
            __builtin_prefetch(middle + left / 2 * (entry_bytes));                            \
            base = load(middle) <= (target) ? middle : base;                                  \
        }                                                                                     \
        return (base - (entries)) / (ptrdiff_t)(entry_bytes);                                 \
    } while (0)

enum {
    KS_INDEX_WINDOW = 8,  /* entries around a guess, all compared: a cache line's worth, half of it before the guess */
    KS_INDEX_GUESSES = 3, /* each halves the digits of the error: more than three are an index without a slope */
    KS_INDEX_GALLOP = 8   /* how many times as far each further step from a wrong guess goes */
};

/* The last slot whose key is <= target, or -1, in one int32 column of an offset index; the keys are 8 bytes apart.
 *
 * Both columns rise nearly evenly, so a straight line from the first entry to the last points into the right cache line
 * or close to it, and the same slope from there closer still, where halving would wait for memory some ten times in a
 * large index. How far off the guess still is is found by leaps, so that the worst index costs twice the halving.
 * Whatever the entries are, only slots below `count` are read. */
static inline ptrdiff_t ks_offset_index_search_column(const unsigned char *column, size_t count, int64_t target)
{
#define KEY(slot) ks_index_int32(column + (slot) * KS_OFFSET_ENTRY_BYTES)
    if (count == 0) return -1;
    const int64_t first = KEY(0), last = KEY(count - 1);
    if (target < first) return -1;
    if (target >= last) return (ptrdiff_t)count - 1; /* most readers follow the end */

    /* Slots for each unit of the key, in 2^-32. Where entries do not rise it may overflow: a bad guess, no more. */
    const uint64_t slope = ((uint64_t)(count - 1) << 32) / (uint64_t)(last - first);
    size_t low = (size_t)((uint64_t)(target - first) * slope >> 32);
    low = low < count ? low : count - 1;
    for (int guess = 1;; guess++) {
        const int64_t move = (int64_t)((uint64_t)(target - KEY(low)) * slope) >> 32;
        if (guess == KS_INDEX_GUESSES || (move < KS_INDEX_WINDOW / 2 && move >= -KS_INDEX_WINDOW / 2)) break;
        low = (int64_t)low + move > 0 ? (size_t)((int64_t)low + move) : 0;
        low = low < count ? low : count - 1;
        for (int line = -2; line <= 2; line++) /* what comes next is near: wait for all of it at once */
            __builtin_prefetch(column + low * KS_OFFSET_ENTRY_BYTES + 64 * line);
    }
    low = low > KS_INDEX_WINDOW / 2 ? low - KS_INDEX_WINDOW / 2 : 0;

    size_t high = low + KS_INDEX_WINDOW, step = KS_INDEX_WINDOW;
    if (high < count && KEY(low) <= target && KEY(high) > target) {
        for (size_t slot = high - 1; slot > high - KS_INDEX_WINDOW; slot--) low += KEY(slot) <= target;
        return (ptrdiff_t)low;
    }
    high = high < count ? high : count;
    for (; low > 0 && KEY(low) > target; step *= KS_INDEX_GALLOP) {
        high = low;
        low = low > step ? low - step : 0;
    }
    for (; high < count && KEY(high) <= target; step *= KS_INDEX_GALLOP) {
        low = high;
        high = count - high > step ? high + step : count;
    }
#undef KEY
    KS_INDEX_HALVE(column, low, high, target, KS_OFFSET_ENTRY_BYTES, ks_index_int32);
}

static inline ptrdiff_t ks_offset_index_search(const unsigned char *entries, size_t count, int64_t relative_offset)
{
    return ks_offset_index_search_column(entries, count, relative_offset);
}

/* The same by the second column, which rises as well. */
static inline ptrdiff_t ks_offset_index_search_position(const unsigned char *entries, size_t count, int64_t position)
{
    return ks_offset_index_search_column(entries + 4, count, position);
}

static inline ptrdiff_t ks_time_index_search(const unsigned char *entries, size_t count, int64_t timestamp)
{
    if (count == 0 || ks_index_int64(entries) > timestamp) return -1;
    KS_INDEX_HALVE(entries, (size_t)0, count, timestamp, KS_TIME_ENTRY_BYTES, ks_index_int64);
}

/* The slot of the first entry that cannot stand where it stands, or -1 when all can: both columns rise strictly, and
 * positions end before `log_bytes`. No batch before the second one gets an offset entry, so both columns of the
 * offset index start above 0; that is also what tells the zeros of a preallocated file from entries. */
static inline ptrdiff_t ks_offset_index_first_bad(const unsigned char *entries, size_t count, int64_t log_bytes)
{
    int64_t offset = 0, position = 0;
    for (size_t slot = 0; slot < count; slot++) {
        int64_t o = ks_index_int32(entries + slot * KS_OFFSET_ENTRY_BYTES);
        int64_t p = ks_index_int32(entries + slot * KS_OFFSET_ENTRY_BYTES + 4);
        if (o <= offset || p <= position || p >= log_bytes) return (ptrdiff_t)slot;
        offset = o;
        position = p;
    }
    return -1;
}

static inline ptrdiff_t ks_time_index_first_bad(const unsigned char *entries, size_t count)
{
    int64_t timestamp = -1, offset = -1;
    for (size_t slot = 0; slot < count; slot++) {
        int64_t t = ks_index_int64(entries + slot * KS_TIME_ENTRY_BYTES);
        int64_t o = ks_index_int32(entries + slot * KS_TIME_ENTRY_BYTES + 8);
        if (t <= timestamp || o <= offset) return (ptrdiff_t)slot;
        timestamp = t;
        offset = o;
    }
    return -1;
}

/* Kafka's cadence, a batch at a time. `since_entry` starts at 0 with the process, not with the segment: a restart moves
 * the entries that follow, and Kafka's do the same. */
typedef struct ks_cadence {
    int64_t interval_bytes;       /* index.interval.bytes */
    int64_t since_entry;          /* bytes of the batches counted since the last offset entry */
    int64_t max_timestamp;        /* running maximum over the segment, -1: none yet */
    int64_t max_timestamp_offset; /* last offset of the batch that set it, -1: none yet */
} ks_cadence;

/* Counts one batch; 1 when its entry (and the time entry, if the maximum rose past the last one) is due. */
static inline int ks_cadence_count(ks_cadence *c, int64_t size_bytes, int64_t last_offset, int64_t max_timestamp)
{
    int due = c->since_entry > c->interval_bytes;
    if (max_timestamp > c->max_timestamp) {
        c->max_timestamp = max_timestamp;
        c->max_timestamp_offset = last_offset;
    }
    c->since_entry = (due ? 0 : c->since_entry) + size_bytes;
    return due;
}

#endif
