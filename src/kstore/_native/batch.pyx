# cython: language_level=3, boundscheck=False, wraparound=False
"""BATCH: record batches as Python sees them: checked, walked by header, stamped. Records stay untouched.

Owns the edge between `batch.c` and Python: buffers in, `AppendInfo`, `BatchHeader` or one exception out. It must not
know files or logs. Called by `log` on every append, by `segment` for headers, by tools.

Invariants:
1. Bytes from a caller are read only inside its buffer, which is locked for the time of the call.
2. A buffer that `check` accepted consists of whole batches with fitting checksums, and nothing behind them.
3. `client=True` lets nothing pass that Kafka's broker would refuse by its header (LogValidator).
"""

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.string cimport memset

from kstore._native.status cimport KS_BAD_CRC, KS_BAD_LENGTH, KS_BAD_MAGIC, KS_OK, KS_SHORT, ks_status

from kstore.errors import InvalidBatch, UsageError

HAS_PRODUCER = KS_HAS_PRODUCER
HAS_TRANSACTIONAL = KS_HAS_TRANSACTIONAL
HAS_CONTROL = KS_HAS_CONTROL
HAS_LOG_APPEND_TIME = KS_HAS_LOG_APPEND_TIME
HAS_HORIZON = KS_HAS_HORIZON
NOT_CONTIGUOUS = KS_NOT_CONTIGUOUS

cdef enum:
    NOGIL_BYTES_MIN = 32 * 1024      # letting go of the GIL costs 45 ns: 5 % of the checksum of this many bytes
    AUTO_WALK_BYTES_MAX = 4 * 1024   # walking 100-byte records costs more than a tenth of their write from here on

# Codes of org.apache.kafka.common.protocol.Errors.
cdef enum:
    CORRUPT_MESSAGE = 2
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_COMPRESSION_TYPE = 76
    INVALID_RECORD = 87

cdef long long INT64_MAX = 0x7fffffffffffffff
cdef tuple HEADER_COLUMNS = ("position", "base_offset", "last_offset", "max_timestamp_ms", "leader_epoch")


@cython.final
@cython.freelist(16)
cdef class BatchHeader:
    """The header of one record batch (docs/FORMAT.md, "Record batch"). Immutable; made by `headers`."""

    @property
    def base_offset(self):
        """Offset of the first record that the batch had when it was written."""
        return self.fields.base_offset

    @property
    def last_offset(self):
        """Highest offset of the batch; compaction may have taken that record, but not the offset."""
        return self.fields.last_offset

    @property
    def next_offset(self):
        """The offset behind the batch."""
        return self.fields.last_offset + 1

    @property
    def last_offset_delta(self):
        """`last_offset - base_offset`, as stored."""
        return self.fields.last_offset_delta

    @property
    def size_bytes(self):
        """Size of the whole batch, its header included."""
        return self.fields.size_bytes

    @property
    def leader_epoch(self):
        """Epoch of the leader that appended it; not covered by the checksum."""
        return self.fields.leader_epoch

    @property
    def crc(self):
        """Stored CRC-32C of everything from the attributes on."""
        return self.fields.crc

    @property
    def attributes(self):
        """The attribute bits as stored."""
        return self.fields.attributes

    @property
    def codec(self):
        """Id of the compression codec, 0 for none; above 4 no codec is known."""
        return self.fields.attributes & KS_CODEC_MASK

    @property
    def timestamp_type(self):
        """`CreateTime` or `LogAppendTime`."""
        return "LogAppendTime" if self.fields.attributes & KS_LOG_APPEND_TIME else "CreateTime"

    @property
    def is_log_append_time(self):
        """Whether every record has the batch's `max_timestamp_ms`."""
        return bool(self.fields.attributes & KS_LOG_APPEND_TIME)

    @property
    def is_transactional(self):
        """Whether the batch is part of a transaction, its marker included."""
        return bool(self.fields.attributes & KS_TRANSACTIONAL)

    @property
    def is_control(self):
        """Whether its records are control records, which no consumer sees."""
        return bool(self.fields.attributes & KS_CONTROL)

    @property
    def has_horizon(self):
        """Whether `base_timestamp_ms` is a delete horizon."""
        return bool(self.fields.attributes & KS_DELETE_HORIZON)

    @property
    def delete_horizon_ms(self):
        """When the cleaner may drop the batch's tombstones or marker; None where it set no time."""
        return self.fields.base_timestamp if self.fields.attributes & KS_DELETE_HORIZON else None

    @property
    def base_timestamp_ms(self):
        """What the records' timestamps count from: the first one's time, or the delete horizon."""
        return self.fields.base_timestamp

    @property
    def max_timestamp_ms(self):
        """The largest timestamp of its records when it was written; -1 where none had one."""
        return self.fields.max_timestamp

    @property
    def producer_id(self):
        """Id of an idempotent or transactional producer, or -1."""
        return self.fields.producer_id

    @property
    def producer_epoch(self):
        """Epoch of that producer, or -1."""
        return self.fields.producer_epoch

    @property
    def base_sequence(self):
        """Sequence number of the first record, or -1."""
        return self.fields.base_sequence

    @property
    def last_sequence(self):
        """Sequence number of the last record, or -1; sequences wrap from 2^31 - 1 to 0."""
        return ks_sequence_add(self.fields.base_sequence, self.fields.last_offset_delta)

    @property
    def records(self):
        """Number of records in the batch; 0 where compaction kept only the header."""
        return self.fields.records_count

    def __repr__(self):
        return (f"BatchHeader(position={self.position}, size_bytes={self.size_bytes}, base_offset={self.base_offset}, "
                f"last_offset={self.last_offset}, records={self.records})")


