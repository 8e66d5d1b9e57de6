#include "scan.h"

#include <string.h>

#include "cursor.h"

/* The window holds `bytes` bytes from `position` on. */
static int in_window(const ks_walk *w, int64_t position, int64_t bytes)
{
    return position >= w->window_position && bytes <= w->window_end - position;
}

/* Fewer bytes than a header, or nothing but zeros: what a preallocated or half-written file ends in. */
static ks_status short_or_zeros(const unsigned char *p, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i++)
        if (p[i]) return KS_SHORT;
    return KS_ZEROS;
}

static ks_walk_result bad(ks_walk *w, ks_status status)
{
    w->status = status;
    return KS_WALK_BAD;
}

ks_walk_result ks_walk_peek(ks_walk *w)
{
    if (w->position >= w->end) return KS_WALK_END; /* a range that begins there is not this walk's to jump over */
    while (w->bad_count && w->bad->end_position <= w->position) {
        w->bad++;
        w->bad_count--;
    }
    if (w->position >= w->end) return KS_WALK_END;
    while (w->bad_count && w->bad->position <= w->position) {
        w->position = w->bad->end_position;
        w->next_offset = w->bad->next_offset;
        w->exact_offset = -1;
        w->bad++;
        w->bad_count--;
    }
    if (w->position >= w->end) return KS_WALK_END;

    int64_t left = w->end - w->position;
    int64_t need = left < KS_BATCH_HEADER_BYTES ? left : KS_BATCH_HEADER_BYTES;
    if (!in_window(w, w->position, need)) return KS_WALK_MORE;
    const unsigned char *p = w->window + (w->position - w->window_position);
    if (left < KS_BATCH_HEADER_BYTES) return bad(w, short_or_zeros(p, left));

    /* Only the header is parsed, so the window may end before the batch does. */
    ks_status status = ks_batch_header_parse(p, p + KS_BATCH_HEADER_BYTES, &w->header);
    if (status != KS_OK) return bad(w, short_or_zeros(p, KS_BATCH_HEADER_BYTES) == KS_ZEROS ? KS_ZEROS : status);
    if (w->header.size_bytes > left) return bad(w, KS_SHORT);
    if (w->header.base_offset < w->next_offset) return bad(w, KS_BAD_HEADER);
    if (w->exact_offset >= 0 && w->header.base_offset != w->exact_offset) return bad(w, KS_BAD_HEADER);
    return KS_WALK_FOUND;
}

ks_walk_result ks_walk_to_offset(ks_walk *w, int64_t offset)
{
    for (;;) {
        const ks_range *ahead = w->bad;
        const int64_t position = w->position;
        ks_walk_result result = ks_walk_peek(w);
        for (; ahead < w->bad; ahead++) /* jumped over */
            if (ahead->end_position > position && offset < ahead->next_offset) {
                w->bad = ahead;
                return KS_WALK_QUARANTINED;
            }
        if (result != KS_WALK_FOUND || w->header.last_offset >= offset) return result;
        ks_walk_step(w);
    }
}

ks_walk_result ks_walk_to_timestamp(ks_walk *w, int64_t timestamp)
{
    for (;;) {
        ks_walk_result result = ks_walk_peek(w);
        if (result != KS_WALK_FOUND || w->header.max_timestamp >= timestamp) return result;
        ks_walk_step(w);
    }
}

ks_walk_result ks_walk_to_position(ks_walk *w, int64_t stop)
{
    for (;;) {
        ks_walk_result result = ks_walk_peek(w);
        if (result != KS_WALK_FOUND || w->header.size_bytes > stop - w->position) return result;
        ks_walk_step(w);
    }
}

static int header_at(const ks_scan *s, int64_t position, ks_batch_header *h)
{
    const unsigned char *p = s->data + position;
    return s->end - position >= KS_BATCH_HEADER_BYTES &&
           ks_batch_header_parse(p, p + KS_BATCH_HEADER_BYTES, h) == KS_OK && h->size_bytes <= s->end - position;
}

/* Offset and epoch stand outside the checksum. Where either has leapt up, the next header tells a gap from a lie: it
 * goes on from what stood before the leap. Nothing stands before the first epoch: there two must speak against it. */
static int leapt_falsely(const ks_scan *s)
{
    const ks_batch_header *h = &s->header;
    ks_batch_header next, third;
    if (h->base_offset == s->next_offset && h->leader_epoch == s->leader_epoch) return 0;
    if (!header_at(s, s->position + h->size_bytes, &next)) return 0;
    if (next.base_offset < s->next_offset || next.leader_epoch < s->leader_epoch) return 0;
    if (h->base_offset > s->next_offset && next.base_offset <= h->last_offset) return 1;
    if (next.leader_epoch >= h->leader_epoch) return 0;
    return s->leader_epoch >= 0 || (header_at(s, s->position + h->size_bytes + next.size_bytes, &third) &&
                                    third.leader_epoch >= next.leader_epoch && third.leader_epoch < h->leader_epoch);
}

