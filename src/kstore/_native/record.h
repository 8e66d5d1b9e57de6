/* RECORD: one record inside the (unpacked) records section of a batch (docs/FORMAT.md, "Record").
 *
 * Owns the layout between two records and walks over it. Knows no batch checksum, codec or Python object. Called by
 * `batch.pyx` (validation), `batches.pyx` (decoding) and `records.pyx` (encoding).
 *
 *   1. No function reads at or past `end`, and every record read moves on by at least KS_RECORD_BYTES_MIN bytes.
 *   2. After KS_OK every pointer of a ks_record lies inside the record, its headers included.
 */
#ifndef KSTORE_RECORD_H
#define KSTORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "cursor.h"
#include "status.h"

enum {
    /* The most that stands around key, value and headers. */
    KS_RECORD_OVERHEAD_BYTES_MAX = 1 + 5 * KS_VARINT_BYTES_MAX + KS_VARLONG_BYTES_MAX,
    KS_HEADER_BYTES_MIN = 2 /* two sizes */
};

typedef struct ks_record {
    const unsigned char *start; /* of its length field */
    const unsigned char *end;   /* of its headers: where the next record starts */
    const unsigned char *key;
    int64_t key_size; /* below 0: null; Kafka writes -1 and reads any */
    const unsigned char *value;
    int64_t value_size; /* below 0: null */
    const unsigned char *headers;
    int64_t headers_count;
    int64_t timestamp_delta;
    int64_t offset_delta;
} ks_record;

/* One header of a record; the key is never null. */
typedef struct ks_record_header {
    const unsigned char *key;
    int64_t key_size;
    const unsigned char *value;
    int64_t value_size; /* below 0: null */
} ks_record_header;

/* Columns over the records of one batch; each array has room for `records_count` more entries. Positions count from
 * `origin`; a null has both its bounds -1. */
typedef struct ks_columns {
    const unsigned char *origin;
    int64_t *offsets, *timestamps;
    int64_t *key_starts, *key_ends;
    int64_t *value_starts, *value_ends;
} ks_columns;

/* Reads the record at `*p`, headers included, and steps over it. */
ks_status ks_record_read(const unsigned char **p, const unsigned char *end, ks_record *record);

/* Reads the header at `*p` and steps over it. */
ks_status ks_record_header_read(const unsigned char **p, const unsigned char *end, ks_record_header *header);

/* Walks all records of a batch: each whole, offset deltas rising and within the batch, as many as the header says and
 * not a byte more. `strict` is for what comes from a client: deltas 0, 1, 2, ... and no varint longer than needed. */
ks_status ks_records_check(const unsigned char *p, const unsigned char *end, const ks_batch_header *header, int strict);

/* The same walk, written out as columns; the pointers of `columns` end up behind the new entries. */
ks_status ks_records_columns(const unsigned char *p, const unsigned char *end, const ks_batch_header *header,
                             ks_columns *columns);

/* Every batch of a buffer, checksums included, counted into `info`, which starts zeroed. The records of uncompressed
 * batches of up to `walk_bytes_max` bytes are walked too, strictly for a client. On failure `*bad` is the batch at
 * fault; KS_BAD_CLIENT only when `client` asks for ks_batch_is_clients. */
enum { KS_BAD_CLIENT = 100 };
int ks_batches_check(const unsigned char *p, const unsigned char *end, int client, int64_t walk_bytes_max,
                     ks_append_info *info, const unsigned char **bad);

/* Whether a record's offset may follow `last_delta` (-1: none yet) in this batch. */
static inline int ks_delta_fits(int64_t delta, int64_t last_delta, const ks_batch_header *header)
{
    return delta > last_delta && delta <= header->last_offset_delta;
}

/* A record's timestamp: Java adds with wrap-around, and a LogAppendTime batch has one for all. */
static inline int64_t ks_record_timestamp(const ks_batch_header *header, int64_t delta)
{
    if (header->attributes & KS_LOG_APPEND_TIME) return header->max_timestamp;
    return (int64_t)((uint64_t)header->base_timestamp + (uint64_t)delta);
}

/* Sequences count from 0 to 2^31 - 1 and on at 0; -1 stands for none. */
static inline int32_t ks_sequence_add(int32_t base_sequence, int64_t delta)
{
    return base_sequence < 0 ? -1 : (int32_t)(((int64_t)base_sequence + delta) & INT32_MAX);
}

/* The bytes in front of a value in a record without key, headers and time of its own: all but the offset delta follow
 * from the value's size, and records come in runs of one size. */
typedef struct ks_lead {
    uint64_t word;      /* the first eight bytes, the offset delta's left out */
    size_t value_size;  /* that it was made for; SIZE_MAX: none */
    uint32_t count_end; /* the offset deltas it is good for end here */
    uint32_t bytes;
    uint32_t delta_shift; /* of the offset delta in `word` */
    unsigned char ninth;
} ks_lead;

enum {
    KS_LEAD_END = 1 << 13,            /* offset deltas of up to two bytes: below this */
    KS_LEAD_VALUE_END = (1 << 13) - 8 /* so that the size of the record, up to 8 bytes more, has two bytes too */
};

/* A lead for values of `value_size` bytes, below KS_LEAD_VALUE_END, from offset delta `count` on, below KS_LEAD_END:
 * nine bytes at most, as many as ks_lead has room for. */
static inline ks_lead ks_lead_of(size_t value_size, uint32_t count)
{
    unsigned char bytes[16] = {0}, *p = bytes;
    ks_lead lead;
    const int wide = count >= 1u << 6;
    /* attributes, timestamp delta 0, null key and no headers take a byte each */
    p = ks_write_size(p, 4 + 1u + (uint32_t)wide + (uint32_t)ks_size_size((uint32_t)value_size) + (uint32_t)value_size);
    p += 2;
    lead.delta_shift = (uint32_t)(8 * (p - bytes));
    if (wide) *p++ = 0x80;
    p[1] = 1; /* the size of null */
    p = ks_write_size(p + 2, (uint32_t)value_size);
    memcpy(&lead.word, bytes, 8);
    lead.value_size = value_size;
    lead.count_end = wide ? KS_LEAD_END : 1u << 6;
    lead.bytes = (uint32_t)(p - bytes);
    lead.ninth = bytes[8];
    return lead;
}

/* Writes the record of a value by its lead; the caller has made room for KS_RECORD_OVERHEAD_BYTES_MAX around it. */
static inline unsigned char *ks_lead_write(unsigned char *p, const ks_lead *lead, uint32_t count,
                                           const unsigned char *value)
{
    const uint64_t delta = (count << 1 & 0x7f) | count >> 6 << 8;
    const uint64_t word = lead->word | delta << lead->delta_shift;
    memcpy(p, &word, 8);
    p[8] = lead->ninth;
    p += lead->bytes;
    ks_copy(p, value, lead->value_size);
    p[lead->value_size] = 0;
    return p + lead->value_size + 1;
}

#endif
