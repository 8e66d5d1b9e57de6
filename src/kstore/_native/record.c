#include "record.h"

static ks_status read_bytes(const unsigned char **p, const unsigned char *end, const unsigned char **bytes,
                            int64_t *size)
{
    ks_status status = ks_read_varint(p, end, size);
    if (status != KS_OK) return status;
    *bytes = *p;
    if (*size > end - *p) return KS_BAD_RECORD;
    if (*size > 0) *p += *size;
    return KS_OK;
}

ks_status ks_record_header_read(const unsigned char **p, const unsigned char *end, ks_record_header *header)
{
    ks_status status = read_bytes(p, end, &header->key, &header->key_size);
    if (status != KS_OK) return status;
    if (header->key_size < 0) return KS_BAD_RECORD;
    return read_bytes(p, end, &header->value, &header->value_size);
}

static ks_status skip_headers(const unsigned char **p, const unsigned char *end, int64_t count)
{
    ks_record_header header;
    if (count < 0 || count > (end - *p) / KS_HEADER_BYTES_MIN) return KS_BAD_RECORD; /* a lie: do not loop for it */
    while (count--) {
        ks_status status = ks_record_header_read(p, end, &header);
        if (status != KS_OK) return status;
    }
    return KS_OK;
}

/* A field that the record's own length cuts off is a bad record, not a batch that goes on. */
static inline ks_status inner(ks_status status) { return status == KS_SHORT ? KS_BAD_RECORD : status; }

static ks_status record_read_slowly(const unsigned char **p, const unsigned char *end, ks_record *r)
{
    const unsigned char *q = *p;
    int64_t length;
    ks_status status;

    r->start = q;
    if ((status = ks_read_varint(&q, end, &length)) != KS_OK) return inner(status);
    if (length < KS_RECORD_BYTES_MIN - 1 || length > end - q) return KS_BAD_RECORD;
    end = q + length;
    q++; /* attributes: no bit is in use, and Kafka ignores them */
    if ((status = ks_read_varlong(&q, end, &r->timestamp_delta)) != KS_OK) return inner(status);
    if ((status = ks_read_varint(&q, end, &r->offset_delta)) != KS_OK) return inner(status);
    if ((status = read_bytes(&q, end, &r->key, &r->key_size)) != KS_OK) return inner(status);
    if ((status = read_bytes(&q, end, &r->value, &r->value_size)) != KS_OK) return inner(status);
    if ((status = ks_read_varint(&q, end, &r->headers_count)) != KS_OK) return inner(status);
    r->headers = q;
    if (r->headers_count != 0 && (status = skip_headers(&q, end, r->headers_count)) != KS_OK) return inner(status);
    if (q != end) return KS_BAD_RECORD;
    r->end = end;
    *p = end;
    return KS_OK;
}

/* A varint of one or two bytes, both of which may be read. 0: it is longer. */
static inline int small(const unsigned char **p, int64_t *value)
{
    const unsigned char *q = *p;
    if (q[0] < 0x80) {
        *value = ks_unzigzag(q[0]);
        *p = q + 1;
        return 1;
    }
    if (q[1] < 0x80) {
        *value = ks_unzigzag((uint64_t)(q[0] & 0x7f) | (uint64_t)q[1] << 7);
        *p = q + 2;
        return 1;
    }
    return 0;
}

/* The fields before the key take at most this many bytes here. */
enum { FAST_BYTES = 2 + 1 + KS_VARLONG_BYTES_MAX + 2 + 2 };

/* Reads a record without headers whose numbers are small and which is not the section's last, checking bounds once
 * for several fields. 0: it is not such a record, or a bad one; the careful way tells. */
