/* WIRE: one walk over the bytes of a Kafka message, by the layout of its version.
 *
 * Owns the check that every message from a peer passes before a Python object is made of it, and the primitives that
 * readers step with afterwards. Knows no message: `wire_layout` builds layouts from the tables of kstore.wire.
 *
 *   1. Nothing is read past `end`, and nothing is allocated: a length or count is compared with the bytes that are
 *      left before it is believed.
 *   2. Bytes that pass once pass again: a reader may take them without looking back.
 *   3. The elements of all arrays together stay within the walk's budget.
 *
 * Formats are those of KIP-482 and org.apache.kafka.common.protocol.types.Type. Where Kafka reads any negative length
 * as null, this takes -1 only. Lengths in padded varints are read as Kafka reads them, up to five bytes. */
#ifndef KSTORE_WIRE_H
#define KSTORE_WIRE_H

#include <stdint.h>

enum {
    KS_WIRE_BOOL = 0,
    KS_WIRE_INT8 = 1,
    KS_WIRE_INT16 = 2,
    KS_WIRE_UINT16 = 3,
    KS_WIRE_INT32 = 4,
    KS_WIRE_UINT32 = 5,
    KS_WIRE_INT64 = 6,
    KS_WIRE_FLOAT64 = 7,
    KS_WIRE_UUID = 8,
    KS_WIRE_STRING = 9,
    KS_WIRE_BYTES = 10,
    KS_WIRE_RECORDS = 11,
    KS_WIRE_STRUCT = 12,
    KS_WIRE_ARRAY = 13
};

enum {
    KS_WIRE_DEPTH_MAX = 16,              /* structs within structs; Kafka's deepest message has five */
    KS_WIRE_TAGGED_BYTES_MAX = 128 * 1024 /* of one tagged field; the largest that Kafka has lists the brokers */
};

typedef enum ks_wire_status {
    KS_WIRE_OK = 0,
    KS_WIRE_SHORT = 1,      /* the bytes end inside a value, or a length is larger than what is left */
    KS_WIRE_LENGTH = 2,     /* a length or count below -1 */
    KS_WIRE_NULL = 3,       /* null where the version has no null */
    KS_WIRE_VARINT = 4,     /* more than 32 bits */
    KS_WIRE_UTF8 = 5,
    KS_WIRE_ELEMENTS = 6,   /* more elements than the budget */
    KS_WIRE_TAG_ORDER = 7,  /* tags that repeat or go down */
    KS_WIRE_TAG_SIZE = 8,   /* a known tagged field that does not fill its size, or any above the cap */
    KS_WIRE_DEPTH = 9
} ks_wire_status;

typedef struct ks_wire_layout ks_wire_layout;

typedef struct ks_wire_field {
    const ks_wire_layout *items; /* of a struct, or of an array of structs */
    int32_t tag;                 /* -1: not tagged */
    uint16_t slot;               /* place in the table of the struct */
    uint8_t kind;
    uint8_t item_kind; /* of an array */
    uint8_t nullable;
    uint8_t compact; /* lengths are varints, one more than the value */
} ks_wire_field;

struct ks_wire_layout {
    const ks_wire_field *fields; /* `count` untagged in the order of the bytes, then `tagged` in the order of tags */
    uint32_t count;
    uint32_t tagged;
    uint32_t bytes_min; /* no instance takes fewer; at least 1 */
    uint8_t flexible;   /* ends with tagged fields */
    uint8_t fixed;      /* every instance takes bytes_min, and any bytes are right */
};

typedef struct ks_wire_step {
    int32_t slot;
    int64_t element; /* -1: the field itself, not an element of it */
} ks_wire_step;

typedef struct ks_wire_walk {
    int64_t elements_left;
    const unsigned char *position; /* where it failed */
    int depth;
    int steps; /* of the path to the failing field, innermost first */
    ks_wire_step path[KS_WIRE_DEPTH_MAX];
} ks_wire_walk;

void ks_wire_begin(ks_wire_walk *walk, int64_t elements_max);

/* Walks one struct, one field of it, or the array behind a count that was read. `*p` moves only on KS_WIRE_OK. */
ks_wire_status ks_wire_struct(const ks_wire_layout *layout, const unsigned char **p, const unsigned char *end,
                              ks_wire_walk *walk);
ks_wire_status ks_wire_value(const ks_wire_field *field, const unsigned char **p, const unsigned char *end,
                             ks_wire_walk *walk);

/* A length or count in either form; -1 for null. */
ks_wire_status ks_wire_length(const ks_wire_field *field, int kind, const unsigned char **p, const unsigned char *end,
                              int64_t *length);
ks_wire_status ks_wire_uvarint(const unsigned char **p, const unsigned char *end, uint32_t *value);

/* Bytes of a kind that has always as many; 0 for the others. */
uint32_t ks_wire_fixed_bytes(int kind);

/* Whether the bytes are UTF-8 as RFC 3629 has it: no surrogates, no padding, nothing above U+10FFFF. */
int ks_wire_utf8(const unsigned char *p, const unsigned char *end);

#endif
