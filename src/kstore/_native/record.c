#include "record.h"

#include "cursor.h"

/* A length of -1 is null; every other must fit into what is left. */
static inline ks_status read_bytes(const unsigned char **p, const unsigned char *end, const unsigned char **bytes,
                                   int64_t *length)
{
    ks_status status = ks_read_varint(p, end, length);
    if (status != KS_OK) return status == KS_SHORT ? KS_BAD_RECORD : status;
    if (*length < 0) {
        *bytes = NULL;
        return *length == -1 ? KS_OK : KS_BAD_RECORD;
    }
    if (*length > end - *p) return KS_BAD_RECORD;
    *bytes = *p;
    *p += *length;
    return KS_OK;
}

static inline ks_status read_head(const unsigned char **p, const unsigned char *end, ks_record *r)
{
    int64_t length;
    const unsigned char *q = *p;
    ks_status status = ks_read_varint(&q, end, &length);
    if (status != KS_OK) return status == KS_SHORT ? KS_BAD_RECORD : status;
    if (length < 1 || length > end - q) return KS_BAD_RECORD;
    r->start = *p;
    r->end = q + length;
    q++; /* attributes: unused */
    if (ks_read_varlong(&q, r->end, &r->timestamp_delta) != KS_OK) return KS_BAD_RECORD;
    if (ks_read_varint(&q, r->end, &r->offset_delta) != KS_OK) return KS_BAD_RECORD;
    if ((status = read_bytes(&q, r->end, &r->key, &r->key_bytes)) != KS_OK) return status;
    if ((status = read_bytes(&q, r->end, &r->value, &r->value_bytes)) != KS_OK) return status;
    if (ks_read_varint(&q, r->end, &r->headers_count) != KS_OK) return KS_BAD_RECORD;
    /* A header takes two bytes at least: a count beyond that is a lie. */
    if (r->headers_count < 0 || r->headers_count > (r->end - q) / 2) return KS_BAD_RECORD;
    if (r->headers_count == 0 && q != r->end) return KS_BAD_RECORD;
    r->headers = q;
    *p = r->end;
    return KS_OK;
}

ks_status ks_record_read(const unsigned char **p, const unsigned char *end, ks_record *r)
{
    return read_head(p, end, r);
}

ks_status ks_header_read(const unsigned char **p, const unsigned char *end, ks_record_header *h)
{
    ks_status status = read_bytes(p, end, &h->key, &h->key_bytes);
    if (status != KS_OK) return status;
    if (h->key == NULL) return KS_BAD_RECORD;
    return read_bytes(p, end, &h->value, &h->value_bytes);
}

static ks_status check_headers(const ks_record *r)
{
    const unsigned char *p = r->headers;
    ks_record_header h;
    for (int64_t i = 0; i < r->headers_count; i++) {
        ks_status status = ks_header_read(&p, r->end, &h);
        if (status != KS_OK) return status;
    }
    return p == r->end ? KS_OK : KS_BAD_RECORD;
}

ks_status ks_records_check(const unsigned char *p, const unsigned char *end, int64_t count)
{
    ks_record r;
    for (int64_t i = 0; i < count; i++) {
        if (p == end) return KS_BAD_COUNT;
        ks_status status = read_head(&p, end, &r);
        if (status == KS_OK && r.headers_count) status = check_headers(&r);
        if (status != KS_OK) return status;
    }
    return p == end ? KS_OK : KS_BAD_COUNT;
}

ks_status ks_records_columns(const unsigned char *p, const unsigned char *end, int64_t count, const unsigned char *base,
                             int64_t base_offset, int64_t base_timestamp, const int64_t *append_time, int64_t at,
                             const ks_columns *out)
{
    ks_record r;
    for (int64_t i = at; i < at + count; i++) {
        if (p == end) return KS_BAD_COUNT;
        ks_status status = read_head(&p, end, &r);
        if (status == KS_OK && r.headers_count) status = check_headers(&r);
        if (status != KS_OK) return status;
        out->offsets[i] = base_offset + r.offset_delta;
        out->timestamps[i] = append_time ? *append_time : (int64_t)((uint64_t)base_timestamp + (uint64_t)r.timestamp_delta);
        out->key_starts[i] = r.key ? r.key - base : -1;
        out->key_ends[i] = r.key ? r.key - base + r.key_bytes : -1;
        out->value_starts[i] = r.value ? r.value - base : -1;
        out->value_ends[i] = r.value ? r.value - base + r.value_bytes : -1;
    }
    return p == end ? KS_OK : KS_BAD_COUNT;
}
