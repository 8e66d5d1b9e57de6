/* BATCH: the header of a record batch of magic 2 (docs/FORMAT.md, "Record batch"). Plain C over bytes from disk or
 * network; no Python, no allocation. */
#ifndef KSTORE_BATCH_H
#define KSTORE_BATCH_H

#include <stdint.h>

#include "status.h"

enum {
    KS_BATCH_OVERHEAD_BYTES = 12, /* base offset and length: what the length field does not count */
    KS_BATCH_EPOCH_AT = 12,
    KS_BATCH_MAGIC_AT = 16,
    KS_BATCH_CRC_AT = 17,
    KS_BATCH_ATTRIBUTES_AT = 21, /* the checksum covers the bytes from here on: offset and epoch stay stampable */
    KS_BATCH_LAST_DELTA_AT = 23,
    KS_BATCH_BASE_TIMESTAMP_AT = 27,
    KS_BATCH_MAX_TIMESTAMP_AT = 35,
    KS_BATCH_PRODUCER_AT = 43,
    KS_BATCH_COUNT_AT = 57,
    KS_BATCH_HEADER_BYTES = 61
};

enum {
    KS_CODEC_MASK = 0x07,
    KS_LOG_APPEND_TIME = 0x08,
    KS_TRANSACTIONAL = 0x10,
    KS_CONTROL = 0x20,
    KS_DELETE_HORIZON = 0x40,
    KS_ATTRIBUTES_KNOWN = 0x7f
};

typedef struct ks_batch_header {
    int64_t base_offset;
    int64_t last_offset;
    int64_t size_bytes; /* whole batch, header included */
    int64_t base_timestamp; /* the delete horizon where KS_DELETE_HORIZON is set */
    int64_t max_timestamp;
    int64_t producer_id;
    int32_t leader_epoch;
    int32_t last_offset_delta;
    int32_t base_sequence;
    int32_t records_count;
    uint32_t crc;
    int16_t attributes;
    int16_t producer_epoch;
} ks_batch_header;

/* The header at `p`, its fields checked against each other. The batch may reach beyond `end`. */
ks_status ks_batch_header_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *h);

/* As above, and the whole batch lies before `end`. */
ks_status ks_batch_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *h);

/* As above, and the checksum fits. */
ks_status ks_batch_check(const unsigned char *p, const unsigned char *end, ks_batch_header *h);

/* Sets base offset and leader epoch; the checksum does not cover them. `p` has at least 16 bytes. */
void ks_batch_stamp(unsigned char *p, int64_t base_offset, int32_t leader_epoch);

/* Makes a batch one of LogAppendTime: attribute, maximum timestamp, new checksum. The batch was parsed before. */
void ks_batch_set_log_append_time(unsigned char *p, const ks_batch_header *h, int64_t timestamp_ms);

#endif