cdef BatchHeader batch_header(const ks_batch_header* fields, long long position):
    cdef BatchHeader header = BatchHeader.__new__(BatchHeader)
    header.fields = fields[0]
    header.position = position
    return header


@cython.final
@cython.freelist(16)
cdef class AppendInfo:
    """What an append has to know of the batches in a buffer. Immutable; made by `check` and by `Encoder.encode`."""

    def __repr__(self):
        return (f"AppendInfo(batches={self.batches}, records={self.records}, size_bytes={self.size_bytes}, "
                f"first_offset={self.first_offset}, next_offset={self.next_offset}, "
                f"max_timestamp_ms={self.max_timestamp_ms}, flags={self.flags})")


cdef AppendInfo info_object(const ks_append_info* source):
    cdef AppendInfo info = AppendInfo.__new__(AppendInfo)
    info.batches = source.batches
    info.records = source.records
    info.size_bytes = source.size_bytes
    info.offsets = source.offsets
    info.first_offset = source.first_offset
    info.next_offset = source.next_offset
    info.max_timestamp_ms = source.max_timestamp
    info.largest_batch_bytes = source.largest_batch_bytes
    info.codecs = source.codecs
    info.flags = source.flags
    info.last_leader_epoch = source.last_leader_epoch
    return info


cdef class Pieces:
    """Base of buffers whose batches lie apart from each other: who can takes them where they are, anybody else the
    buffer, for which they are copied together. What they lie in is held for as long as the object is in use."""


def check(buffer, *, bint client=True, records="auto"):
    """Check every batch of `buffer`: length, magic, CRC-32C, header fields. Returns what an append needs to know.

    `client` refuses what only a broker may write (LogValidator): control batches, LogAppendTime, the delete horizon,
    reserved bits, empty batches, gaps between records, unknown codecs. `records` says whose records are walked too:
    True all of them, compressed ones unpacked for it; "known" the same, but for codecs that are not installed;
    False none; "auto" those of uncompressed batches of up to 4 KiB, which costs about a tenth of writing them at
    most. A batch with a fitting checksum and records that contradict its header is found when it is read, at the
    latest; a broker asks for "known".

    Raises `InvalidBatch` with the position of the first bad batch, or for an empty buffer; nothing was changed.
    """
    cdef Py_buffer view
    cdef ks_append_info info
    cdef const unsigned char* bad = NULL
    cdef const unsigned char* data
    cdef int status
    cdef long long walk_bytes_max = walked_bytes_max(records)
    memset(&info, 0, sizeof(info))
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        data = <const unsigned char*>view.buf
        if view.len == 0:
            raise InvalidBatch("the buffer holds no batch", 0, INVALID_RECORD)
        if view.len >= NOGIL_BYTES_MIN:
            with nogil:
                status = ks_batches_check(data, data + view.len, client, walk_bytes_max, &info, &bad)
        else:
            status = ks_batches_check(data, data + view.len, client, walk_bytes_max, &info, &bad)
        if status != KS_OK:
            raise invalid(status, bad, bad - data)
        if walk_bytes_max == INT64_MAX and info.codecs & ~1:
            check_compressed(buffer, data, data + view.len, client, records == "known")
    finally:
        PyBuffer_Release(&view)
    return info_object(&info)


