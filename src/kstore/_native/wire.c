#include "wire.h"

#include "cursor.h"

static const uint8_t fixed_bytes[] = {
    [KS_WIRE_BOOL] = 1,   [KS_WIRE_INT8] = 1,  [KS_WIRE_INT16] = 2,   [KS_WIRE_UINT16] = 2, [KS_WIRE_INT32] = 4,
    [KS_WIRE_UINT32] = 4, [KS_WIRE_INT64] = 8, [KS_WIRE_FLOAT64] = 8, [KS_WIRE_UUID] = 16,  [KS_WIRE_ARRAY] = 0,
};

uint32_t ks_wire_fixed_bytes(int kind) { return kind <= KS_WIRE_UUID ? fixed_bytes[kind] : 0; }

void ks_wire_begin(ks_wire_walk *walk, int64_t elements_max)
{
    walk->elements_left = elements_max;
    walk->position = NULL;
    walk->depth = 0;
    walk->steps = 0;
}

static ks_wire_status fail(ks_wire_walk *walk, const unsigned char *position, ks_wire_status status)
{
    if (!walk->position) walk->position = position;
    return status;
}

static void add_step(ks_wire_walk *walk, int32_t slot, int64_t element)
{
    if (walk->steps == KS_WIRE_DEPTH_MAX) return;
    walk->path[walk->steps].slot = slot;
    walk->path[walk->steps++].element = element;
}

ks_wire_status ks_wire_uvarint(const unsigned char **p, const unsigned char *end, uint32_t *value)
{
    if (*p < end && **p < 0x80) { /* nearly all */
        *value = **p;
        *p += 1;
        return KS_WIRE_OK;
    }
    uint64_t wide;
    ks_status status = ks_read_leb128(p, end, 32, &wide);
    if (status != KS_OK) return status == KS_SHORT ? KS_WIRE_SHORT : KS_WIRE_VARINT;
    *value = (uint32_t)wide;
    return KS_WIRE_OK;
}

ks_wire_status ks_wire_length(const ks_wire_field *field, int kind, const unsigned char **p, const unsigned char *end,
                              int64_t *length)
{
    if (field->compact) {
        uint32_t more;
        ks_wire_status status = ks_wire_uvarint(p, end, &more);
        if (status == KS_WIRE_OK) *length = (int64_t)more - 1;
        return status;
    }
    int width = kind == KS_WIRE_STRING ? 2 : 4;
    if (end - *p < width) return KS_WIRE_SHORT;
    *length = width == 2 ? (int16_t)ks_load_be16(*p) : (int32_t)ks_load_be32(*p);
    if (*length < -1) return KS_WIRE_LENGTH;
    *p += width;
    return KS_WIRE_OK;
}

int ks_wire_utf8(const unsigned char *p, const unsigned char *end)
{
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8) {
            memcpy(&eight, p, 8);
            if (!(eight & 0x8080808080808080u)) {
                p += 8;
                continue;
            }
        }
        unsigned first = *p++;
        if (first < 0x80) continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || end - p < more) return 0;
        /* The second byte rules out padded forms, surrogates and what lies above U+10FFFF. */
        unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (*p < low || *p > high) return 0;
        for (int i = 1; i < more; i++)
            if ((p[i] & 0xc0) != 0x80) return 0;
        p += more;
    }
    return 1;
}

/* A string, bytes or records: the length, then that many bytes. */
static ks_wire_status walk_sized(const ks_wire_field *field, int kind, int nullable, const unsigned char **p,
                                 const unsigned char *end, ks_wire_walk *walk)
{
    const unsigned char *q = *p;
    int64_t length;
    ks_wire_status status = ks_wire_length(field, kind, &q, end, &length);
    if (status != KS_WIRE_OK) return fail(walk, *p, status);
    if (length < 0) {
        if (!nullable) return fail(walk, *p, KS_WIRE_NULL);
        length = 0;
    }
    if (length > end - q) return fail(walk, *p, KS_WIRE_SHORT);
    if (kind == KS_WIRE_STRING && !ks_wire_utf8(q, q + length)) return fail(walk, q, KS_WIRE_UTF8);
    *p = q + length;
    return KS_WIRE_OK;
}

static uint32_t item_bytes_min(const ks_wire_field *field)
{
    if (field->item_kind == KS_WIRE_STRUCT) return field->items->bytes_min;
    uint32_t fixed = ks_wire_fixed_bytes(field->item_kind);
    return fixed ? fixed : field->compact ? 1 : field->item_kind == KS_WIRE_STRING ? 2 : 4;
}

