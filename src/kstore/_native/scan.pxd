"""SCAN: walks over the batches of a log. See scan.h for the rules, scan.pyx for the objects."""

from libc.stdint cimport int32_t, int64_t

from kstore._native.batch cimport ks_batch_header
from kstore._native.status cimport ks_status


cdef extern from "scan.h" nogil:
    ctypedef struct ks_range:
        int64_t position
        int64_t end_position
        int64_t first_offset
        int64_t next_offset
    ctypedef enum ks_walk_result:
        KS_WALK_FOUND
        KS_WALK_END
        KS_WALK_MORE
        KS_WALK_BAD
        KS_WALK_QUARANTINED
    ctypedef struct ks_walk:
        const unsigned char* window
        int64_t window_position
        int64_t window_end
        int64_t end
        int64_t position
        int64_t last_position
        int64_t next_offset
        int64_t exact_offset
        int32_t dense
        const ks_range* bad
        size_t bad_count
        ks_status status
        ks_batch_header header
    ks_walk_result ks_walk_peek(ks_walk* w)
    void ks_walk_step(ks_walk* w)
    ks_walk_result ks_walk_to_offset(ks_walk* w, int64_t offset)
    ks_walk_result ks_walk_to_timestamp(ks_walk* w, int64_t timestamp)
    ks_walk_result ks_walk_to_position(ks_walk* w, int64_t stop)
    ctypedef struct ks_scan:
        const unsigned char* data
        int64_t end
        int64_t position
        int64_t next_offset
        int64_t last_offset_max
        int32_t leader_epoch
        int32_t dense
        int64_t effort_left
        ks_batch_header header
    enum:
        KS_RESYNC_EFFORT
    int64_t ks_last_offset_max(int64_t base_offset)
    ks_status ks_scan_check(ks_scan* s)
    void ks_scan_step(ks_scan* s)
    void ks_scan_resync(ks_scan* s)
    void ks_control_record(const unsigned char* records, const unsigned char* end, int32_t* type,
                           int32_t* coordinator_epoch)
    const char* ks_scan_reason(ks_status status)


# The row of a batch for the producers' states, None when it moves none; `batch` is where the parsed batch begins.
cdef object producer_row(const ks_batch_header* h, const unsigned char* batch)
