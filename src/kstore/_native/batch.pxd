"""BATCH: record batch headers; see batch.h for the rules and batch.pyx for the objects."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

from kstore._native.status cimport ks_status

cdef extern from "batch.h" nogil:
    enum:
        KS_BATCH_OVERHEAD_BYTES
        KS_BATCH_MAGIC_AT
        KS_BATCH_ATTRIBUTES_AT
        KS_BATCH_HEADER_BYTES
        KS_CODEC_MASK
        KS_LOG_APPEND_TIME
        KS_TRANSACTIONAL
        KS_CONTROL
        KS_DELETE_HORIZON
        KS_ATTRIBUTES_KNOWN
    ctypedef struct ks_batch_header:
        int64_t base_offset
        int64_t last_offset
        int64_t size_bytes
        int64_t base_timestamp
        int64_t max_timestamp
        int64_t producer_id
        int32_t leader_epoch
        int32_t last_offset_delta
        int32_t base_sequence
        int32_t records_count
        uint32_t crc
        int16_t attributes
        int16_t producer_epoch
    ks_status ks_batch_header_parse(const unsigned char* p, const unsigned char* end, ks_batch_header* h)
    ks_status ks_batch_parse(const unsigned char* p, const unsigned char* end, ks_batch_header* h)
    ks_status ks_batch_check(const unsigned char* p, const unsigned char* end, ks_batch_header* h)
    void ks_batch_stamp(unsigned char* p, int64_t base_offset, int32_t leader_epoch)
    void ks_batch_set_log_append_time(unsigned char* p, const ks_batch_header* h, int64_t timestamp_ms)


cdef class AppendInfo:
    cdef readonly int batches
    cdef readonly long long records
    cdef readonly long long size_bytes
    cdef readonly long long offsets              # sum of last_offset_delta + 1: what an append takes
    cdef readonly long long first_offset         # as found in the buffer
    cdef readonly long long next_offset
    cdef readonly long long max_timestamp_ms
    cdef readonly long long largest_batch_bytes
    cdef readonly int codecs                     # bit mask by codec id
    cdef readonly int flags
    cdef readonly int last_leader_epoch

    cdef void count(self, const ks_batch_header* h) noexcept nogil


cdef class BatchHeader:
    cdef readonly long long position
    cdef ks_batch_header h


cdef BatchHeader batch_header(const ks_batch_header* h, long long position)
