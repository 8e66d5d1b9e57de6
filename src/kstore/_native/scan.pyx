# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""SCAN: what a full reading of a log file finds.

Owns the reading of every batch with its checksum: for recovery (stop at the first bad batch, rebuild the
indexes, report producers and epochs) and for verification (go on behind damage, report what is good and what
is bad). It must not know paths, handles or what is done about a finding: `segment` brings the bytes, `log`
cuts, quarantines and repairs.

Invariants
  1. A batch counts as good only if its checksum fits, its offsets go on from the batch before and its epoch
     does not go down; a run of zeros is never a batch.
  2. Indexes are rebuilt by the same `Indexes.count_batch` that appends use, so they come out byte for byte.
  3. The work behind damage is bounded whatever the bytes are: KS_RESYNC_EFFORT in scan.h.
"""

from typing import NamedTuple

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint32_t

from kstore import limits
from kstore.errors import InvalidBatch
from kstore._native.batch cimport (
    KS_BATCH_HEADER_BYTES, KS_CODEC_MASK, KS_CONTROL, KS_TRANSACTIONAL, ks_batch_header, ks_batch_parse,
)
from kstore._native.crc32c cimport ks_crc32c
from kstore._native.index cimport Indexes
from kstore._native.status cimport KS_OK, ks_status

cdef enum:
    DIGEST_BYTES = 21
    KS_ABORT = 0     # Kafka's ControlRecordType: those that end a transaction
    KS_COMMIT = 1

cdef long long INT32_MAX = limits.INT32_MAX


class ProducerBatch(NamedTuple):
    """A batch that moves a producer's state: one with a producer id, data or a marker. Offsets and sequences are
    inclusive."""

    base_offset: int
    last_offset: int
    producer_id: int
    producer_epoch: int
    base_sequence: int  # -1: none
    last_sequence: int  # wraps from 2^31 - 1 to 0, so it may be below base_sequence
    transactional: bool
    control_type: str | None  # None: data; "commit" or "abort": the marker that ends a transaction
    coordinator_epoch: int  # of a marker, else -1
    timestamp_ms: int  # the batch's largest


class Range(NamedTuple):
    """Bytes `[position, end_position)` of a log file, offsets `[first_offset, next_offset)`."""

    position: int
    end_position: int
    first_offset: int
    next_offset: int
    reason: str = ""


class Recovered(NamedTuple):
    """What recovery found from `position` on; the log is good up to `end_position`."""

    position: int
    end_position: int
    file_size_bytes: int
    next_offset: int
    status: int  # 0 when the file was read to its end, else the ks_status of the batch at `end_position`
    reason: str
    batches: int
    records: int
    max_timestamp_ms: int
    max_timestamp_offset: int
    last_leader_epoch: int
    # Running digest up to `end_position`; None when the scan began behind the start without one.
    header_digest: int | None
    epochs: list  # `(leader_epoch, start_offset)` as they rise in the scanned part
    producer_batches: list  # `ProducerBatch`es


class Scan(NamedTuple):
    """Every stretch of a log file, good and bad, in order."""

    good: list
    bad: list
    size_bytes: int
    next_offset: int
    batches: int
    records: int
    header_digest: int  # Over the good batches; says something about the segment only when nothing is bad


cdef object producer_row(const ks_batch_header* h, const unsigned char* batch):
    cdef int32_t control_type = -1, coordinator_epoch = -1
    cdef long long last_sequence = h.base_sequence
    cdef object marker = None
    if h.producer_id < 0:
        return None
    if h.attributes & KS_CONTROL:
        if not h.attributes & KS_CODEC_MASK:          # nobody compresses a marker
            ks_control_record(batch + KS_BATCH_HEADER_BYTES, batch + h.size_bytes, &control_type, &coordinator_epoch)
        if control_type != KS_ABORT and control_type != KS_COMMIT:
            return None
        marker = "commit" if control_type == KS_COMMIT else "abort"
    elif h.base_sequence >= 0:
        last_sequence += h.last_offset_delta
        if last_sequence > INT32_MAX:                 # sequences wrap from 2^31 - 1 to 0
            last_sequence -= INT32_MAX + 1
    # Straight to the tuple: the class's own constructor is Python and takes longer than the batch's checksum.
    return tuple.__new__(ProducerBatch, (
        h.base_offset, h.last_offset, h.producer_id, h.producer_epoch, h.base_sequence, last_sequence,
        (h.attributes & KS_TRANSACTIONAL) != 0, marker, coordinator_epoch, h.max_timestamp))


def producer_batch(batch, long long base_offset=-1):
    """The `ProducerBatch` of one encoded batch, at `base_offset` if that is given; None when it moves no producer's
    state. No checksum is read. Raises `InvalidBatch`.

    None are batches without a producer id, control batches of other kinds, and those without a record: the cleaner
    took the marker, because the whole transaction is gone.
    """
    cdef Py_buffer view
    cdef ks_batch_header header
    cdef ks_status status
    PyObject_GetBuffer(batch, &view, PyBUF_SIMPLE)
    try:
        status = ks_batch_parse(<const unsigned char*>view.buf, <const unsigned char*>view.buf + view.len, &header)
        if status != KS_OK:
            raise InvalidBatch(ks_scan_reason(status).decode())
        if base_offset >= 0:
            header.base_offset = base_offset
            header.last_offset = base_offset + header.last_offset_delta
        return producer_row(&header, <const unsigned char*>view.buf)
    finally:
        PyBuffer_Release(&view)


def recover(source, long long position, long long next_offset, Indexes indexes, *, int leader_epoch=-1,
            bint dense=False, header_digest=None, quarantine=(), long long source_position=0):
    """Check every batch of `source` from `position` to the first bad one; index them into `indexes`.

    `source` is the file from byte `source_position` to its end. Bytes that start a `Range` of `quarantine` are known
    to be bad and jumped over.
    """
    cdef Py_buffer view
    cdef ks_scan scan
    cdef ks_status status = KS_OK
    cdef uint32_t digest = header_digest if header_digest is not None else 0
    cdef bint digest_known = header_digest is not None or position == 0
    cdef long long batches = 0, records = 0
    cdef list epochs = [], producers = []
    cdef dict known = {bad.position: bad for bad in quarantine}
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    scan.data = <const unsigned char*>view.buf
    scan.end = view.len
    scan.position = position - source_position            # inside `source`, until the end
    scan.next_offset = next_offset
    scan.last_offset_max = ks_last_offset_max(indexes.offsets.base_offset)
    scan.leader_epoch = leader_epoch
    scan.dense = dense
    try:
        with nogil:
            while scan.position < scan.end:
                status = ks_scan_check(&scan)
                if status != KS_OK:
                    with gil:
                        bad = known.get(source_position + scan.position)
                        if bad is None or bad.end_position > source_position + scan.end:
                            break
                        scan.position, scan.next_offset = bad.end_position - source_position, bad.next_offset
                        digest_known = False             # nobody knows what the bytes jumped over were
                        status = KS_OK
                        continue
                batches += 1
                records += scan.header.records_count
                digest = ks_crc32c(digest, scan.data + scan.position, DIGEST_BYTES)
                indexes.count_batch(source_position + scan.position, scan.header.size_bytes,
                                    scan.header.last_offset, scan.header.max_timestamp)
                if scan.header.leader_epoch != scan.leader_epoch:
                    with gil:
                        epochs.append((scan.header.leader_epoch, scan.header.base_offset))
                if scan.header.producer_id >= 0:
                    with gil:
                        row = producer_row(&scan.header, scan.data + scan.position)
                        if row is not None:
                            producers.append(row)
                ks_scan_step(&scan)
    finally:
        PyBuffer_Release(&view)
    indexes.force_last_time()
    return Recovered(position, source_position + scan.position, source_position + view.len, scan.next_offset,
                     <int>status, ks_scan_reason(status).decode(), batches, records, indexes.cadence.max_timestamp,
                     indexes.cadence.max_timestamp_offset, scan.leader_epoch, digest if digest_known else None,
                     epochs, producers)


def examine(source, long long base_offset, *, long long end_offset=-1, bint dense=False):
    """Check every batch of `source` (the whole file), going on behind damage. `end_offset`: where the next
    segment begins, -1 when there is none."""
    cdef Py_buffer view
    cdef ks_scan scan
    cdef ks_status status
    cdef uint32_t digest = 0
    cdef long long batches = 0, records = 0, start, first_offset
    cdef list good = [], bad = []
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    scan.data = <const unsigned char*>view.buf
    scan.end = view.len
    scan.position = 0
    scan.next_offset = base_offset
    scan.last_offset_max = ks_last_offset_max(base_offset) if end_offset < 0 else end_offset - 1
    scan.leader_epoch = -1
    scan.dense = dense
    scan.effort_left = <int64_t>KS_RESYNC_EFFORT * view.len
    try:
        while scan.position < scan.end:
            start = scan.position
            first_offset = scan.next_offset
            status = KS_OK
            with nogil:
                while scan.position < scan.end:
                    status = ks_scan_check(&scan)
                    if status != KS_OK:
                        break
                    batches += 1
                    records += scan.header.records_count
                    digest = ks_crc32c(digest, scan.data + scan.position, DIGEST_BYTES)
                    ks_scan_step(&scan)
            if scan.position > start:
                good.append(Range(start, scan.position, first_offset, scan.next_offset))
            if status != KS_OK:
                start = scan.position
                first_offset = scan.next_offset
                with nogil:
                    ks_scan_resync(&scan)
                if scan.position < scan.end:
                    scan.next_offset = scan.header.base_offset
                elif end_offset > scan.next_offset:
                    scan.next_offset = end_offset
                bad.append(Range(start, scan.position, first_offset, scan.next_offset,
                                 ks_scan_reason(status).decode()))
    finally:
        PyBuffer_Release(&view)
    return Scan(good, bad, view.len, scan.next_offset, batches, records, digest)
