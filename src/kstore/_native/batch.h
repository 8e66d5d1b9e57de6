/* BATCH: the header of a record batch of magic 2, read, checked and stamped (docs/FORMAT.md, "Record batch").
 *
 * Owns the 61 bytes before the records and the checksum over all of them but the first 21. Knows nothing of what a
 * record looks like (`record.h`) and of files. Called by `batch.pyx`, `batches.pyx`, `records.pyx` and the segment.
 *
 *   1. No function reads at or past `end`.
 *   2. After KS_OK of a parse: 61 <= size_bytes <= INT32_MAX + 12, 0 <= base_offset <= last_offset < INT64_MAX,
 *      0 <= records_count <= last_offset_delta + 1, and that many records can be in the bytes that there are.
 *   3. Stamping changes only bytes that the checksum leaves out: that is why Kafka put them in front of it.
 */
#ifndef KSTORE_BATCH_H
#define KSTORE_BATCH_H

#include <stdint.h>

#include "status.h"

enum {
    KS_BATCH_BASE_OFFSET_AT = 0,
    KS_BATCH_LENGTH_AT = 8,
    KS_BATCH_OVERHEAD_BYTES = 12, /* what the length field does not count */
    KS_BATCH_LEADER_EPOCH_AT = 12,
    KS_BATCH_MAGIC_AT = 16,
    KS_BATCH_CRC_AT = 17,
    KS_BATCH_ATTRIBUTES_AT = 21, /* the checksum covers everything from here on */
    KS_BATCH_LAST_OFFSET_DELTA_AT = 23,
    KS_BATCH_BASE_TIMESTAMP_AT = 27,
    KS_BATCH_MAX_TIMESTAMP_AT = 35,
    KS_BATCH_PRODUCER_ID_AT = 43,
    KS_BATCH_PRODUCER_EPOCH_AT = 51,
    KS_BATCH_BASE_SEQUENCE_AT = 53,
    KS_BATCH_RECORDS_COUNT_AT = 57,
    KS_BATCH_HEADER_BYTES = 61,
    KS_BATCH_MAGIC = 2,
    KS_RECORD_BYTES_MIN = 7 /* length, attributes, two deltas, two sizes and the header count: a byte each */
};

/* Bits of `attributes`. */
enum {
    KS_CODEC_MASK = 0x07, /* 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd */
    KS_CODEC_MAX = 4,
    KS_UNPACKED_BYTES_MAX = 256 * 1024 * 1024, /* limits.DECOMPRESSED_BYTES_MAX */
    KS_LOG_APPEND_TIME = 0x08, /* every record has the batch's max_timestamp */
    KS_TRANSACTIONAL = 0x10,
    KS_CONTROL = 0x20,
    KS_DELETE_HORIZON = 0x40, /* base_timestamp is when tombstones and markers may go; deltas count from it as ever */
    KS_RESERVED_BITS = 0xff80
};

typedef struct ks_batch_header {
    int64_t base_offset;
    int64_t last_offset; /* base_offset + last_offset_delta; kept by compaction, so no record may have it */
    int64_t size_bytes;  /* of the whole batch */
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id; /* -1: none */
    int32_t leader_epoch;
    int32_t last_offset_delta;
    int32_t base_sequence;
    int32_t records_count;
    uint32_t crc;
    uint16_t attributes;
    int16_t producer_epoch;
} ks_batch_header;

/* What an append has to know of the batches in a buffer; `flags` are KS_HAS_*. */
typedef struct ks_append_info {
    int64_t batches;
    int64_t records;
    int64_t size_bytes;
    int64_t offsets; /* that the batches take: sum of last_offset_delta + 1 */
    int64_t first_offset;
    int64_t next_offset;   /* as the buffer has them */
    int64_t max_timestamp; /* -1: no batch has one */
    int64_t largest_batch_bytes;
    int32_t codecs; /* bit i: codec i occurs */
    int32_t flags;
    int32_t last_leader_epoch;
} ks_append_info;

enum {
    KS_HAS_PRODUCER = 1,
    KS_HAS_TRANSACTIONAL = 2,
    KS_HAS_CONTROL = 4,
    KS_HAS_LOG_APPEND_TIME = 8,
    KS_HAS_HORIZON = 16,
    KS_NOT_CONTIGUOUS = 32 /* some batch does not start at the offset behind the one before it */
};

/* The header alone: the bytes behind it need not be there. */
ks_status ks_batch_header_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *header);

/* The header of a batch that is there as a whole. KS_SHORT: `end` comes first. */
ks_status ks_batch_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *header);

/* The whole batch: length, magic, checksum, then header fields; so a damaged header says KS_BAD_CRC. */
ks_status ks_batch_check(const unsigned char *p, const unsigned char *end, ks_batch_header *header);

/* A batch as a client may send it (LogValidator.validateBatch): it has records, dense offsets, a known codec, no bit
 * that only a broker sets, and a producer id with epoch and sequence or none at all. */
int ks_batch_is_clients(const ks_batch_header *header);

/* Counts one batch into `info`, which starts zeroed. */
void ks_append_count(ks_append_info *info, const ks_batch_header *header);

/* Gives a batch its place in a log. */
void ks_batch_stamp(unsigned char *batch, int64_t base_offset, int32_t leader_epoch);

/* Writes the header before the `size_bytes - 61` bytes of records that stand behind it, checksum included. */
void ks_batch_finish(unsigned char *batch, const ks_batch_header *header);

/* LogAppendTime: bit, max_timestamp and a new checksum. The batch must have passed ks_batch_parse. */
void ks_batch_set_log_append_time(unsigned char *batch, int64_t size_bytes, int64_t timestamp);

/* What a status means, in words for a message. */
const char *ks_batch_reason(ks_status status);

#endif
