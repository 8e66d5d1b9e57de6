#include "batch.h"

#include "crc32c.h"
#include "cursor.h"

static void load(const unsigned char *p, ks_batch_header *h)
{
    h->base_offset = (int64_t)ks_load_be64(p + KS_BATCH_BASE_OFFSET_AT);
    h->size_bytes = (int64_t)(int32_t)ks_load_be32(p + KS_BATCH_LENGTH_AT) + KS_BATCH_OVERHEAD_BYTES;
    h->leader_epoch = (int32_t)ks_load_be32(p + KS_BATCH_LEADER_EPOCH_AT);
    h->crc = ks_load_be32(p + KS_BATCH_CRC_AT);
    h->attributes = ks_load_be16(p + KS_BATCH_ATTRIBUTES_AT);
    h->last_offset_delta = (int32_t)ks_load_be32(p + KS_BATCH_LAST_OFFSET_DELTA_AT);
    h->base_timestamp = (int64_t)ks_load_be64(p + KS_BATCH_BASE_TIMESTAMP_AT);
    h->max_timestamp = (int64_t)ks_load_be64(p + KS_BATCH_MAX_TIMESTAMP_AT);
    h->producer_id = (int64_t)ks_load_be64(p + KS_BATCH_PRODUCER_ID_AT);
    h->producer_epoch = (int16_t)ks_load_be16(p + KS_BATCH_PRODUCER_EPOCH_AT);
    h->base_sequence = (int32_t)ks_load_be32(p + KS_BATCH_BASE_SEQUENCE_AT);
    h->records_count = (int32_t)ks_load_be32(p + KS_BATCH_RECORDS_COUNT_AT);
    h->last_offset = (int64_t)((uint64_t)h->base_offset + (uint64_t)(int64_t)h->last_offset_delta);
}

/* Length and magic: enough to know where the batch ends and what the checksum covers. */
static ks_status framed(const unsigned char *p, const unsigned char *end, ks_batch_header *h)
{
    if (end - p < KS_BATCH_HEADER_BYTES) return KS_SHORT;
    load(p, h);
    if (h->size_bytes < KS_BATCH_HEADER_BYTES) return KS_BAD_LENGTH;
    if (p[KS_BATCH_MAGIC_AT] != KS_BATCH_MAGIC) return KS_BAD_MAGIC;
    return KS_OK;
}

/* The most records that `size` bytes can hold, so that nobody makes room for a claim. What a byte unpacks to at most is
 * a matter of each format: deflate 1032 bytes, snappy 64 out of 3, lz4 255, zstd a block of 128 KiB out of 3. */
static int64_t records_count_max(int64_t size, int codec)
{
    static const int32_t ratio[] = {1, 1032, 22, 255, 43691};
    int64_t unpacked = codec <= KS_CODEC_MAX ? size * ratio[codec] : KS_UNPACKED_BYTES_MAX;
    if (codec && unpacked > KS_UNPACKED_BYTES_MAX) unpacked = KS_UNPACKED_BYTES_MAX;
    return unpacked / KS_RECORD_BYTES_MIN;
}

static ks_status sane(const ks_batch_header *h)
{
    if (h->base_offset < 0 || h->last_offset_delta < 0 || h->last_offset < h->base_offset) return KS_BAD_HEADER;
    if (h->last_offset == INT64_MAX) return KS_BAD_HEADER; /* the end behind it would be no offset */
    if (h->records_count < 0 || h->records_count > (int64_t)h->last_offset_delta + 1) return KS_BAD_HEADER;
    if (h->records_count > records_count_max(h->size_bytes - KS_BATCH_HEADER_BYTES, h->attributes & KS_CODEC_MASK))
        return KS_BAD_HEADER;
    return KS_OK;
}

ks_status ks_batch_header_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *header)
{
    ks_status status = framed(p, end, header);
    return status == KS_OK ? sane(header) : status;
}

ks_status ks_batch_parse(const unsigned char *p, const unsigned char *end, ks_batch_header *header)
{
    ks_status status = ks_batch_header_parse(p, end, header);
    return status == KS_OK && header->size_bytes > end - p ? KS_SHORT : status;
}

ks_status ks_batch_check(const unsigned char *p, const unsigned char *end, ks_batch_header *header)
{
    ks_status status = framed(p, end, header);
    if (status != KS_OK) return status;
    if (header->size_bytes > end - p) return KS_SHORT;
    uint32_t crc = ks_crc32c(0, p + KS_BATCH_ATTRIBUTES_AT, (size_t)(header->size_bytes - KS_BATCH_ATTRIBUTES_AT));
    return crc == header->crc ? sane(header) : KS_BAD_CRC;
}

int ks_batch_is_clients(const ks_batch_header *h)
{
    const int brokers_bits = KS_CONTROL | KS_DELETE_HORIZON | KS_LOG_APPEND_TIME | KS_RESERVED_BITS;
    if (h->attributes & brokers_bits || (h->attributes & KS_CODEC_MASK) > KS_CODEC_MAX) return 0;
    if (h->records_count < 1 || h->records_count != (int64_t)h->last_offset_delta + 1) return 0;
    if (h->producer_id < 0) return h->producer_id == -1 && !(h->attributes & KS_TRANSACTIONAL);
    return h->producer_epoch >= 0 && h->base_sequence >= 0;
}