cdef long long walked_bytes_max(records):
    """Up to which size the records of uncompressed batches are looked at."""
    if records == "auto":
        return AUTO_WALK_BYTES_MAX
    return INT64_MAX if records else 0


cdef AppendInfo check_apart(Pieces pieces, records):
    """`check` over a client's batches that lie apart; the position in an `InvalidBatch` is as if they were together."""
    cdef ks_append_info info
    cdef const unsigned char* bad = NULL
    cdef const unsigned char* data = NULL
    cdef long long walk_bytes_max = walked_bytes_max(records), before = 0
    cdef int status = KS_OK, i
    memset(&info, 0, sizeof(info))
    with nogil:
        for i in range(pieces.apart):
            data = pieces.piece[i]
            status = ks_batches_check(data, data + pieces.piece_bytes[i], True, walk_bytes_max, &info, &bad)
            if status != KS_OK:
                break
            before += pieces.piece_bytes[i]
    if status != KS_OK:
        raise invalid(status, bad, before + (bad - data))
    if walk_bytes_max == INT64_MAX and info.codecs & ~1:
        for i in range(pieces.apart):
            data = pieces.piece[i]
            check_compressed(PyMemoryView_FromMemory(<char*>data, pieces.piece_bytes[i], PyBUF_READ), data,
                             data + pieces.piece_bytes[i], True, records == "known")
    return info_object(&info)


cdef check_compressed(buffer, const unsigned char* data, const unsigned char* end, bint client, bint only_known):
    """Unpack the compressed batches of a buffer whose batches are all good, and walk their records."""
    from kstore import compression, limits
    from kstore.errors import MissingCodec
    cdef const unsigned char* p = data
    cdef ks_batch_header header
    cdef Py_buffer view
    cdef ks_status status
    whole = memoryview(buffer).cast("B")
    while p < end and ks_batch_parse(p, end, &header) == KS_OK:
        codec = header.attributes & KS_CODEC_MASK
        if codec != 0:
            try:
                unpacked = compression.decompress(
                    codec, whole[p - data + KS_BATCH_HEADER_BYTES : p - data + header.size_bytes],
                    limits.DECOMPRESSED_BYTES_MAX)
            except ValueError as error:
                raise InvalidBatch(str(error), p - data, INVALID_RECORD) from None
            except MissingCodec:
                if not only_known:
                    raise
                p += header.size_bytes
                continue
            PyObject_GetBuffer(unpacked, &view, PyBUF_SIMPLE)
            try:
                with nogil:
                    status = ks_records_check(<const unsigned char*>view.buf,
                                              <const unsigned char*>view.buf + view.len, &header, client)
            finally:
                PyBuffer_Release(&view)
            if status != KS_OK:
                raise invalid(status, p, p - data)
        p += header.size_bytes


cdef invalid(int status, const unsigned char* batch, long long position):
    """The exception for a batch that failed with `status`."""
    cdef ks_batch_header header
    if status == KS_BAD_CLIENT:
        ks_batch_header_parse(batch, batch + KS_BATCH_HEADER_BYTES, &header)
        reason, code = refusal(&header)
        return InvalidBatch(reason, position, code)
    reason = (<bytes>ks_batch_reason(<ks_status>status)).decode()
    framing = status in (KS_SHORT, KS_BAD_LENGTH, KS_BAD_MAGIC, KS_BAD_CRC)
    return InvalidBatch(reason, position, CORRUPT_MESSAGE if framing else INVALID_RECORD)


cdef tuple refusal(const ks_batch_header* h):
    """Why ks_batch_is_clients says no: a sentence and a wire code."""
    cdef int codec = h.attributes & KS_CODEC_MASK
    if h.attributes & KS_CONTROL:
        return "clients may not write control batches", INVALID_RECORD
    if h.attributes & KS_LOG_APPEND_TIME:
        return "the timestamp type LogAppendTime is for the log to set, not for a client", INVALID_TIMESTAMP
    if h.attributes & KS_DELETE_HORIZON:
        return "the delete horizon is for the cleaner to set, not for a client", INVALID_RECORD
    if h.attributes & KS_RESERVED_BITS:
        return f"attributes 0x{h.attributes:04x} use bits that have no meaning", INVALID_RECORD
    if codec > KS_CODEC_MAX:
        return f"codec {codec} is unknown", UNSUPPORTED_COMPRESSION_TYPE
    if h.records_count < 1:
        return "it has no records", INVALID_RECORD
    if h.records_count != <int64_t>h.last_offset_delta + 1:
        return f"{h.records_count} records, but {<int64_t>h.last_offset_delta + 1} offsets", INVALID_RECORD
    if h.producer_id < 0:
        return f"producer id {h.producer_id} cannot carry a transaction", INVALID_RECORD
    return (f"producer {h.producer_id} with epoch {h.producer_epoch} and sequence {h.base_sequence}: "
            f"neither may be negative"), INVALID_RECORD


