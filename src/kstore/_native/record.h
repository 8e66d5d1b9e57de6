/* RECORD: one record inside a batch (docs/FORMAT.md, "Record"). Plain C over bytes that may be hostile: every field is
 * checked against the record's own end, and that against the section's. */
#ifndef KSTORE_RECORD_H
#define KSTORE_RECORD_H

#include <stdint.h>

#include "status.h"

typedef struct ks_record {
    int64_t timestamp_delta;
    int64_t offset_delta;
    const unsigned char *start; /* of its length field */
    const unsigned char *key;   /* NULL: null key */
    const unsigned char *value; /* NULL: null value */
    const unsigned char *headers; /* the first header */
    const unsigned char *end;
    int64_t key_bytes, value_bytes;
    int64_t headers_count;
} ks_record;

/* Reads the record at `*p` and moves `*p` behind it. The headers are only counted: read them with ks_header_read. */
ks_status ks_record_read(const unsigned char **p, const unsigned char *end, ks_record *r);

typedef struct ks_record_header {
    const unsigned char *key;
    const unsigned char *value; /* NULL: null */
    int64_t key_bytes, value_bytes;
} ks_record_header;

ks_status ks_header_read(const unsigned char **p, const unsigned char *end, ks_record_header *h);

/* Walks `count` records of [p, end), headers too; KS_OK only if they fill it exactly. */
ks_status ks_records_check(const unsigned char *p, const unsigned char *end, int64_t count);

/* Where records, keys and values lie, one element a record, as offsets from `base`; -1 for null. */
typedef struct ks_columns {
    int64_t *offsets, *timestamps;
    int64_t *key_starts, *key_ends, *value_starts, *value_ends;
} ks_columns;

/* Fills `count` elements from index `at`. `append_time` >= 0 stands for every timestamp, else base + delta. */
ks_status ks_records_columns(const unsigned char *p, const unsigned char *end, int64_t count, const unsigned char *base,
                             int64_t base_offset, int64_t base_timestamp, const int64_t *append_time, int64_t at,
                             const ks_columns *out);

#endif
