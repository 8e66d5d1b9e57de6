"""RECORD: see record.h for the rules and records.pyx for the objects."""

from libc.stdint cimport int64_t

from kstore._native.batch cimport AppendInfo, ks_batch_header
from kstore._native.status cimport ks_status

cdef extern from "cursor.h" nogil:
    int ks_varint_bytes(int64_t value)
    unsigned char* ks_write_varint(unsigned char* p, int64_t value)
    void ks_store_be16(unsigned char* p, unsigned short v)
    void ks_store_be32(unsigned char* p, unsigned int v)
    void ks_store_be64(unsigned char* p, unsigned long long v)

cdef extern from "record.h" nogil:
    ctypedef struct ks_record:
        int64_t timestamp_delta
        int64_t offset_delta
        const unsigned char* start
        const unsigned char* key
        const unsigned char* value
        const unsigned char* headers
        const unsigned char* end
        int64_t key_bytes
        int64_t value_bytes
        int64_t headers_count
    ctypedef struct ks_record_header:
        const unsigned char* key
        const unsigned char* value
        int64_t key_bytes
        int64_t value_bytes
    ctypedef struct ks_columns:
        int64_t* offsets
        int64_t* timestamps
        int64_t* key_starts
        int64_t* key_ends
        int64_t* value_starts
        int64_t* value_ends
    ks_status ks_record_read(const unsigned char** p, const unsigned char* end, ks_record* r)
    ks_status ks_header_read(const unsigned char** p, const unsigned char* end, ks_record_header* h)
    ks_status ks_records_check(const unsigned char* p, const unsigned char* end, int64_t count)
    ks_status ks_records_columns(const unsigned char* p, const unsigned char* end, int64_t count,
                                 const unsigned char* base, int64_t base_offset, int64_t base_timestamp,
                                 const int64_t* append_time, int64_t at, const ks_columns* out)


cdef class Record:
    cdef readonly object key
    cdef readonly object value
    cdef readonly object headers            # tuple of (str, bytes or None)
    cdef readonly long long offset
    cdef readonly object timestamp_ms       # None: to be stamped when appended
    cdef readonly long long producer_id
    cdef readonly int producer_epoch
    cdef readonly int sequence
    cdef readonly int leader_epoch
    cdef readonly int attributes            # of its batch


cdef Record make_record(const ks_record* r, const ks_batch_header* h)


cdef class Encoder:
    cdef unsigned char* data
    cdef size_t room
    cdef size_t used
    cdef size_t batch_at                    # where the batch being built starts
    cdef long long count, first_timestamp, max_timestamp
    cdef AppendInfo info
    cdef long long base_offset, producer_id, batch_bytes_max
    cdef int leader_epoch, producer_epoch, base_sequence, codec, attributes
    cdef object level

    cdef int reserve(self, size_t more) except -1
    cdef int begin(self) except -1
    cdef int fits(self, size_t record_bytes) except -1
    cdef int finish(self) except -1
    cdef int add_value(self, const unsigned char* value, Py_ssize_t length, long long timestamp) except -1
    cdef int add(self, object key, object value, object headers, long long timestamp) except -1