static inline int record_read_fast(const unsigned char **p, const unsigned char *end, ks_record *r)
{
    const unsigned char *q = *p;
    int64_t length;

    if (end - q < FAST_BYTES || !small(&q, &length) || length < KS_RECORD_BYTES_MIN - 1 || length > end - q) return 0;
    const unsigned char *record_end = q + length;
    q++;
    if (ks_read_varlong(&q, end, &r->timestamp_delta) != KS_OK || !small(&q, &r->offset_delta) ||
        !small(&q, &r->key_size))
        return 0;
    r->key = q;
    if (r->key_size > record_end - q) return 0;
    if (r->key_size > 0) q += r->key_size;
    if (record_end - q < 3 || !small(&q, &r->value_size)) return 0;
    r->value = q;
    if (r->value_size > record_end - q) return 0;
    if (r->value_size > 0) q += r->value_size;
    if (q + 1 != record_end || *q != 0) return 0;
    r->start = *p;
    r->headers = r->end = record_end;
    r->headers_count = 0;
    *p = record_end;
    return 1;
}

static inline ks_status record_read(const unsigned char **p, const unsigned char *end, ks_record *r)
{
    if (record_read_fast(p, end, r)) return KS_OK;
    /* Through copies: a caller's variables whose addresses leave it would stay out of registers. */
    const unsigned char *q = *p;
    ks_record slow;
    ks_status status = record_read_slowly(&q, end, &slow);
    if (status == KS_OK) {
        *r = slow;
        *p = q;
    }
    return status;
}

ks_status ks_record_read(const unsigned char **p, const unsigned char *end, ks_record *record)
{
    return record_read(p, end, record);
}

static int64_t shortest_headers_size(const ks_record *r)
{
    const unsigned char *p = r->headers;
    int64_t size = 0;
    for (int64_t i = 0; i < r->headers_count; i++) {
        ks_record_header h;
        if (ks_record_header_read(&p, r->end, &h) != KS_OK) return -1;
        size += ks_varint_size(h.key_size) + h.key_size + ks_varint_size(h.value_size) +
                (h.value_size > 0 ? h.value_size : 0);
    }
    return size;
}

/* The next record of a batch, behind one with the offset delta `*last_delta`. */
static inline ks_status record_next(const unsigned char **p, const unsigned char *end, const ks_batch_header *header,
                                    int64_t *last_delta, ks_record *r)
{
    if (*p == end) return KS_BAD_COUNT;
    ks_status status = record_read(p, end, r);
    if (status != KS_OK) return status;
    if (!ks_delta_fits(r->offset_delta, *last_delta, header)) return KS_BAD_RECORD;
    *last_delta = r->offset_delta;
    return KS_OK;
}

/* The size of the record's only shortest encoding. */
static inline int64_t shortest_size(const ks_record *r)
{
    int64_t body = 1 + ks_varint_size(r->timestamp_delta) + ks_varint_size(r->offset_delta) +
                   ks_varint_size(r->key_size) + (r->key_size > 0 ? r->key_size : 0) +
                   ks_varint_size(r->value_size) + (r->value_size > 0 ? r->value_size : 0) +
                   ks_varint_size(r->headers_count);
    if (r->headers_count) body += shortest_headers_size(r);
    return body + ks_varint_size(body);
}

/* What two records have in common whose every field but offset delta, key and value has the same bytes. Records of one
 * size come in runs; one that is cut like its predecessor needs four comparisons instead of five varints. */
typedef struct shape {
    uint64_t mask, word;     /* the bytes in front of the key: which must agree, and with what */
    uint32_t delta_shift;    /* of the offset delta in those */
    uint32_t delta_high;     /* 0x3f80 where it has a second byte, else 0 */
    uint16_t value_mask, value_word; /* the two bytes from `value_size_at` on, which hold the value's size */
    int64_t value_size_at;
    int64_t bytes; /* of the whole record; 0: there is no shape */
} shape;

static inline int64_t varint_bytes(const unsigned char *p)
{
    int64_t bytes = 1;
    while (*p++ & 0x80) bytes++;
    return bytes;
}

