/* Varints: what is read is within its type, what is written reads back, and no encoding has two lengths. */
#include "cursor.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *copy = exact_copy(data, size), written[KS_VARLONG_BYTES_MAX];
    const unsigned char *end = copy + size, *p = copy, *q;
    int64_t value, again;

    if (ks_read_varint(&p, end, &value) == KS_OK) {
        MUST(value >= INT32_MIN && value <= INT32_MAX);
        MUST(p > copy && p - copy <= KS_VARINT_BYTES_MAX && p - copy >= ks_varint_size(value));
    } else {
        MUST(p == copy);
    }
    p = copy;
    if (ks_read_varlong(&p, end, &value) == KS_OK) {
        MUST(p > copy && p - copy <= KS_VARLONG_BYTES_MAX && p - copy >= ks_varint_size(value));
        MUST(ks_write_varint(written, value) - written == ks_varint_size(value));
        q = written;
        MUST(ks_read_varlong(&q, written + ks_varint_size(value), &again) == KS_OK && again == value);
        if (value >= 0 && value < 1 << 30) {
            unsigned char as_size[KS_VARLONG_BYTES_MAX];
            MUST(ks_write_size(as_size, (uint32_t)value) - as_size == ks_size_size((uint32_t)value));
            MUST(ks_size_size((uint32_t)value) == ks_varint_size(value));
            MUST(memcmp(as_size, written, (size_t)ks_varint_size(value)) == 0);
        }
    } else {
        MUST(p == copy);
    }
    free(copy);
    return 0;
}
