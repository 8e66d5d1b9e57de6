# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""RECORD: records as Python objects, and the encoder that makes batches of them.

Owns the shapes that `append` takes (value, pair, triple, `Record`) and their encoding into batches of magic 2. It must
not know files or the log. Called by `log` for appends, by `kstore.records` without one, by `batches` for decoding.

Invariants: the encoder's output has passed through one checksum and needs no other; a record that does not fit is
refused before any byte of the call is stored.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from kstore import compression
from kstore._native.batch cimport (KS_BATCH_ATTRIBUTES_AT, KS_BATCH_HEADER_BYTES, KS_CONTROL, KS_LOG_APPEND_TIME,
                                   KS_TRANSACTIONAL, AppendInfo, ks_batch_header, ks_batch_parse)
from kstore._native.crc32c cimport ks_crc32c
from kstore._native.status cimport KS_OK
from kstore.errors import BatchTooLarge, InvalidBatch, InvariantError, UsageError
from kstore.limits import INT32_MAX, INT64_MAX

cdef enum:
    VARINT_BYTES_MAX = 5
    VARLONG_BYTES_MAX = 10
    RECORD_FIELDS_BYTES_MAX = 5 + 1 + 10 + 5 + 5 + 5 + 5

cdef long long NO_TIMESTAMP = -1
cdef long long BATCH_BYTES_MAX = INT32_MAX


cdef class Record:
    """One record.

    Made by users to append (`value`, `key`, `headers`, `timestamp_ms`) and by reading, when `offset`, `timestamp_type`,
    `leader_epoch`, `producer_id`, `producer_epoch` and `sequence` tell where it stands. Headers are a tuple of
    `(str, bytes or None)`. Immutable.
    """

    def __init__(self, value, key=None, headers=(), timestamp_ms=None):
        self.value = value
        self.key = key
        self.headers = tuple(headers)
        self.timestamp_ms = timestamp_ms
        self.offset = self.producer_id = self.producer_epoch = self.sequence = self.leader_epoch = -1

    @property
    def timestamp_type(self):
        """`CreateTime` or `LogAppendTime`."""
        return "LogAppendTime" if self.attributes & KS_LOG_APPEND_TIME else "CreateTime"

    @property
    def is_control(self):
        """Whether it is a control record: a transaction marker, or one of Kafka's quorum."""
        return bool(self.attributes & KS_CONTROL)

    @property
    def is_transactional(self):
        """Whether it belongs to a transaction."""
        return bool(self.attributes & KS_TRANSACTIONAL)

    def __eq__(self, other):
        if not isinstance(other, Record):
            return NotImplemented
        return ((self.offset, self.timestamp_ms, self.key, self.value, self.headers)
                == (other.offset, other.timestamp_ms, other.key, other.value, other.headers))

    def __hash__(self):
        return hash((self.offset, self.key, self.value))

    def __repr__(self):
        return f"Record(offset={self.offset}, timestamp_ms={self.timestamp_ms}, key={self.key!r}, value={self.value!r})"


cdef object bytes_or_none(const unsigned char* p, int64_t length):
    return None if p == NULL else PyBytes_FromStringAndSize(<const char*>p, length)


cdef Record make_record(const ks_record* r, const ks_batch_header* h):
    """The record object; raises `InvalidBatch` for headers that do not fit."""
    cdef Record made = Record.__new__(Record)
    cdef const unsigned char* p = r.headers
    cdef ks_record_header header
    cdef long long sequence
    made.key = bytes_or_none(r.key, r.key_bytes)
    made.value = bytes_or_none(r.value, r.value_bytes)
    made.offset = h.base_offset + r.offset_delta
    if h.attributes & KS_LOG_APPEND_TIME:
        made.timestamp_ms = h.max_timestamp
    else:
        made.timestamp_ms = <long long>(<unsigned long long>h.base_timestamp + <unsigned long long>r.timestamp_delta)
    made.attributes = h.attributes
    made.leader_epoch = h.leader_epoch
    made.producer_id = h.producer_id
    made.producer_epoch = h.producer_epoch
    if h.base_sequence < 0 or h.attributes & KS_CONTROL:
        made.sequence = h.base_sequence
    else:
        sequence = <long long>h.base_sequence + r.offset_delta
        made.sequence = <int>(sequence & 0x7fffffff)
    if r.headers_count == 0:
        made.headers = ()
        return made
    headers = []
    for _ in range(r.headers_count):
        if ks_header_read(&p, r.end, &header) != KS_OK:
            raise InvalidBatch("a record's headers do not fit into it")
        headers.append((header.key[:header.key_bytes].decode("utf-8", "surrogateescape"),
                        bytes_or_none(header.value, header.value_bytes)))
    if p != r.end:
        raise InvalidBatch("a record's headers do not fill it")
    made.headers = tuple(headers)
    return made


