"""The walk over the bytes of a message; see wire.h."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef extern from "wire.h":
    enum:
        KS_WIRE_BOOL
        KS_WIRE_INT8
        KS_WIRE_INT16
        KS_WIRE_UINT16
        KS_WIRE_INT32
        KS_WIRE_UINT32
        KS_WIRE_INT64
        KS_WIRE_FLOAT64
        KS_WIRE_UUID
        KS_WIRE_STRING
        KS_WIRE_BYTES
        KS_WIRE_RECORDS
        KS_WIRE_STRUCT
        KS_WIRE_ARRAY

    ctypedef enum ks_wire_status:
        KS_WIRE_OK

    ctypedef struct ks_wire_layout

    ctypedef struct ks_wire_field:
        const ks_wire_layout* items
        int32_t tag
        uint16_t slot
        uint8_t kind
        uint8_t item_kind
        uint8_t nullable
        uint8_t compact

    ctypedef struct ks_wire_layout:
        const ks_wire_field* fields
        uint32_t count
        uint32_t tagged
        uint32_t bytes_min
        uint8_t flexible
        uint8_t fixed

    ctypedef struct ks_wire_step:
        int32_t slot
        int64_t element

    ctypedef struct ks_wire_walk:
        int64_t elements_left
        const unsigned char* position
        int steps
        ks_wire_step path[16]

    void ks_wire_begin(ks_wire_walk* walk, int64_t elements_max) noexcept nogil
    ks_wire_status ks_wire_struct(const ks_wire_layout* layout, const unsigned char** p, const unsigned char* end,
                                  ks_wire_walk* walk) noexcept nogil
    ks_wire_status ks_wire_value(const ks_wire_field* field, const unsigned char** p, const unsigned char* end,
                                 ks_wire_walk* walk) noexcept nogil
    ks_wire_status ks_wire_length(const ks_wire_field* field, int kind, const unsigned char** p,
                                  const unsigned char* end, int64_t* length) noexcept nogil
    ks_wire_status ks_wire_uvarint(const unsigned char** p, const unsigned char* end, uint32_t* value) noexcept nogil
    uint32_t ks_wire_fixed_bytes(int kind) noexcept nogil
