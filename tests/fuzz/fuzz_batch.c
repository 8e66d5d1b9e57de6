/* Whole buffers of batches. The first byte says whether checksums and lengths are set right, without which nothing
 * behind them would ever be reached. */
#include "batch.h"
#include "crc32c.h"
#include "cursor.h"
#include "fuzz.h"
#include "record.h"

static void set_right(unsigned char *p, size_t size)
{
    if (size < KS_BATCH_HEADER_BYTES) return;
    int64_t length = (int32_t)ks_load_be32(p + KS_BATCH_LENGTH_AT);
    size_t whole = length >= 49 && (size_t)length + 12 <= size ? (size_t)length + 12 : size;
    p[KS_BATCH_MAGIC_AT] = KS_BATCH_MAGIC;
    ks_store_be32(p + KS_BATCH_LENGTH_AT, (uint32_t)(whole - 12));
    ks_store_be32(p + KS_BATCH_CRC_AT, ks_crc32c(0, p + 21, whole - 21));
    set_right(p + whole, size - whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 20) return 0;
    unsigned char *copy = exact_copy(data + 1, size - 1);
    const unsigned char *end = copy + size - 1, *bad = NULL;
    ks_append_info info = {0}, walked = {0};
    ks_batch_header header, again;

    if (*data & 1) set_right(copy, size - 1);
    int client = *data >> 1 & 1;
    int status = ks_batches_check(copy, end, client, 0, &info, &bad);
    int walk_status = ks_batches_check(copy, end, client, INT64_MAX, &walked, &bad);
    MUST(status == KS_OK ? 1 : walk_status != KS_OK); /* a walk refuses more, never less */
    if (walk_status == KS_OK) {
        MUST(info.size_bytes == (int64_t)size - 1 && info.records == walked.records);
        MUST(info.records <= info.offsets && info.batches * KS_BATCH_HEADER_BYTES <= info.size_bytes);
    }
    for (const unsigned char *p = copy; ks_batch_parse(p, end, &header) == KS_OK; p += header.size_bytes) {
        MUST(header.size_bytes >= KS_BATCH_HEADER_BYTES && header.size_bytes <= end - p);
        MUST(header.last_offset >= header.base_offset && header.base_offset >= 0);
        unsigned char stamped[KS_BATCH_HEADER_BYTES];
        memcpy(stamped, p, sizeof stamped);
        ks_batch_stamp(stamped, 7, 3);
        MUST(ks_batch_header_parse(stamped, stamped + sizeof stamped, &again) == KS_OK);
        MUST(again.base_offset == 7 && again.leader_epoch == 3 && again.crc == header.crc);
    }
    if (status == KS_OK && size > 1) {
        ks_batch_parse(copy, end, &header);
        ks_batch_set_log_append_time(copy, header.size_bytes, 5);
        MUST(ks_batch_check(copy, end, &again) == KS_OK && again.max_timestamp == 5);
        ks_batch_finish(copy, &header);
        MUST(ks_batch_check(copy, end, &again) == KS_OK && again.max_timestamp == header.max_timestamp);
    }
    free(copy);
    return 0;
}
