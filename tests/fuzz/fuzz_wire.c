/* The walk over a message, by a layout that the input draws too: it stays inside, and what passed once passes again. */
#include "fuzz.h"
#include "wire.h"

enum { FIELDS = 6, LEVELS = 3, ELEMENTS_MAX = 5000 };

static uint32_t field_bytes_min(const ks_wire_field *field)
{
    uint32_t fixed = ks_wire_fixed_bytes(field->kind);
    if (fixed) return fixed;
    if (field->kind == KS_WIRE_STRUCT) return field->nullable ? 1 : field->items->bytes_min;
    return field->compact ? 1 : field->kind == KS_WIRE_STRING ? 2 : 4;
}

/* One level: kinds from the input, structs of the level below, the last fields tagged where the level is flexible. */
static void draw(ks_wire_layout *layout, ks_wire_field *fields, const ks_wire_layout *below, const unsigned char *bits)
{
    int flexible = bits[0] & 1;
    uint32_t tagged = flexible ? (bits[0] >> 1) % 3 : 0;
    *layout = (ks_wire_layout){.fields = fields, .count = FIELDS - tagged, .tagged = tagged, .bytes_min = flexible,
                               .flexible = flexible, .fixed = !flexible};
    for (uint32_t i = 0; i < FIELDS; i++) {
        unsigned char one = bits[1 + i];
        int kind = one % (below ? 14 : 12), item = (one >> 4) % (below ? 13 : 12);
        fields[i] = (ks_wire_field){.slot = i, .kind = kind, .item_kind = item, .nullable = one >> 7,
                                    .compact = flexible, .tag = i < layout->count ? -1 : (int32_t)i,
                                    .items = below};
        if (i >= layout->count) continue;
        layout->bytes_min += field_bytes_min(&fields[i]);
        if (!ks_wire_fixed_bytes(kind)) layout->fixed = 0;
    }
    if (!layout->bytes_min) layout->bytes_min = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ks_wire_field fields[LEVELS][FIELDS];
    static ks_wire_layout layouts[LEVELS];
    const size_t drawn = LEVELS * (FIELDS + 1);
    if (size < drawn || size > 1 << 14) return 0;
    for (int i = 0; i < LEVELS; i++) draw(&layouts[i], fields[i], i ? &layouts[i - 1] : NULL, data + i * (FIELDS + 1));

    unsigned char *copy = exact_copy(data + drawn, size - drawn);
    const unsigned char *end = copy + (size - drawn), *p = copy, *again = copy;
    ks_wire_walk walk;
    ks_wire_begin(&walk, ELEMENTS_MAX);
    ks_wire_status status = ks_wire_struct(&layouts[LEVELS - 1], &p, end, &walk);
    MUST(walk.elements_left >= 0 && walk.elements_left <= ELEMENTS_MAX);
    if (status == KS_WIRE_OK) {
        MUST(p > copy && p <= end);
        ks_wire_begin(&walk, ELEMENTS_MAX);
        MUST(ks_wire_struct(&layouts[LEVELS - 1], &again, p, &walk) == KS_WIRE_OK && again == p);
    } else {
        MUST(p == copy);
        MUST(walk.position >= copy && walk.position <= end && walk.steps <= KS_WIRE_DEPTH_MAX);
    }
    free(copy);
    return 0;
}