void ks_append_count(ks_append_info *info, const ks_batch_header *h)
{
    if (info->batches == 0) {
        info->first_offset = h->base_offset;
        info->max_timestamp = -1;
    } else if (info->next_offset != h->base_offset) {
        info->flags |= KS_NOT_CONTIGUOUS;
    }
    info->batches++;
    info->records += h->records_count;
    info->size_bytes += h->size_bytes;
    info->offsets += (int64_t)h->last_offset_delta + 1;
    info->next_offset = h->last_offset + 1;
    if (h->max_timestamp > info->max_timestamp) info->max_timestamp = h->max_timestamp;
    if (h->size_bytes > info->largest_batch_bytes) info->largest_batch_bytes = h->size_bytes;
    info->codecs |= 1 << (h->attributes & KS_CODEC_MASK);
    info->last_leader_epoch = h->leader_epoch;
    if (h->producer_id >= 0) info->flags |= KS_HAS_PRODUCER;
    if (h->attributes & KS_TRANSACTIONAL) info->flags |= KS_HAS_TRANSACTIONAL;
    if (h->attributes & KS_CONTROL) info->flags |= KS_HAS_CONTROL;
    if (h->attributes & KS_LOG_APPEND_TIME) info->flags |= KS_HAS_LOG_APPEND_TIME;
    if (h->attributes & KS_DELETE_HORIZON) info->flags |= KS_HAS_HORIZON;
}

void ks_batch_stamp(unsigned char *batch, int64_t base_offset, int32_t leader_epoch)
{
    ks_store_be64(batch + KS_BATCH_BASE_OFFSET_AT, (uint64_t)base_offset);
    ks_store_be32(batch + KS_BATCH_LEADER_EPOCH_AT, (uint32_t)leader_epoch);
}

static void store_crc(unsigned char *batch, int64_t size_bytes)
{
    ks_store_be32(batch + KS_BATCH_CRC_AT, ks_crc32c(0, batch + KS_BATCH_ATTRIBUTES_AT,
                                                     (size_t)(size_bytes - KS_BATCH_ATTRIBUTES_AT)));
}

void ks_batch_finish(unsigned char *batch, const ks_batch_header *h)
{
    ks_batch_stamp(batch, h->base_offset, h->leader_epoch);
    ks_store_be32(batch + KS_BATCH_LENGTH_AT, (uint32_t)(h->size_bytes - KS_BATCH_OVERHEAD_BYTES));
    batch[KS_BATCH_MAGIC_AT] = KS_BATCH_MAGIC;
    ks_store_be16(batch + KS_BATCH_ATTRIBUTES_AT, h->attributes);
    ks_store_be32(batch + KS_BATCH_LAST_OFFSET_DELTA_AT, (uint32_t)h->last_offset_delta);
    ks_store_be64(batch + KS_BATCH_BASE_TIMESTAMP_AT, (uint64_t)h->base_timestamp);
    ks_store_be64(batch + KS_BATCH_MAX_TIMESTAMP_AT, (uint64_t)h->max_timestamp);
    ks_store_be64(batch + KS_BATCH_PRODUCER_ID_AT, (uint64_t)h->producer_id);
    ks_store_be16(batch + KS_BATCH_PRODUCER_EPOCH_AT, (uint16_t)h->producer_epoch);
    ks_store_be32(batch + KS_BATCH_BASE_SEQUENCE_AT, (uint32_t)h->base_sequence);
    ks_store_be32(batch + KS_BATCH_RECORDS_COUNT_AT, (uint32_t)h->records_count);
    store_crc(batch, h->size_bytes);
}

void ks_batch_set_log_append_time(unsigned char *batch, int64_t size_bytes, int64_t timestamp)
{
    uint16_t attributes = ks_load_be16(batch + KS_BATCH_ATTRIBUTES_AT);
    ks_store_be16(batch + KS_BATCH_ATTRIBUTES_AT, (uint16_t)(attributes | KS_LOG_APPEND_TIME));
    ks_store_be64(batch + KS_BATCH_MAX_TIMESTAMP_AT, (uint64_t)timestamp);
    store_crc(batch, size_bytes);
}

const char *ks_batch_reason(ks_status status)
{
    switch (status) {
    case KS_OK: return "nothing is wrong";
    case KS_SHORT: return "the bytes end before the batch does";
    case KS_BAD_LENGTH: return "a length that no batch can have";
    case KS_BAD_MAGIC: return "not a record batch of magic 2";
    case KS_BAD_CRC: return "the checksum does not fit the bytes";
    case KS_BAD_HEADER: return "header fields that contradict each other";
    case KS_BAD_RECORD: return "a record that does not fit its length";
    case KS_BAD_COUNT: return "more or fewer records than the header says";
    case KS_BAD_VARINT: return "a varint longer than its type allows";
    case KS_COMPRESSED: return "the records are compressed";
    case KS_NO_ROOM: return "no room left";
    case KS_ZEROS: return "zero bytes where a batch should start";
    case KS_NO_MEMORY: return "out of memory";
    }
    return "unknown";
}
