# cython: language_level=3, boundscheck=False, wraparound=False
"""RECORD: one record as an object.

Owns the `Record` type, and the way of keys, values and headers between Python and bytes. It must not know batches of
records, logs or files. Called by the encoder (`records`) and the decoder (`batches`).

Invariants:
1. A `Record` holds `bytes` of its own: it outlives every buffer that it was read from.
2. Header names go through any number of reads and writes unchanged, also where they are not UTF-8.
"""

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8

from kstore._native.batch cimport ks_sequence_add
from kstore._native.status cimport KS_OK

from kstore.errors import UsageError

cdef extern from "cursor.h" nogil:
    unsigned char* ks_write_varint(unsigned char* p, int64_t value)


@cython.final
@cython.no_gc              # bytes, text and a header: no cycle leads through them, and a collector has less to visit
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


cdef Record make_record(const ks_record* read, BatchHeader batch):
    cdef Record record = Record.__new__(Record)
    record.key = bytes_or_none(read.key, read.key_size)
    record.value = bytes_or_none(read.value, read.value_size)
    record.headers = parse_headers(read.headers, read.end, read.headers_count) if read.headers_count else ()
    record.batch = batch
    record.offset = batch.fields.base_offset + read.offset_delta
    record.offset_delta = <int>read.offset_delta
    record.timestamp = ks_record_timestamp(&batch.fields, read.timestamp_delta)
    record.has_timestamp = True
    record.size_bytes = <int>(read.end - read.start)
    return record