static ks_wire_status walk_array(const ks_wire_field *field, const unsigned char **p, const unsigned char *end,
                                 ks_wire_walk *walk)
{
    const unsigned char *q = *p;
    int64_t count;
    ks_wire_status status = ks_wire_length(field, KS_WIRE_ARRAY, &q, end, &count);
    if (status != KS_WIRE_OK) return fail(walk, *p, status);
    if (count < 0) {
        if (!field->nullable) return fail(walk, *p, KS_WIRE_NULL);
        count = 0;
    }
    uint32_t bytes_min = item_bytes_min(field);
    if (count > (end - q) / bytes_min) return fail(walk, *p, KS_WIRE_SHORT);
    if (count > walk->elements_left) return fail(walk, *p, KS_WIRE_ELEMENTS);
    walk->elements_left -= count;
    int is_struct = field->item_kind == KS_WIRE_STRUCT;
    if (is_struct ? field->items->fixed : ks_wire_fixed_bytes(field->item_kind) > 0) {
        *p = q + count * bytes_min;
        return KS_WIRE_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        status = is_struct ? ks_wire_struct(field->items, &q, end, walk)
                           : walk_sized(field, field->item_kind, 0, &q, end, walk);
        if (status != KS_WIRE_OK) {
            add_step(walk, field->slot, i);
            return status;
        }
    }
    *p = q;
    return KS_WIRE_OK;
}

/* A struct that may be null opens with a byte: -1 for null. */
static ks_wire_status walk_nested(const ks_wire_field *field, const unsigned char **p, const unsigned char *end,
                                  ks_wire_walk *walk)
{
    const unsigned char *q = *p;
    if (field->nullable) {
        if (q >= end) return fail(walk, q, KS_WIRE_SHORT);
        if ((int8_t)*q++ < 0) {
            *p = q;
            return KS_WIRE_OK;
        }
    }
    ks_wire_status status = ks_wire_struct(field->items, &q, end, walk);
    if (status == KS_WIRE_OK) *p = q;
    return status;
}

/* Reports its own field in the path; elements of arrays are reported by walk_array. */
ks_wire_status ks_wire_value(const ks_wire_field *field, const unsigned char **p, const unsigned char *end,
                             ks_wire_walk *walk)
{
    ks_wire_status status;
    int steps = walk->steps;
    if (field->kind <= KS_WIRE_UUID) {
        uint32_t size = fixed_bytes[field->kind];
        if (end - *p >= (int64_t)size) {
            *p += size;
            return KS_WIRE_OK;
        }
        status = fail(walk, *p, KS_WIRE_SHORT);
    } else if (field->kind == KS_WIRE_ARRAY) {
        status = walk_array(field, p, end, walk);
        if (status == KS_WIRE_OK || walk->steps > steps) return status;
    } else if (field->kind == KS_WIRE_STRUCT) {
        status = walk_nested(field, p, end, walk);
    } else {
        status = walk_sized(field, field->kind, field->nullable, p, end, walk);
    }
    if (status != KS_WIRE_OK) add_step(walk, field->slot, -1);
    return status;
}

static ks_wire_status walk_tagged(const ks_wire_layout *layout, const unsigned char **p, const unsigned char *end,
                                  ks_wire_walk *walk)
{
    const unsigned char *q = *p;
    uint32_t count, tag, size;
    ks_wire_status status = ks_wire_uvarint(&q, end, &count);
    if (status != KS_WIRE_OK) return fail(walk, *p, status);
    if (count > (end - q) / 2) return fail(walk, *p, KS_WIRE_SHORT); /* a tag and a size take two bytes */
    const ks_wire_field *known = layout->fields + layout->count, *known_end = known + layout->tagged;
    int64_t last = -1;
    for (; count; count--) {
        const unsigned char *start = q;
        if ((status = ks_wire_uvarint(&q, end, &tag)) != KS_WIRE_OK) return fail(walk, start, status);
        if (tag <= last) return fail(walk, start, KS_WIRE_TAG_ORDER);
        last = tag;
        if ((status = ks_wire_uvarint(&q, end, &size)) != KS_WIRE_OK) return fail(walk, start, status);
        if (size > end - q) return fail(walk, start, KS_WIRE_SHORT);
        if (size > KS_WIRE_TAGGED_BYTES_MAX) return fail(walk, start, KS_WIRE_TAG_SIZE);
        const unsigned char *field_end = q + size;
        while (known < known_end && known->tag < last) known++;
        if (known < known_end && known->tag == last) {
            if ((status = ks_wire_value(known, &q, field_end, walk)) != KS_WIRE_OK) return status;
            if (q != field_end) {
                add_step(walk, known->slot, -1);
                return fail(walk, q, KS_WIRE_TAG_SIZE);
            }
        }
        q = field_end;
    }
    *p = q;
    return KS_WIRE_OK;
}

ks_wire_status ks_wire_struct(const ks_wire_layout *layout, const unsigned char **p, const unsigned char *end,
                              ks_wire_walk *walk)
{
    const unsigned char *q = *p;
    if (layout->fixed) {
        if (end - q >= layout->bytes_min) {
            *p = q + layout->bytes_min;
            return KS_WIRE_OK;
        } /* else the fields tell which of them is missing */
    }
    if (walk->depth == KS_WIRE_DEPTH_MAX) return fail(walk, q, KS_WIRE_DEPTH);
    walk->depth++;
    const ks_wire_field *field = layout->fields, *fields_end = field + layout->count;
    ks_wire_status status = KS_WIRE_OK;
    for (; field < fields_end && status == KS_WIRE_OK; field++) status = ks_wire_value(field, &q, end, walk);
    if (status == KS_WIRE_OK && layout->flexible) status = walk_tagged(layout, &q, end, walk);
    walk->depth--;
    if (status == KS_WIRE_OK) *p = q;
    return status;
}
