# cython: language_level=3, boundscheck=False, wraparound=False
"""BATCH: checks record batches, walks their headers, stamps what a broker may change.

Owns the header of a batch as Python sees it (`BatchHeader`) and the summary of a buffer that an append needs
(`AppendInfo`). It must not know records (`records`) or files. Called by `log`, `segment` and the record codec.

Invariants: a status becomes an exception here and nowhere below; a buffer that `check` accepted holds whole batches
only, each with a checksum that fits.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from kstore._native.status cimport (KS_BAD_COUNT, KS_BAD_CRC, KS_BAD_HEADER, KS_BAD_LENGTH, KS_BAD_MAGIC, KS_OK,
                                    KS_SHORT)
from kstore.errors import InvalidBatch

HEADER_BYTES = KS_BATCH_HEADER_BYTES
HAS_PRODUCER = 1
HAS_TRANSACTIONAL = 2
HAS_CONTROL = 4
HAS_LOG_APPEND_TIME = 8
HAS_HORIZON = 16
NOT_CONTIGUOUS = 32

cdef enum:
    C_HAS_PRODUCER = 1
    C_HAS_TRANSACTIONAL = 2
    C_HAS_CONTROL = 4
    C_HAS_LOG_APPEND_TIME = 8
    C_HAS_HORIZON = 16
    C_NOT_CONTIGUOUS = 32
    CORRUPT_MESSAGE = 2
    INVALID_RECORD = 87

cdef dict REASONS = {
    KS_SHORT: "it ends before the bytes that it announces",
    KS_BAD_LENGTH: "its length field is one that no batch can have",
    KS_BAD_MAGIC: "it is not a batch of magic 2",
    KS_BAD_CRC: "its checksum does not fit its bytes",
    KS_BAD_HEADER: "its header contradicts itself",
    KS_BAD_COUNT: "it announces more records than offsets",
}


cdef class AppendInfo:
    """What an append has to know of a buffer of batches. Frozen once made."""

    cdef void count(self, const ks_batch_header* h) noexcept nogil:
        if self.batches == 0:
            self.first_offset = h.base_offset
            self.max_timestamp_ms = h.max_timestamp
        elif h.base_offset != self.next_offset:
            self.flags |= C_NOT_CONTIGUOUS
        self.batches += 1
        self.records += h.records_count
        self.size_bytes += h.size_bytes
        self.offsets += <long long>h.last_offset_delta + 1
        self.next_offset = h.last_offset + 1
        self.last_leader_epoch = h.leader_epoch
        if h.max_timestamp > self.max_timestamp_ms:
            self.max_timestamp_ms = h.max_timestamp
        if h.size_bytes > self.largest_batch_bytes:
            self.largest_batch_bytes = h.size_bytes
        self.codecs |= 1 << (h.attributes & KS_CODEC_MASK)
        if h.producer_id >= 0:
            self.flags |= C_HAS_PRODUCER
        if h.attributes & (KS_LOG_APPEND_TIME | KS_TRANSACTIONAL | KS_CONTROL | KS_DELETE_HORIZON):
            if h.attributes & KS_TRANSACTIONAL:
                self.flags |= C_HAS_TRANSACTIONAL
            if h.attributes & KS_CONTROL:
                self.flags |= C_HAS_CONTROL
            if h.attributes & KS_LOG_APPEND_TIME:
                self.flags |= C_HAS_LOG_APPEND_TIME
            if h.attributes & KS_DELETE_HORIZON:
                self.flags |= C_HAS_HORIZON


cdef class BatchHeader:
    """The header of one batch. Frozen."""

    @property
    def base_offset(self):
        return self.h.base_offset

    @property
    def last_offset(self):
        return self.h.last_offset

    @property
    def next_offset(self):
        return self.h.last_offset + 1

    @property
    def last_offset_delta(self):
        return self.h.last_offset_delta

    @property
    def size_bytes(self):
        return self.h.size_bytes

    @property
    def leader_epoch(self):
        return self.h.leader_epoch

    @property
    def crc(self):
        return self.h.crc

    @property
    def attributes(self):
        return self.h.attributes

    @property
    def codec(self):
        return self.h.attributes & KS_CODEC_MASK

    @property
    def is_log_append_time(self):
        return bool(self.h.attributes & KS_LOG_APPEND_TIME)

    @property
    def is_transactional(self):
        return bool(self.h.attributes & KS_TRANSACTIONAL)

    @property
    def is_control(self):
        return bool(self.h.attributes & KS_CONTROL)

    @property
    def has_horizon(self):
        return bool(self.h.attributes & KS_DELETE_HORIZON)

    @property
    def base_timestamp_ms(self):
        return self.h.base_timestamp

    @property
    def max_timestamp_ms(self):
        return self.h.max_timestamp

    @property
    def producer_id(self):
        return self.h.producer_id

    @property
    def producer_epoch(self):
        return self.h.producer_epoch

    @property
    def base_sequence(self):
        return self.h.base_sequence

    @property
    def last_sequence(self):
        if self.h.base_sequence < 0 or self.h.attributes & KS_CONTROL:
            return self.h.base_sequence
        return (<long long>self.h.base_sequence + self.h.last_offset_delta) & 0x7fffffff

    @property
    def records(self):
        return self.h.records_count

    def __repr__(self):
        return f"<BatchHeader [{self.h.base_offset}, {self.h.last_offset + 1}) at {self.position}>"


cdef BatchHeader batch_header(const ks_batch_header* h, long long position):
    cdef BatchHeader made = BatchHeader.__new__(BatchHeader)
    made.h = h[0]
    made.position = position
    return made


cdef object refused(int status, long long position):
    code = CORRUPT_MESSAGE if status in (KS_BAD_CRC, KS_SHORT, KS_BAD_LENGTH) else INVALID_RECORD
    return InvalidBatch(REASONS.get(status, "it is not a record batch"), position, code)


cdef str client_objection(const ks_batch_header* h):
    """What a client must not send (LogValidator); None where it may."""
    if h.attributes & KS_CONTROL:
        return "clients may not write control batches"
    if h.attributes & KS_DELETE_HORIZON:
        return "clients may not set a delete horizon"
    if h.attributes & ~KS_ATTRIBUTES_KNOWN:
        return "reserved attribute bits are set"
    if h.records_count != <long long>h.last_offset_delta + 1:
        return f"{h.records_count} records, but offsets for {<long long>h.last_offset_delta + 1}"
    if h.producer_id >= 0 and (h.base_sequence < 0 or h.producer_epoch < 0):
        return "a producer id without epoch or sequence"
    if h.attributes & KS_TRANSACTIONAL and h.producer_id < 0:
        return "transactional, but without a producer id"
    return None


cpdef AppendInfo check(buffer, bint client=True):
    """Check every byte of a buffer of batches; raises `InvalidBatch`, and changes nothing.

    With `client` also refuses what only brokers write. An empty buffer is refused.
    """
    cdef Py_buffer view
    cdef AppendInfo info = AppendInfo.__new__(AppendInfo)
    cdef ks_batch_header h
    cdef ks_status status
    cdef const unsigned char* p
    cdef const unsigned char* end
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        p = <const unsigned char*>view.buf
        end = p + view.len
        if p == end:
            raise InvalidBatch("the buffer is empty", 0, CORRUPT_MESSAGE)
        while p < end:
            status = ks_batch_check(p, end, &h)
            if status != KS_OK:
                raise refused(status, info.size_bytes)
            if client:
                objection = client_objection(&h)
                if objection is not None:
                    raise InvalidBatch(objection, info.size_bytes, INVALID_RECORD)
            info.count(&h)
            p += h.size_bytes
    finally:
        PyBuffer_Release(&view)
    return info


def headers(buffer, long long position=0):
    """The headers of a buffer of whole batches, from the byte at `position`; no checksum is read.

    Raises `InvalidBatch` where a batch does not end inside the buffer.
    """
    cdef Py_buffer view
    cdef ks_batch_header h
    cdef ks_status status
    cdef const unsigned char* end
    cdef list found = []
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        end = <const unsigned char*>view.buf + view.len
        while position < view.len:
            status = ks_batch_parse(<const unsigned char*>view.buf + position, end, &h)
            if status != KS_OK:
                raise refused(status, position)
            found.append(batch_header(&h, position))
            position += h.size_bytes
    finally:
        PyBuffer_Release(&view)
    return found


def set_log_append_time(buffer, long long timestamp_ms):
    """Make every batch of a writable buffer one of LogAppendTime, with new checksums. Raises `InvalidBatch`."""
    cdef Py_buffer view
    cdef ks_batch_header h
    cdef ks_status status
    cdef unsigned char* p
    cdef unsigned char* end
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        p = <unsigned char*>view.buf
        end = p + view.len
        while p < end:
            status = ks_batch_parse(p, end, &h)
            if status != KS_OK:
                raise refused(status, p - <unsigned char*>view.buf)
            ks_batch_set_log_append_time(p, &h, timestamp_ms)
            p += h.size_bytes
    finally:
        PyBuffer_Release(&view)


def header_columns(buffer, long long position=0):
    """Header fields of a buffer of whole batches as int64 numpy arrays, one element a batch.

    Returns a dict of `position`, `base_offset`, `last_offset`, `max_timestamp_ms`, `leader_epoch`; the walk ends
    before the first batch that is not whole or not a batch.
    """
    import numpy

    cdef Py_buffer view
    cdef ks_batch_header h
    cdef const unsigned char* start
    cdef const unsigned char* end
    cdef Py_ssize_t count = 0, room = 0
    cdef long long[:, ::1] rows = None
    names = ("position", "base_offset", "last_offset", "max_timestamp_ms", "leader_epoch")
    array = numpy.empty((0, 5), numpy.int64)
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        start = <const unsigned char*>view.buf
        end = start + view.len
        while position < view.len and ks_batch_parse(start + position, end, &h) == KS_OK:
            if count == room:
                room = max(1024, 2 * room)
                array = numpy.resize(array, (room, 5))
                rows = array
            rows[count, 0] = position
            rows[count, 1] = h.base_offset
            rows[count, 2] = h.last_offset
            rows[count, 3] = h.max_timestamp
            rows[count, 4] = h.leader_epoch
            count += 1
            position += h.size_bytes
    finally:
        PyBuffer_Release(&view)
    return {name: array[:count, i].copy() for i, name in enumerate(names)}
