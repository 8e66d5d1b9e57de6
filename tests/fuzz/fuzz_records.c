/* A records section under a header whose fields come from the input too. */
#include "fuzz.h"
#include "record.h"

enum { HEAD = 12, COUNT_MAX = 4096 };

static void inside(const unsigned char *at, int64_t size, const unsigned char *p, const unsigned char *end)
{
    if (size > 0) MUST(at >= p && size <= end - at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD || size > 1 << 16) return 0;
    ks_batch_header header = {
        .base_offset = 100,
        .base_timestamp = (int64_t)ks_load_be64(data),
        .max_timestamp = 5,
        .records_count = ks_load_be16(data + 8) % COUNT_MAX,
        .attributes = data[10] & KS_LOG_APPEND_TIME,
    };
    header.last_offset_delta = data[11] & 1 ? INT32_MAX : header.records_count;
    unsigned char *copy = exact_copy(data + HEAD, size - HEAD);
    const unsigned char *end = copy + size - HEAD, *p = copy;

    int64_t *table = malloc(6 * sizeof(int64_t) * (size_t)(header.records_count + 1));
    int64_t n = header.records_count;
    ks_columns columns = {copy, table, table + n, table + 2 * n, table + 3 * n, table + 4 * n, table + 5 * n};
    ks_status status = ks_records_check(copy, end, &header, 0);
    MUST(ks_records_check(copy, end, &header, 1) != KS_OK || status == KS_OK);
    MUST(ks_records_columns(copy, end, &header, &columns) == status);
    MUST((columns.offsets == table + n) == (status == KS_OK || n == 0));

    ks_record record;
    int64_t i = 0;
    while (ks_record_read(&p, end, &record) == KS_OK) {
        MUST(p == record.end && record.end - record.start >= KS_RECORD_BYTES_MIN);
        inside(record.key, record.key_size, record.start, record.end);
        inside(record.value, record.value_size, record.start, record.end);
        const unsigned char *q = record.headers;
        ks_record_header one;
        for (int64_t k = 0; k < record.headers_count; k++) {
            MUST(ks_record_header_read(&q, record.end, &one) == KS_OK);
            inside(one.key, one.key_size, record.headers, record.end);
            inside(one.value, one.value_size, record.headers, record.end);
        }
        MUST(q == record.end);
        if (status == KS_OK && i < n) {
            MUST(table[i] == header.base_offset + record.offset_delta);
            MUST(table[n + i] == ks_record_timestamp(&header, record.timestamp_delta));
            MUST(table[3 * n + i] == (record.key_size < 0 ? -1 : record.key - copy + record.key_size));
            MUST(table[4 * n + i] == (record.value_size < 0 ? -1 : record.value - copy));
            MUST(table[5 * n + i] == (record.value_size < 0 ? -1 : record.value - copy + record.value_size));
            MUST(table[2 * n + i] == (record.key_size < 0 ? -1 : record.key - copy));
        }
        i++;
    }
    free(table);
    free(copy);
    return 0;
}