/* The shape of a record that was read; every number in it is whole, so that counting its bytes stays inside. */
static shape shape_of(const ks_record *r)
{
    const int64_t head = r->key - r->start;
    const int64_t delta_at = varint_bytes(r->start) + 1 + varint_bytes(r->start + varint_bytes(r->start) + 1);
    const int64_t delta_bytes = varint_bytes(r->start + delta_at);
    shape s = {.bytes = r->end - r->start};
    s.value_size_at = head + (r->key_size > 0 ? r->key_size : 0);
    const int64_t value_bytes = r->value - r->start - s.value_size_at;
    const int64_t behind = r->end - r->value - (r->value_size > 0 ? r->value_size : 0);
    if (head > 8 || delta_bytes > 2 || value_bytes > 2 || behind != 1 || r->headers_count != 0 || s.bytes < 8)
        return (shape){0};
    unsigned char mask[8] = {0}; /* of the delta: not its low bits, but that it is positive and as long */
    memset(mask, 0xff, (size_t)head);
    mask[varint_bytes(r->start)] = 0; /* attributes: nobody looks at them */
    mask[delta_at] = 0x81;
    if (delta_bytes == 2) mask[delta_at + 1] = 0x80;
    memcpy(&s.mask, mask, 8);
    memcpy(&s.word, r->start, 8);
    s.word &= s.mask;
    if (r->start[delta_at] & 1) return (shape){0}; /* negative: no record of a good batch */
    s.delta_shift = (uint32_t)(8 * delta_at);
    s.delta_high = delta_bytes == 2 ? 0x3f80 : 0;
    s.value_mask = value_bytes == 2 ? 0xffff : 0x00ff;
    memcpy(&s.value_word, r->start + s.value_size_at, 2);
    s.value_word &= s.value_mask;
    return s;
}

/* Whether the record at `p` has the shape; then `delta` is its offset delta. Nothing at or past `end` is read. */
static inline int has_shape(const shape *s, const unsigned char *p, const unsigned char *end, int64_t *delta)
{
    uint64_t word;
    uint16_t value_word;
    if (end - p < s->bytes) return 0;
    memcpy(&word, p, 8);
    memcpy(&value_word, p + s->value_size_at, 2);
    if ((word & s->mask) != s->word || (value_word & s->value_mask) != s->value_word || p[s->bytes - 1] != 0) return 0;
    word >>= s->delta_shift;
    *delta = (int64_t)(((word & 0x7f) | (word >> 1 & s->delta_high)) >> 1);
    return 1;
}

/* Steps over the records from `*p` on that are of the shape of the one before them, record `i` - 1. Returns the index
 * of the record behind them, which is another one, or a bad one. What is shortest in one is in the others, so that
 * `strict` asks for no more than the next delta. */
static inline int32_t shaped_skip(const shape *s, const unsigned char **p, const unsigned char *end, int32_t i,
                                  const ks_batch_header *header, int64_t *last_delta, const int strict)
{
    const shape own = *s;
    const unsigned char *q = *p;
    const int32_t count = header->records_count;
    int64_t last = *last_delta, delta;
    for (; i < count && has_shape(&own, q, end, &delta); i++, q += own.bytes) {
        if (strict ? delta != last + 1 : !ks_delta_fits(delta, last, header)) break;
        last = delta;
    }
    *p = q;
    *last_delta = last;
    return i;
}

static inline ks_status records_check(const unsigned char *p, const unsigned char *end, const ks_batch_header *header,
                                      const int strict)
{
    ks_record record;
    int64_t last_delta = -1, bytes_before = 0;
    for (int32_t i = 0; i < header->records_count;) {
        ks_status status = record_next(&p, end, header, &last_delta, &record);
        if (status != KS_OK) return status;
        const int64_t bytes = record.end - record.start;
        if (strict) {
            if (last_delta != i || record.key_size < -1 || record.value_size < -1) return KS_BAD_RECORD;
            if (shortest_size(&record) != bytes) return KS_BAD_VARINT;
        }
        i++;
        if (bytes == bytes_before) { /* two of one size: a run may have begun */
            const shape s = shape_of(&record);
            if (s.bytes) i = shaped_skip(&s, &p, end, i, header, &last_delta, strict);
        }
        bytes_before = bytes;
    }
    return p == end ? KS_OK : KS_BAD_COUNT;
}