ks_status ks_scan_check(ks_scan *s)
{
    const unsigned char *p = s->data + s->position, *end = s->data + s->end;
    ks_status status = ks_batch_check(p, end, &s->header);

    if (status != KS_OK) {
        int64_t left = s->end - s->position;
        int64_t seen = left < KS_BATCH_HEADER_BYTES ? left : KS_BATCH_HEADER_BYTES;
        return short_or_zeros(p, seen) == KS_ZEROS ? KS_ZEROS : status;
    }
    if (s->header.base_offset < s->next_offset || s->header.last_offset > s->last_offset_max) return KS_BAD_HEADER;
    if (s->dense && s->header.base_offset != s->next_offset) return KS_BAD_HEADER;
    if (s->header.leader_epoch < s->leader_epoch || leapt_falsely(s)) return KS_BAD_HEADER;
    return KS_OK;
}

/* The bytes behind a candidate agree that it is one: the file ends there, or a header that goes on from it follows.
 * Without this, a batch that some record carries as its value would be taken for a batch of the log. */
static int followed_well(const ks_scan *s)
{
    ks_batch_header next;
    int64_t behind = s->position + s->header.size_bytes;
    return behind == s->end || (header_at(s, behind, &next) && next.base_offset > s->header.last_offset &&
                                next.leader_epoch >= s->header.leader_epoch);
}

static int good_at(ks_scan *s, int64_t position)
{
    ks_batch_header header;
    s->position = position;
    if (!header_at(s, position, &header) || header.base_offset < s->next_offset ||
        header.last_offset > s->last_offset_max)
        return 0;
    s->effort_left -= header.size_bytes;
    return ks_scan_check(s) == KS_OK && followed_well(s);
}

void ks_scan_resync(ks_scan *s)
{
    const int64_t from = s->position;
    const int32_t dense = s->dense;
    ks_batch_header header;

    s->dense = 0; /* the offsets of the damaged batches are missing */
    /* Most damage leaves the length alone: then the next batch stands where the bad one says it ends. */
    if (header_at(s, from, &header)) {
        int64_t behind = from + header.size_bytes;
        if (behind == s->end || good_at(s, behind)) {
            s->position = behind;
            s->dense = dense;
            return;
        }
    }
    for (int64_t q = from + 1; q <= s->end - KS_BATCH_HEADER_BYTES && s->effort_left > 0; q++) {
        /* The magic byte is the rarest thing to match: memchr skips the rest at memory speed. */
        const unsigned char *magic = memchr(s->data + q + KS_BATCH_MAGIC_AT, 2,
                                            (size_t)(s->end - KS_BATCH_HEADER_BYTES + 1 - q));
        if (magic == NULL) break;
        q = (magic - s->data) - KS_BATCH_MAGIC_AT;
        if (good_at(s, q)) {
            s->dense = dense;
            return;
        }
    }
    s->position = s->end;
    s->dense = dense;
}

/* key: int16 version, int16 type. value of a transaction marker: int16 version, int32 coordinator epoch. */
void ks_control_record(const unsigned char *records, const unsigned char *end, int32_t *type,
                       int32_t *coordinator_epoch)
{
    const unsigned char *p = records;
    int64_t length, ignored, bytes;

    *type = *coordinator_epoch = -1;
    if (ks_read_varint(&p, end, &length) != KS_OK || length < 1 || length > end - p) return;
    end = p + length;
    p++; /* attributes of the record, unused */
    if (ks_read_varlong(&p, end, &ignored) != KS_OK || ks_read_varint(&p, end, &ignored) != KS_OK) return;
    if (ks_read_varint(&p, end, &bytes) != KS_OK || bytes < 4 || bytes > end - p) return;
    *type = (int16_t)ks_load_be16(p + 2);
    p += bytes;
    if (ks_read_varint(&p, end, &bytes) != KS_OK || bytes < 6 || bytes > end - p) return;
    *coordinator_epoch = (int32_t)ks_load_be32(p + 2);
}

const char *ks_scan_reason(ks_status status)
{
    switch (status) {
    case KS_OK: return "";
    case KS_SHORT: return "the file ends inside a batch";
    case KS_BAD_LENGTH: return "a length that no batch can have";
    case KS_BAD_MAGIC: return "not a record batch of magic 2";
    case KS_BAD_CRC: return "the checksum does not fit the bytes";
    case KS_BAD_HEADER: return "a batch header that contradicts itself or the batch before it";
    case KS_ZEROS: return "zero bytes where a batch should start";
    default: return "not a record batch";
    }
}
