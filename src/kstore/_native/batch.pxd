"""BATCH: headers and walks in C, and their objects; see batch.h, record.h and batch.pyx for the rules."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t

from kstore._native.status cimport ks_status


cdef extern from "batch.h" nogil:
    enum:
        KS_BATCH_OVERHEAD_BYTES
        KS_BATCH_MAGIC_AT
        KS_BATCH_CRC_AT
        KS_BATCH_ATTRIBUTES_AT
        KS_BATCH_HEADER_BYTES
        KS_RECORD_BYTES_MIN
        KS_CODEC_MASK
        KS_CODEC_MAX
        KS_UNPACKED_BYTES_MAX
        KS_LOG_APPEND_TIME
        KS_TRANSACTIONAL
        KS_CONTROL
        KS_DELETE_HORIZON
        KS_RESERVED_BITS
        KS_HAS_PRODUCER
        KS_HAS_TRANSACTIONAL
        KS_HAS_CONTROL
        KS_HAS_LOG_APPEND_TIME
        KS_HAS_HORIZON
        KS_NOT_CONTIGUOUS

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
        uint16_t attributes
        int16_t producer_epoch

    ctypedef struct ks_append_info:
        int64_t batches
        int64_t records
        int64_t size_bytes
        int64_t offsets
        int64_t first_offset
        int64_t next_offset
        int64_t max_timestamp
        int64_t largest_batch_bytes
        int32_t codecs
        int32_t flags
        int32_t last_leader_epoch

    ks_status ks_batch_header_parse(const unsigned char* p, const unsigned char* end, ks_batch_header* header)
    ks_status ks_batch_parse(const unsigned char* p, const unsigned char* end, ks_batch_header* header)
    ks_status ks_batch_check(const unsigned char* p, const unsigned char* end, ks_batch_header* header)
    int ks_batch_is_clients(const ks_batch_header* header)
    void ks_append_count(ks_append_info* info, const ks_batch_header* header)
    void ks_batch_stamp(unsigned char* batch, int64_t base_offset, int32_t leader_epoch)
    void ks_batch_finish(unsigned char* batch, const ks_batch_header* header)
    void ks_batch_set_log_append_time(unsigned char* batch, int64_t size_bytes, int64_t timestamp)
    const char* ks_batch_reason(ks_status status)


cdef extern from "record.h" nogil:
    enum:
        KS_BAD_CLIENT
    ks_status ks_records_check(const unsigned char* p, const unsigned char* end, const ks_batch_header* header,
                               int strict)
    int ks_batches_check(const unsigned char* p, const unsigned char* end, int client, int64_t walk_bytes_max,
                         ks_append_info* info, const unsigned char** bad)
    int32_t ks_sequence_add(int32_t base_sequence, int64_t delta)


cdef class BatchHeader:                  # final; immutable
    cdef ks_batch_header fields
    cdef readonly long long position     # byte of the batch in the buffer, or in the file, that was walked


cdef class AppendInfo:                   # final; immutable
    cdef readonly long long batches
    cdef readonly long long records
    cdef readonly long long size_bytes
    cdef readonly long long offsets
    cdef readonly long long first_offset
    cdef readonly long long next_offset
    cdef readonly long long max_timestamp_ms
    cdef readonly long long largest_batch_bytes
    cdef readonly int codecs
    cdef readonly int flags
    cdef readonly int last_leader_epoch


cdef enum:
    PIECES_MAX = 16


cdef class Pieces:
    cdef int apart                       # how many pieces; 0: what there is lies in one piece, the buffer
    cdef const unsigned char* piece[PIECES_MAX]
    cdef Py_ssize_t piece_bytes[PIECES_MAX]


cdef AppendInfo check_apart(Pieces pieces, records)
cdef BatchHeader batch_header(const ks_batch_header* fields, long long position)
cdef AppendInfo info_object(const ks_append_info* info)