ks_status ks_records_check(const unsigned char *p, const unsigned char *end, const ks_batch_header *header, int strict)
{
    return strict ? records_check(p, end, header, 1) : records_check(p, end, header, 0);
}

static inline void put_row(ks_columns *c, int32_t i, const ks_record *r, const ks_batch_header *header)
{
    const int64_t key = r->key - c->origin, value = r->value - c->origin;
    c->offsets[i] = header->base_offset + r->offset_delta;
    c->timestamps[i] = ks_record_timestamp(header, r->timestamp_delta);
    c->key_starts[i] = r->key_size < 0 ? -1 : key;
    c->key_ends[i] = r->key_size < 0 ? -1 : key + r->key_size;
    c->value_starts[i] = r->value_size < 0 ? -1 : value;
    c->value_ends[i] = r->value_size < 0 ? -1 : value + r->value_size;
}

/* The rows of the records from `*p` on that are of the shape of the one before them, row `i` - 1. Returns the row
 * behind them; the record there is another one, or a bad one. */
static int32_t shaped_rows(const shape *s, const unsigned char **p, const unsigned char *end, int32_t i,
                           const ks_batch_header *header, const ks_columns *columns, int64_t *last_delta)
{
    const ks_columns c = *columns;
    const shape own = *s;
    const unsigned char *q = *p;
    const int32_t count = header->records_count;
    const int64_t timestamp = c.timestamps[i - 1];
    int64_t key_start = c.key_starts[i - 1], key_end = c.key_ends[i - 1];
    int64_t value_start = c.value_starts[i - 1], value_end = c.value_ends[i - 1];
    const int64_t key_step = key_start < 0 ? 0 : own.bytes, value_step = value_start < 0 ? 0 : own.bytes;
    int64_t last = *last_delta, delta;
    for (; i < count && has_shape(&own, q, end, &delta) && ks_delta_fits(delta, last, header); i++, q += own.bytes) {
        last = delta;
        c.offsets[i] = header->base_offset + delta;
        c.timestamps[i] = timestamp;
        c.key_starts[i] = key_start += key_step;
        c.key_ends[i] = key_end += key_step;
        c.value_starts[i] = value_start += value_step;
        c.value_ends[i] = value_end += value_step;
    }
    *p = q;
    *last_delta = last;
    return i;
}

ks_status ks_records_columns(const unsigned char *p, const unsigned char *end, const ks_batch_header *header,
                             ks_columns *columns)
{
    ks_record r;
    int64_t last_delta = -1, bytes_before = 0;
    for (int32_t i = 0; i < header->records_count;) {
        ks_status status = record_next(&p, end, header, &last_delta, &r);
        if (status != KS_OK) return status;
        put_row(columns, i++, &r, header);
        if (r.end - r.start == bytes_before) { /* two of one size: a run may have begun */
            const shape s = shape_of(&r);
            if (s.bytes) i = shaped_rows(&s, &p, end, i, header, columns, &last_delta);
        }
        bytes_before = r.end - r.start;
    }
    if (p != end) return KS_BAD_COUNT;
    columns->offsets += header->records_count;
    columns->timestamps += header->records_count;
    columns->key_starts += header->records_count;
    columns->key_ends += header->records_count;
    columns->value_starts += header->records_count;
    columns->value_ends += header->records_count;
    return KS_OK;
}

int ks_batches_check(const unsigned char *p, const unsigned char *end, int client, int64_t walk_bytes_max,
                     ks_append_info *info, const unsigned char **bad)
{
    ks_batch_header header;
    for (; p < end; p += header.size_bytes) {
        *bad = p;
        ks_status status = ks_batch_check(p, end, &header);
        if (status != KS_OK) return (int)status;
        if (client && !ks_batch_is_clients(&header)) return KS_BAD_CLIENT;
        if (header.size_bytes <= walk_bytes_max && !(header.attributes & KS_CODEC_MASK)) {
            status = ks_records_check(p + KS_BATCH_HEADER_BYTES, p + header.size_bytes, &header, client);
            if (status != KS_OK) return (int)status;
        }
        ks_append_count(info, &header);
    }
    return KS_OK;
}
