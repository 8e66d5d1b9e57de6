#include "batch.h"

#include "crc32c.h"
#include "cursor.h"

ks_status ks_batch_header_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *h)
{
    if (end - p < KS_BATCH_HEADER_BYTES) return KS_SHORT;
    int32_t length = (int32_t)ks_load_be32(p + 8);
    if (length < KS_BATCH_HEADER_BYTES - KS_BATCH_OVERHEAD_BYTES || length > INT32_MAX - KS_BATCH_OVERHEAD_BYTES)
        return KS_BAD_LENGTH;
    if (p[KS_BATCH_MAGIC_AT] != 2) return KS_BAD_MAGIC;

    h->base_offset = (int64_t)ks_load_be64(p);
    h->size_bytes = (int64_t)length + KS_BATCH_OVERHEAD_BYTES;
    h->leader_epoch = (int32_t)ks_load_be32(p + KS_BATCH_EPOCH_AT);
    h->crc = ks_load_be32(p + KS_BATCH_CRC_AT);
    h->attributes = (int16_t)ks_load_be16(p + KS_BATCH_ATTRIBUTES_AT);
    h->last_offset_delta = (int32_t)ks_load_be32(p + KS_BATCH_LAST_DELTA_AT);
    h->base_timestamp = (int64_t)ks_load_be64(p + KS_BATCH_BASE_TIMESTAMP_AT);
    h->max_timestamp = (int64_t)ks_load_be64(p + KS_BATCH_MAX_TIMESTAMP_AT);
    h->producer_id = (int64_t)ks_load_be64(p + KS_BATCH_PRODUCER_AT);
    h->producer_epoch = (int16_t)ks_load_be16(p + KS_BATCH_PRODUCER_AT + 8);
    h->base_sequence = (int32_t)ks_load_be32(p + KS_BATCH_PRODUCER_AT + 10);
    h->records_count = (int32_t)ks_load_be32(p + KS_BATCH_COUNT_AT);

    /* A count of 0 is legal: compaction keeps the header of a producer's last batch. */
    if (h->base_offset < 0 || h->last_offset_delta < 0 || h->records_count < 0) return KS_BAD_HEADER;
    if (h->base_offset > INT64_MAX - h->last_offset_delta - 1) return KS_BAD_HEADER;
    if (h->records_count > (int64_t)h->last_offset_delta + 1) return KS_BAD_COUNT;
    h->last_offset = h->base_offset + h->last_offset_delta;
    return KS_OK;
}

ks_status ks_batch_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *h)
{
    ks_status status = ks_batch_header_parse(p, end, h);
    if (status == KS_OK && h->size_bytes > end - p) return KS_SHORT;
    return status;
}

ks_status ks_batch_check(const unsigned char *p, const unsigned char *end, ks_batch_header *h)
{
    ks_status status = ks_batch_parse(p, end, h);
    if (status != KS_OK) return status;
    uint32_t crc = ks_crc32c(0, p + KS_BATCH_ATTRIBUTES_AT, (size_t)h->size_bytes - KS_BATCH_ATTRIBUTES_AT);
    return crc == h->crc ? KS_OK : KS_BAD_CRC;
}

void ks_batch_stamp(unsigned char *p, int64_t base_offset, int32_t leader_epoch)
{
    ks_store_be64(p, (uint64_t)base_offset);
    ks_store_be32(p + KS_BATCH_EPOCH_AT, (uint32_t)leader_epoch);
}

void ks_batch_set_log_append_time(unsigned char *p, const ks_batch_header *h, int64_t timestamp_ms)
{
    ks_store_be16(p + KS_BATCH_ATTRIBUTES_AT, (uint16_t)(h->attributes | KS_LOG_APPEND_TIME));
    ks_store_be64(p + KS_BATCH_MAX_TIMESTAMP_AT, (uint64_t)timestamp_ms);
    ks_store_be32(p + KS_BATCH_CRC_AT,
                  ks_crc32c(0, p + KS_BATCH_ATTRIBUTES_AT, (size_t)h->size_bytes - KS_BATCH_ATTRIBUTES_AT));
}