@cython.final
cdef class _Headers:
    """Walks a buffer from batch to batch."""
    cdef Py_buffer view
    cdef bint held
    cdef long long position

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    def __iter__(self):
        return self

    def __next__(self):
        cdef const unsigned char* data = <const unsigned char*>self.view.buf
        cdef ks_batch_header header
        cdef ks_status status
        cdef long long position = self.position
        if position >= self.view.len:
            raise StopIteration
        status = ks_batch_parse(data + position, data + self.view.len, &header)
        if status != KS_OK:
            self.position = self.view.len
            raise invalid(status, data + position, position)
        self.position = position + header.size_bytes
        return batch_header(&header, position)


def headers(buffer, long long position=0):
    """Iterate over the `BatchHeader` of each batch from byte `position` on. No record and no checksum is read.

    The buffer stays locked until the iterator is gone. Raises `InvalidBatch` at a header that no batch can have, and
    where the buffer ends inside a batch; `UsageError` for a position outside the buffer.
    """
    cdef _Headers walk = _Headers.__new__(_Headers)
    PyObject_GetBuffer(buffer, &walk.view, PyBUF_SIMPLE)
    walk.held = True
    if not 0 <= position <= walk.view.len:
        raise UsageError(f"position {position} is outside a buffer of {walk.view.len} bytes")
    walk.position = position
    return walk


def header_columns(buffer, long long position=0):
    """Header fields of the batches from byte `position` on, as int64 numpy arrays, an element a batch.

    Returns a dict of `position`, `base_offset`, `last_offset`, `max_timestamp_ms` and `leader_epoch`. The walk ends
    in front of the first batch that is not whole or not a batch; no checksum is read.
    """
    import numpy
    cdef Py_buffer view, table_view
    cdef ks_batch_header header
    cdef const unsigned char* data
    cdef const unsigned char* end
    cdef int64_t* row
    cdef Py_ssize_t count = 0, at = position, i
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        data = <const unsigned char*>view.buf
        end = data + view.len
        if not 0 <= at <= view.len:
            raise UsageError(f"position {position} is outside a buffer of {view.len} bytes")
        while ks_batch_parse(data + at, end, &header) == KS_OK:
            at += header.size_bytes
            count += 1
        table = numpy.empty((len(HEADER_COLUMNS), count), numpy.int64)
        PyObject_GetBuffer(table, &table_view, PyBUF_WRITABLE)
        try:
            row = <int64_t*>table_view.buf
            at = position
            for i in range(count):
                ks_batch_parse(data + at, end, &header)
                row[i] = at
                row[count + i] = header.base_offset
                row[2 * count + i] = header.last_offset
                row[3 * count + i] = header.max_timestamp
                row[4 * count + i] = header.leader_epoch
                at += header.size_bytes
        finally:
            PyBuffer_Release(&table_view)
    finally:
        PyBuffer_Release(&view)
    return dict(zip(HEADER_COLUMNS, table))


def set_log_append_time(buffer, long long timestamp_ms):
    """Turn every batch of a writable buffer into LogAppendTime at `timestamp_ms`: bit, max timestamp, checksum.

    The records keep the producer's deltas; readers give every record the batch's max timestamp. Raises
    `InvalidBatch` where a header is bad; batches in front of it are changed already.
    """
    cdef Py_buffer view
    cdef ks_batch_header header
    cdef unsigned char* p
    cdef unsigned char* end
    cdef ks_status status
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        p = <unsigned char*>view.buf
        end = p + view.len
        while p < end:
            status = ks_batch_parse(p, end, &header)
            if status != KS_OK:
                raise invalid(status, p, p - <unsigned char*>view.buf)
            ks_batch_set_log_append_time(p, header.size_bytes, timestamp_ms)
            p += header.size_bytes
    finally:
        PyBuffer_Release(&view)