cdef bytes as_bytes(object what, object value):
    """Keys and values: bytes or any other buffer; never text, whose encoding only the caller knows."""
    if isinstance(value, str):
        raise UsageError(f"a record's {what} is text; encode it, for instance with .encode()")
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise UsageError(f"a record's {what} is bytes or None, not {type(value).__name__}") from None


cdef class Encoder:
    """Makes batches of records in one buffer that it uses again and again. One thread at a time."""

    def __cinit__(self):
        self.data = NULL

    def __dealloc__(self):
        free(self.data)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, <Py_ssize_t>self.used, 1, flags)

    @property
    def buffer(self):
        """What the last `encode` made, read-only; valid until the next one."""
        return memoryview(self) if self.used else memoryview(b"")

    def encode(self, records, *, long long base_offset=0, int leader_epoch=-1, long long timestamp_ms=-1, int codec=0,
               level=None, long long batch_bytes_max=BATCH_BYTES_MAX, long long producer_id=-1, int producer_epoch=-1,
               int base_sequence=-1, bint transactional=False):
        """Encode records into `buffer` and say what it holds; see `kstore.encode_batches` for the shapes.

        A batch ends before it would pass `batch_bytes_max` (uncompressed). Raises `BatchTooLarge` for one record
        that is above it, `UsageError` for a record of a wrong shape.
        """
        self.used = 0
        self.info = AppendInfo.__new__(AppendInfo)
        self.base_offset = base_offset
        self.leader_epoch = leader_epoch
        self.codec = codec
        self.level = level
        self.batch_bytes_max = min(batch_bytes_max, BATCH_BYTES_MAX)
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.base_sequence = base_sequence
        self.attributes = codec | (KS_TRANSACTIONAL if transactional else 0)
        if isinstance(records, (bytes, bytearray, memoryview, str)):
            raise UsageError("append takes an iterable of records; put a single value into a list")
        self.begin()
        for record in records:
            if PyBytes_CheckExact(record):
                self.add_value(<const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record), timestamp_ms)
            elif isinstance(record, tuple):
                if len(record) == 2:
                    self.add(record[0], record[1], (), timestamp_ms)
                elif len(record) == 3:
                    self.add(record[0], record[1], record[2], timestamp_ms)
                else:
                    raise UsageError(f"a record is (key, value) or (key, value, headers), not {len(record)} items")
            elif isinstance(record, Record):
                own = (<Record>record).timestamp_ms
                self.add((<Record>record).key, (<Record>record).value, (<Record>record).headers,
                         timestamp_ms if own is None else own)
            elif record is None:
                self.add(None, None, (), timestamp_ms)
            else:
                self.add(None, as_bytes("value", record), (), timestamp_ms)
        if self.count:
            self.finish()
        else:
            self.used = self.batch_at
        return self.info

    cdef int reserve(self, size_t more) except -1:
        cdef size_t need = self.used + more
        cdef void* grown
        if need > self.room:
            need = max(need, 2 * self.room, <size_t>65536)
            grown = realloc(self.data, need)
            if grown == NULL:
                raise MemoryError
            self.data = <unsigned char*>grown
            self.room = need
        return 0

    cdef int begin(self) except -1:
        self.reserve(KS_BATCH_HEADER_BYTES)
        self.batch_at = self.used
        self.used += KS_BATCH_HEADER_BYTES
        self.count = 0
        self.first_timestamp = self.max_timestamp = NO_TIMESTAMP
        return 0

    cdef int fits(self, size_t record_bytes) except -1:
        """Close the batch if one more record of that size would pass the limit."""
        if self.used - self.batch_at + record_bytes > <size_t>self.batch_bytes_max:
            if self.count == 0:
                if self.codec == 0:
                    raise BatchTooLarge(KS_BATCH_HEADER_BYTES + record_bytes, self.batch_bytes_max, "max.message.bytes")
            else:
                self.finish()
                self.begin()
        return 0

    cdef int add_value(self, const unsigned char* value, Py_ssize_t length, long long timestamp) except -1:
        """A record without key and headers: nearly all that a plain list brings."""
        cdef size_t body, whole
        cdef unsigned char* p
        cdef long long delta
        body = 4 + ks_varint_bytes(self.count) + ks_varint_bytes(length) + length - 1
        delta = timestamp - self.first_timestamp if self.count else 0
        body += ks_varint_bytes(delta)
        whole = body + ks_varint_bytes(body)
        if self.used - self.batch_at + whole > <size_t>self.batch_bytes_max:
            self.fits(whole + VARINT_BYTES_MAX)
            if self.count == 0:
                body = 4 + 1 + ks_varint_bytes(length) + length
                whole = body + ks_varint_bytes(body)
                delta = 0
        if self.used + whole > self.room:
            self.reserve(whole)
        if self.count == 0:
            self.first_timestamp = self.max_timestamp = timestamp
        elif timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        p = ks_write_varint(self.data + self.used, body)
        p[0] = 0
        p = ks_write_varint(p + 1, delta)
        p = ks_write_varint(p, self.count)
        p[0] = 1                                  # key length -1
        p = ks_write_varint(p + 1, length)
        memcpy(p, value, length)
        p[length] = 0                             # no headers
        self.used = p + length + 1 - self.data
        self.count += 1
        return 0

    cdef int add(self, object key, object value, object headers, long long timestamp) except -1:
        cdef bytes key_bytes = None if key is None else (key if PyBytes_CheckExact(key) else as_bytes("key", key))
        cdef bytes value_bytes = None if value is None else (value if PyBytes_CheckExact(value)
                                                             else as_bytes("value", value))
        cdef Py_ssize_t key_length = -1 if key_bytes is None else PyBytes_GET_SIZE(key_bytes)
        cdef Py_ssize_t value_length = -1 if value_bytes is None else PyBytes_GET_SIZE(value_bytes)
        cdef list packed = pack_headers(headers) if headers else None
        cdef size_t headers_bytes = 0
        cdef size_t body, whole
        cdef unsigned char* p
        cdef long long delta
        if packed is not None:
            for part in packed:
                headers_bytes += PyBytes_GET_SIZE(part)
        cdef size_t fixed = (1 + ks_varint_bytes(key_length) + max(key_length, 0) + ks_varint_bytes(value_length)
                             + max(value_length, 0) + ks_varint_bytes(len(headers)) + headers_bytes)
        if self.count:
            self.fits(fixed + VARINT_BYTES_MAX + VARLONG_BYTES_MAX + VARINT_BYTES_MAX)
        delta = timestamp - self.first_timestamp if self.count else 0
        body = fixed + ks_varint_bytes(delta) + ks_varint_bytes(self.count)
        whole = body + ks_varint_bytes(body)
        if self.count == 0:
            self.fits(whole)
        self.reserve(whole)
        if self.count == 0:
            self.first_timestamp = self.max_timestamp = timestamp
        elif timestamp > self.max_timestamp:
            self.max_timestamp = timestamp
        p = ks_write_varint(self.data + self.used, body)
        p[0] = 0
        p = ks_write_varint(p + 1, delta)
        p = ks_write_varint(p, self.count)
        p = ks_write_varint(p, key_length)
        if key_length > 0:
            memcpy(p, PyBytes_AS_STRING(key_bytes), key_length)
            p += key_length
        p = ks_write_varint(p, value_length)
        if value_length > 0:
            memcpy(p, PyBytes_AS_STRING(value_bytes), value_length)
            p += value_length
        p = ks_write_varint(p, len(headers))
        if packed is not None:
            for part in packed:
                memcpy(p, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
                p += PyBytes_GET_SIZE(part)
        self.used = p - self.data
        self.count += 1
        return 0

    cdef int finish(self) except -1:
        """Compress the batch being built where asked, write its header, count it."""
        cdef size_t records_at = self.batch_at + KS_BATCH_HEADER_BYTES
        cdef unsigned char* p
        cdef ks_batch_header h
        cdef bytes packed
        if self.codec:
            packed = compression.compress(self.codec, (<const char*>self.data + records_at)[:self.used - records_at],
                                          self.level)
            self.used = records_at
            self.reserve(PyBytes_GET_SIZE(packed))
            memcpy(self.data + self.used, PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
            self.used += PyBytes_GET_SIZE(packed)
            if self.used - self.batch_at > <size_t>self.batch_bytes_max:
                raise BatchTooLarge(self.used - self.batch_at, self.batch_bytes_max, "max.message.bytes")
        write_header(self.data + self.batch_at, self.used - self.batch_at, self.base_offset, self.leader_epoch,
                     self.attributes, self.count, self.first_timestamp, self.max_timestamp, self.producer_id,
                     self.producer_epoch, self.base_sequence)
        p = self.data + self.batch_at
        if ks_batch_parse(p, self.data + self.used, &h) != KS_OK:
            raise InvariantError("the encoder has made a batch that does not parse")
        self.info.count(&h)
        self.base_offset += self.count
        if self.base_sequence >= 0:
            self.base_sequence = (self.base_sequence + self.count) & 0x7fffffff
        return 0


cdef void write_header(unsigned char* p, size_t size_bytes, long long base_offset, int leader_epoch, int attributes,
                       long long count, long long first_timestamp, long long max_timestamp, long long producer_id,
                       int producer_epoch, int base_sequence) noexcept nogil:
    ks_store_be64(p, base_offset)
    ks_store_be32(p + 8, <uint32_t>(size_bytes - 12))
    ks_store_be32(p + 12, <uint32_t>leader_epoch)
    p[16] = 2
    ks_store_be16(p + 21, <unsigned short>attributes)
    ks_store_be32(p + 23, <uint32_t>(count - 1))
    ks_store_be64(p + 27, first_timestamp)
    ks_store_be64(p + 35, max_timestamp)
    ks_store_be64(p + 43, producer_id)
    ks_store_be16(p + 51, <unsigned short>producer_epoch)
    ks_store_be32(p + 53, <uint32_t>base_sequence)
    ks_store_be32(p + 57, <uint32_t>count)
    ks_store_be32(p + 17, ks_crc32c(0, p + KS_BATCH_ATTRIBUTES_AT, size_bytes - KS_BATCH_ATTRIBUTES_AT))


cdef list pack_headers(headers):
    """The encoded headers of one record. Raises `UsageError`."""
    cdef list parts = []
    cdef unsigned char number[VARLONG_BYTES_MAX]
    cdef unsigned char* end
    for header in headers:
        try:
            name, value = header
        except (TypeError, ValueError):
            raise UsageError(f"a header is (name, value), not {header!r}") from None
        if isinstance(name, str):
            name = name.encode("utf-8", "surrogateescape")
        elif not isinstance(name, bytes):
            raise UsageError(f"a header's name is text, not {type(name).__name__}")
        end = ks_write_varint(number, len(name))
        parts.append(number[:end - number])
        parts.append(name)
        if value is None:
            parts.append(b"\x01")
        else:
            value = value if PyBytes_CheckExact(value) else as_bytes("header value", value)
            end = ks_write_varint(number, len(value))
            parts.append(number[:end - number])
            parts.append(value)
    return parts


def encode_marker(long long base_offset, *, int leader_epoch, long long producer_id, int producer_epoch, bint commit,
                  int coordinator_epoch, long long timestamp_ms):
    """A batch of one control record that ends a transaction: 78 bytes, as Kafka's EndTransactionMarker writes it."""
    cdef Encoder encoder = Encoder()
    key = b"\0\0" + (b"\0\1" if commit else b"\0\0")
    value = b"\0\0" + coordinator_epoch.to_bytes(4, "big", signed=True)
    encoder.encode([(key, value)], base_offset=base_offset, leader_epoch=leader_epoch, timestamp_ms=timestamp_ms,
                   producer_id=producer_id, producer_epoch=producer_epoch, transactional=True)
    write_header(encoder.data, encoder.used, base_offset, leader_epoch, KS_TRANSACTIONAL | KS_CONTROL, 1, timestamp_ms,
                 timestamp_ms, producer_id, producer_epoch, -1)
    return bytes(encoder.buffer)
