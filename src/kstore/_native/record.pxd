"""RECORD: one record in C and as an object; see record.h for the bytes and record.pyx for the rules."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t

from kstore._native.batch cimport BatchHeader, ks_batch_header
from kstore._native.status cimport ks_status


cdef extern from "record.h" nogil:
    enum:
        KS_RECORD_OVERHEAD_BYTES_MAX

    ctypedef struct ks_record:
        const unsigned char* start
        const unsigned char* end
        const unsigned char* key
        int64_t key_size
        const unsigned char* value
        int64_t value_size
        const unsigned char* headers
        int64_t headers_count
        int64_t timestamp_delta
        int64_t offset_delta

    ctypedef struct ks_record_header:
        const unsigned char* key
        int64_t key_size
        const unsigned char* value
        int64_t value_size

    ctypedef struct ks_columns:
        const unsigned char* origin
        int64_t* offsets
        int64_t* timestamps
        int64_t* key_starts
        int64_t* key_ends
        int64_t* value_starts
        int64_t* value_ends

    ks_status ks_record_read(const unsigned char** p, const unsigned char* end, ks_record* record)
    ks_status ks_record_header_read(const unsigned char** p, const unsigned char* end, ks_record_header* header)
    ks_status ks_records_columns(const unsigned char* p, const unsigned char* end, const ks_batch_header* header,
                                 ks_columns* columns)
    bint ks_delta_fits(int64_t delta, int64_t last_delta, const ks_batch_header* header)
    int64_t ks_record_timestamp(const ks_batch_header* header, int64_t delta)


cdef class Record:                       # final; immutable
    cdef readonly object value           # bytes or None (a tombstone)
    cdef readonly object key             # bytes or None
    cdef readonly tuple headers          # of (str, bytes or None)
    cdef readonly BatchHeader batch      # None for a record that was not read from a batch
    cdef readonly long long offset       # -1 as long as no log gave it one
    cdef readonly int size_bytes         # as stored in its (unpacked) batch; -1 when not read from one
    cdef bint has_timestamp
    cdef long long timestamp
    cdef int offset_delta


cdef inline object bytes_or_none(const unsigned char* data, int64_t size):
    return None if size < 0 else PyBytes_FromStringAndSize(<const char*>data, size)


cdef Record make_record(const ks_record* read, BatchHeader batch)
cdef object as_bytes(object data, str what)
cdef bytes pack_headers(object headers)
