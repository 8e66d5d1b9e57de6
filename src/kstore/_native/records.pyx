# cython: language_level=3, boundscheck=False, wraparound=False
"""RECORD: one record as an object, and the encoder that turns many of them into batches.

Owns the way from Python objects to bytes of the records section; the header and its checksum are `batch.c`'s. It
must not know logs, files or clocks. Called by `log` for every append of records, by `kstore.records`, by `batches`
for the `Record` type.

Invariants:
1. The encoder's output needs no check: its `AppendInfo` describes it, its checksums were computed once, here.
2. Bytes seen through `Encoder.buffer` never change: the next call takes other memory while a view on them lives.
3. A failed call leaves an encoder that can be used again, and an empty buffer.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_READ, PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, uint16_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from kstore._native.batch cimport (
    KS_BATCH_HEADER_BYTES, KS_CONTROL, KS_LOG_APPEND_TIME, KS_RECORD_OVERHEAD_BYTES_MAX, KS_TRANSACTIONAL, AppendInfo,
    info_object, ks_append_count, ks_batch_finish, ks_record_header, ks_record_header_read, ks_sequence_add,
)
from kstore._native.status cimport KS_OK

from kstore.errors import BatchTooLarge, UsageError
from kstore.limits import DECOMPRESSED_BYTES_MAX

cdef extern from "cursor.h" nogil:
    int ks_varint_size(int64_t value)
    unsigned char* ks_write_varint(unsigned char* p, int64_t value)

cdef enum:
    BLOCK_BYTES_MIN = 128 * 1024
    BLOCK_BYTES_KEPT_MAX = 8 * 1024 * 1024   # a larger block goes with the call that needed it

cdef int64_t INT32_MAX = 0x7fffffff
cdef int64_t BASE_OFFSET_MAX = 0x7fffffffffffffff - 0x7fffffffff   # no list of records is long enough to overflow it
cdef int64_t unpacked_bytes_max = DECOMPRESSED_BYTES_MAX
cdef bytes NO_HEADERS = b"\0"                # a count of zero


# A control record's key and value are a version (0), then a type (0 abort, 1 commit), then the coordinator's epoch.
cdef const unsigned char* MARKER_RECORD = (
    b"\x20\x00\x00\x00\x08\x00\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00")
cdef enum:
    MARKER_BYTES = 78
    MARKER_TYPE_AT = 61 + 8
    MARKER_EPOCH_AT = 61 + 12


# -- one record --------------------------------------------------------------------------------------------------


@cython.final
@cython.freelist(64)
cdef class Record:
    """A record: what a caller appends, or what a batch holds. Immutable.

    `value` and `key` are `bytes` or None (a None value deletes the key in a compacted topic); `headers` are pairs of
    a `str` and `bytes` or None, in order, names may repeat. `timestamp_ms` None lets the append set it. Raises
    `UsageError` for other types. Names of stored headers that are not UTF-8 come with surrogate escapes.
    """

    def __init__(self, value, key=None, headers=(), timestamp_ms=None):
        self.value = as_bytes(value, "value")
        self.key = as_bytes(key, "key")
        self.headers = checked_headers(headers) if headers else ()
        self.has_timestamp = timestamp_ms is not None
        self.timestamp = timestamp_ms if timestamp_ms is not None else -1
        self.offset = -1
        self.size_bytes = -1

    @property
    def timestamp_ms(self):
        """Milliseconds since 1970; -1 for a stored record without a time, None for a new one that gets it later."""
        return self.timestamp if self.has_timestamp else None

    @property
    def timestamp_type(self):
        """`CreateTime` or `LogAppendTime`."""
        return "CreateTime" if self.batch is None else self.batch.timestamp_type

    @property
    def leader_epoch(self):
        """Epoch of the leader that appended it, or -1."""
        return -1 if self.batch is None else self.batch.fields.leader_epoch

    @property
    def producer_id(self):
        """Id of the idempotent or transactional producer that sent it, or -1."""
        return -1 if self.batch is None else self.batch.fields.producer_id

    @property
    def producer_epoch(self):
        """Epoch of that producer, or -1."""
        return -1 if self.batch is None else self.batch.fields.producer_epoch

    @property
    def sequence(self):
        """Its sequence number, or -1."""
        return -1 if self.batch is None else ks_sequence_add(self.batch.fields.base_sequence, self.offset_delta)

    @property
    def is_transactional(self):
        """Whether it was sent inside a transaction."""
        return self.batch is not None and self.batch.is_transactional

    @property
    def is_control(self):
        """Whether it is a control record, such as the marker that ends a transaction."""
        return self.batch is not None and self.batch.is_control

    def __eq__(self, other):
        if not isinstance(other, Record):
            return NotImplemented
        return self._fields() == (<Record>other)._fields()

    def __hash__(self):
        return hash(self._fields())

    def _fields(self):
        return self.offset, self.timestamp_ms, self.key, self.value, self.headers

    def __repr__(self):
        return (f"Record(offset={self.offset}, timestamp_ms={self.timestamp_ms}, key={self.key!r}, "
                f"value={self.value!r}, headers={self.headers!r})")


cdef object as_bytes(object data, str what):
    """`data` as `bytes`, None for None; UsageError for what is neither bytes nor a buffer."""
    if data is None or PyBytes_CheckExact(data):
        return data
    if isinstance(data, str):
        raise UsageError(f"the {what} of a record is bytes, not str: encode it, for example {what}.encode()")
    if not PyObject_CheckBuffer(data):
        raise UsageError(f"the {what} of a record is bytes or None, not {type(data).__name__}")
    return bytes(data)


cdef tuple checked_headers(object headers):
    """Headers of a caller as a tuple of pairs; a mapping is no sequence of pairs, but its items are."""
    cdef list checked = []
    if isinstance(headers, (str, bytes)):
        raise UsageError(f"headers are a sequence of (str, bytes or None), not {type(headers).__name__}")
    for header in (headers.items() if hasattr(headers, "items") else headers):
        try:
            name, value = header
        except (TypeError, ValueError):
            raise UsageError(f"a header is a pair of str and bytes or None, not {header!r}") from None
        if not isinstance(name, str):
            raise UsageError(f"the name of a header is str, not {type(name).__name__}")
        checked.append((name, as_bytes(value, "header value")))
    return tuple(checked)


cdef bytes pack_headers(object headers):
    """Count and headers as they stand at the end of a record."""
    cdef list parts = []
    cdef tuple pairs = checked_headers(headers)
    parts.append(varint(len(pairs)))
    for name, value in pairs:
        try:
            encoded = (<str>name).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise UsageError(f"the name of a header is no Unicode text: {error}") from None
        parts.append(varint(len(encoded)))
        parts.append(encoded)
        if value is None:
            parts.append(varint(-1))
        else:
            parts.append(varint(len(value)))
            parts.append(value)
    return b"".join(parts)


cdef bytes varint(int64_t value):
    cdef unsigned char space[10]
    return PyBytes_FromStringAndSize(<char*>space, ks_write_varint(space, value) - space)


cdef tuple parse_headers(const unsigned char* p, const unsigned char* end, int64_t count):
    """The headers of a record that was read: each lies inside it already."""
    cdef ks_record_header header
    cdef list parsed = []
    while count > 0 and ks_record_header_read(&p, end, &header) == KS_OK:
        name = PyUnicode_DecodeUTF8(<char*>header.key, header.key_size, "surrogateescape")
        value = (None if header.value_size < 0
                 else PyBytes_FromStringAndSize(<char*>header.value, header.value_size))
        parsed.append((name, value))
        count -= 1
    return tuple(parsed)


# -- many records ------------------------------------------------------------------------------------------------


@cython.final
cdef class Block:
    """Memory of the encoder, shown by memoryviews."""

    def __dealloc__(self):
        free(self.data)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.length, 1, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.exports -= 1


@cython.final
cdef class Encoder:
    """Turns records into record batches, in memory that is used again from call to call. One thread at a time."""

    def __cinit__(self):
        self.block = Block()

    @property
    def buffer(self):
        """The batches of the last `encode`, a read-only memoryview; they stay as they are while it lives."""
        return memoryview(self.block)

    def encode(self, records, *, int64_t base_offset=0, int leader_epoch=-1, timestamp_ms=-1, int codec=0, level=None,
               batch_bytes_max=None, int64_t producer_id=-1, int producer_epoch=-1, int base_sequence=-1,
               bint transactional=False, bint control=False, bint log_append_time=False, record_bytes_max=None):
        """Encode `records` into batches that take offsets from `base_offset` on; returns their `AppendInfo`.

        `records` is an iterable of value `bytes`, `(key, value)`, `(key, value, headers)` or `Record`; those without
        a time get `timestamp_ms`. A batch is closed where the next record would lift it, not yet compressed, above
        `batch_bytes_max` (None: above 2 GiB); one that its codec makes larger than that is stored as it is. A record
        that needs a larger batch is refused, or with `record_bytes_max` gets one of its own up to that size. No
        record gives no batch.

        Raises `BatchTooLarge` for a record that does not fit alone, `UsageError` for other types, `MissingCodec`.
        """
        cdef int64_t timestamp = -1 if timestamp_ms is None else timestamp_ms
        if self.busy:
            raise UsageError("this encoder is at work in another call")
        if isinstance(records, (str, bytes, bytearray, memoryview)):
            raise UsageError(f"records are an iterable of bytes, pairs or Records, not one {type(records).__name__}: "
                             f"put it into a list")
        if not 0 <= base_offset <= BASE_OFFSET_MAX or (producer_id >= 0 and not 0 <= producer_epoch <= 0x7fff):
            raise UsageError(f"no batch has base offset {base_offset}, producer id {producer_id}, "
                             f"producer epoch {producer_epoch}")
        if type(records) is not list and type(records) is not tuple:
            records = list(records)
        self.busy = True
        try:
            self.proto.base_offset = base_offset
            self.proto.leader_epoch = leader_epoch
            self.proto.producer_id = producer_id
            self.proto.producer_epoch = <short>producer_epoch
            self.proto.base_sequence = base_sequence
            self.proto.attributes = <uint16_t>((KS_TRANSACTIONAL if transactional else 0)
                                               | (KS_CONTROL if control else 0)
                                               | (KS_LOG_APPEND_TIME if log_append_time else 0))
            self.codec = codec
            self.level = level
            self.batch_bytes_max = INT32_MAX if batch_bytes_max is None else min(batch_bytes_max, INT32_MAX)
            self.alone_bytes_max = (self.batch_bytes_max if record_bytes_max is None
                                    else max(self.batch_bytes_max, min(record_bytes_max, INT32_MAX)))
            self.begin()
            if type(records) is list and PyList_GET_SIZE(records) and type((<list>records)[0]) is bytes:
                self.values(records, timestamp)
            else:
                self.mixed(records, timestamp)
            if self.count:
                self.close_batch()
            self.block.length = self.used
            return info_object(&self.info)
        finally:
            self.busy = False

    cdef int begin(self) except -1:
        """Start with an empty block: another one where a view on the last output lives."""
        memset(&self.info, 0, sizeof(self.info))
        self.info.max_timestamp = -1
        self.start = self.used = self.count = 0
        if self.block.exports or self.block.capacity > BLOCK_BYTES_KEPT_MAX:
            self.block = Block()
        self.block.length = 0
        return 0

    cdef int grow(self, int64_t size) except -1:
        """Make room for `size` more bytes behind `used`."""
        cdef int64_t capacity = max(2 * self.block.capacity, self.used + size, BLOCK_BYTES_MIN)
        cdef void* data = realloc(self.block.data, <size_t>capacity)
        if data == NULL:
            raise MemoryError(f"no memory for {capacity} bytes of record batches")
        self.block.data = <unsigned char*>data
        self.block.capacity = capacity
        return 0

    cdef int values(self, object records, int64_t timestamp) except -1:
        """A list of values without key and headers: the hot path. Goes on as `mixed` at the first other item."""
        cdef Py_ssize_t i = 0
        cdef int64_t size, body
        cdef unsigned char* p
        cdef object value
        while i < PyList_GET_SIZE(records):
            value = <object>PyList_GET_ITEM(records, i)
            if not PyBytes_CheckExact(value):
                return self.mixed((<list>records)[i:], timestamp)
            size = PyBytes_GET_SIZE(value)
            if self.used + size + KS_RECORD_OVERHEAD_BYTES_MAX + KS_BATCH_HEADER_BYTES > self.block.capacity:
                self.grow(size + KS_RECORD_OVERHEAD_BYTES_MAX + KS_BATCH_HEADER_BYTES)
            # attributes, timestamp delta 0, null key and no headers take a byte each
            body = 4 + ks_varint_size(self.count) + ks_varint_size(size) + size
            if self.count == 0 or self.used - self.start + ks_varint_size(body) + body > self.batch_bytes_max:
                if self.count:
                    self.close_batch()
                    continue                      # the offset delta starts again at 0, and the size with it
                self.open_batch(timestamp)
                self.admit(ks_varint_size(body) + body)
            p = ks_write_varint(self.block.data + self.used, body)
            p[0] = 0
            p[1] = 0
            p = ks_write_varint(p + 2, self.count)
            p[0] = 1
            p = ks_write_varint(p + 1, size)
            memcpy(p, PyBytes_AS_STRING(value), <size_t>size)
            p[size] = 0
            self.used = p + size + 1 - self.block.data
            self.count += 1
            i += 1
        return 0

    cdef int mixed(self, object records, int64_t timestamp) except -1:
        """Any of the accepted shapes."""
        cdef Py_ssize_t i, count
        cdef Record record
        cdef object item
        for item in records:
            if type(item) is tuple:
                count = PyTuple_GET_SIZE(item)
                if count == 2:
                    self.put(as_bytes((<tuple>item)[0], "key"), as_bytes((<tuple>item)[1], "value"), NO_HEADERS,
                             timestamp)
                elif count == 3:
                    headers = (<tuple>item)[2]
                    self.put(as_bytes((<tuple>item)[0], "key"), as_bytes((<tuple>item)[1], "value"),
                             pack_headers(headers) if headers else NO_HEADERS, timestamp)
                else:
                    raise UsageError(f"a record is (key, value) or (key, value, headers), not {count} items")
            elif type(item) is Record:
                record = <Record>item
                self.put(record.key, record.value, pack_headers(record.headers) if record.headers else NO_HEADERS,
                         record.timestamp if record.has_timestamp else timestamp)
            elif item is None:
                raise UsageError("a record is bytes, (key, value), (key, value, headers) or Record, not None; "
                                 "a tombstone is (key, None)")
            elif isinstance(item, tuple):
                raise UsageError(f"a record is a plain tuple or a kstore.Record, not {type(item).__name__}")
            else:
                self.put(None, as_bytes(item, "value"), NO_HEADERS, timestamp)
        return 0

    cdef int put(self, object key, object value, bytes headers, int64_t timestamp) except -1:
        """Write one record; `headers` are packed, count first."""
        cdef int64_t key_size = -1 if key is None else PyBytes_GET_SIZE(key)
        cdef int64_t value_size = -1 if value is None else PyBytes_GET_SIZE(value)
        cdef int64_t headers_size = PyBytes_GET_SIZE(headers)
        cdef int64_t payload = max(key_size, 0) + max(value_size, 0) + headers_size
        cdef int64_t size, body, delta = 0
        cdef unsigned char* p
        if self.count:
            delta = wrapping_sub(timestamp, self.base_timestamp)
        body = (1 + ks_varint_size(delta) + ks_varint_size(self.count) + ks_varint_size(key_size)
                + ks_varint_size(value_size) + payload)
        size = ks_varint_size(body) + body
        if self.count and self.used - self.start + size > self.batch_bytes_max:
            self.close_batch()
            return self.put(key, value, headers, timestamp)     # as the first of a batch: smaller, and never here again
        if self.used + payload + KS_RECORD_OVERHEAD_BYTES_MAX + KS_BATCH_HEADER_BYTES > self.block.capacity:
            self.grow(payload + KS_RECORD_OVERHEAD_BYTES_MAX + KS_BATCH_HEADER_BYTES)
        if self.count == 0:
            self.open_batch(timestamp)
            self.admit(size)
        p = ks_write_varint(self.block.data + self.used, body)
        p[0] = 0
        p = ks_write_varint(p + 1, delta)
        p = ks_write_varint(p, self.count)
        p = ks_write_varint(p, key_size)
        if key_size > 0:
            memcpy(p, PyBytes_AS_STRING(key), <size_t>key_size)
            p += key_size
        p = ks_write_varint(p, value_size)
        if value_size > 0:
            memcpy(p, PyBytes_AS_STRING(value), <size_t>value_size)
            p += value_size
        memcpy(p, PyBytes_AS_STRING(headers), <size_t>headers_size)
        self.used = p + headers_size - self.block.data
        self.count += 1
        if timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        return 0

    cdef int open_batch(self, int64_t timestamp) except -1:
        """Leave room for a header; there is memory for it."""
        self.start = self.used
        self.used += KS_BATCH_HEADER_BYTES
        self.base_timestamp = timestamp
        self.max_timestamp = max(timestamp, -1)      # Kafka's maximum starts at -1, "no timestamp"
        return 0

    cdef int admit(self, int64_t size) except -1:
        """Refuse a record that no batch may hold; what a codec makes of it is seen when the batch is closed."""
        if KS_BATCH_HEADER_BYTES + size > self.alone_bytes_max and (not self.codec or size > unpacked_bytes_max):
            raise BatchTooLarge(KS_BATCH_HEADER_BYTES + size, self.alone_bytes_max, "max.message.bytes")
        return 0

    cdef int close_batch(self) except -1:
        """Compress the records, write the header in front of them and move on to the next batch."""
        cdef ks_batch_header header = self.proto
        if self.codec:
            header.attributes |= <uint16_t>self.pack()
        header.size_bytes = self.used - self.start
        header.last_offset_delta = self.count - 1
        header.last_offset = header.base_offset + header.last_offset_delta
        header.base_timestamp = self.base_timestamp
        header.max_timestamp = self.max_timestamp
        header.records_count = self.count
        ks_batch_finish(self.block.data + self.start, &header)
        ks_append_count(&self.info, &header)
        self.proto.base_offset += self.count
        self.proto.base_sequence = ks_sequence_add(self.proto.base_sequence, self.count)
        self.start = self.used
        self.count = 0
        return 0

    cdef int64_t pack(self) except -1:
        """Replace the records section by its compressed form; returns the codec that it then has."""
        from kstore import compression
        cdef Py_buffer view
        cdef int64_t records = self.start + KS_BATCH_HEADER_BYTES
        cdef int64_t raw_size = self.used - records
        if raw_size > unpacked_bytes_max:
            return 0                              # no reader would unpack it
        raw = PyMemoryView_FromMemory(<char*>self.block.data + records, raw_size, PyBUF_READ)
        packed = compression.compress(self.codec, raw, self.level)
        PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE)
        try:
            if KS_BATCH_HEADER_BYTES + view.len > self.batch_bytes_max:
                if view.len >= raw_size and KS_BATCH_HEADER_BYTES + raw_size <= self.alone_bytes_max:
                    return 0
                if KS_BATCH_HEADER_BYTES + view.len > self.alone_bytes_max:
                    raise too_large(KS_BATCH_HEADER_BYTES + view.len, self.alone_bytes_max)
            if records + view.len > self.block.capacity:
                self.grow(view.len)
            memcpy(self.block.data + records, view.buf, <size_t>view.len)
            self.used = records + view.len
        finally:
            PyBuffer_Release(&view)
        return self.codec


cdef int64_t wrapping_sub(int64_t a, int64_t b) noexcept nogil:
    """As Java subtracts: two timestamps may lie further apart than a long reaches."""
    return <int64_t>(<unsigned long long>a - <unsigned long long>b)


cdef too_large(int64_t size_bytes, int64_t limit_bytes):
    return BatchTooLarge(size_bytes, limit_bytes, "max.message.bytes")


def encode_marker(long long base_offset, *, int leader_epoch, long long producer_id, int producer_epoch, bint commit,
                  int coordinator_epoch, long long timestamp_ms):
    """The control batch of 78 bytes that ends a transaction (EndTransactionMarker)."""
    cdef bytes marker = PyBytes_FromStringAndSize(NULL, MARKER_BYTES)
    cdef unsigned char* p = <unsigned char*>PyBytes_AS_STRING(marker)
    cdef ks_batch_header header
    if not 0 <= producer_epoch <= 0x7fff or producer_id < 0 or base_offset < 0:
        raise UsageError(f"no transaction can have producer id {producer_id}, epoch {producer_epoch} "
                         f"and offset {base_offset}")
    header.base_offset = header.last_offset = base_offset
    header.size_bytes = MARKER_BYTES
    header.base_timestamp = header.max_timestamp = timestamp_ms
    header.producer_id = producer_id
    header.producer_epoch = <int16_t>producer_epoch
    header.leader_epoch = leader_epoch
    header.last_offset_delta = 0
    header.base_sequence = -1
    header.records_count = 1
    header.attributes = KS_TRANSACTIONAL | KS_CONTROL
    memcpy(p + KS_BATCH_HEADER_BYTES, MARKER_RECORD, MARKER_BYTES - KS_BATCH_HEADER_BYTES)
    p[MARKER_TYPE_AT] = commit
    p[MARKER_EPOCH_AT] = <unsigned char>(coordinator_epoch >> 24)
    p[MARKER_EPOCH_AT + 1] = <unsigned char>(coordinator_epoch >> 16)
    p[MARKER_EPOCH_AT + 2] = <unsigned char>(coordinator_epoch >> 8)
    p[MARKER_EPOCH_AT + 3] = <unsigned char>coordinator_epoch
    ks_batch_finish(p, &header)
    return marker
