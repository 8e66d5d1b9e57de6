# cython: language_level=3, boundscheck=False, wraparound=False
"""RECORDS: the encoder, which turns records into batches.

Owns the way from Python objects to the bytes of the records section; the header and its checksum are `batch.c`'s. It
must not know logs, files or clocks. Called by `log` for every append of records, and by `kstore.records`.

Invariants:
1. The encoder's output needs no check: its `AppendInfo` describes it, its checksums were computed once, here.
2. Bytes seen through `Encoder.buffer` never change: the next call takes other memory while a view on them lives.
3. A failed call leaves an encoder that can be used again, and an empty buffer.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int16_t, uint16_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from kstore._native.batch cimport (
    KS_BATCH_HEADER_BYTES, KS_CONTROL, KS_LOG_APPEND_TIME, KS_TRANSACTIONAL, KS_UNPACKED_BYTES_MAX,
    info_object, ks_append_count, ks_batch_finish, ks_sequence_add,
)
from kstore._native.block cimport Block
from kstore._native.columns cimport Columns, ks_columns_write, ks_open_batch
from kstore._native.record cimport (
    KS_RECORD_OVERHEAD_BYTES_MAX, Record as OneRecord, as_bytes, ks_columns, pack_headers,
)

from kstore.errors import BatchTooLarge, UsageError

cdef extern from "Python.h":
    PyTypeObject PyBytes_Type
    PyTypeObject PyTuple_Type
    PyObject* Py_None
    PyTypeObject* Py_TYPE(PyObject* o)
    # On borrowed references: nothing that can run Python code comes between the look and the copy.
    Py_ssize_t PyTuple_GET_SIZE(PyObject* o)
    PyObject* PyTuple_GET_ITEM(PyObject* o, Py_ssize_t i)
    Py_ssize_t PyBytes_GET_SIZE(PyObject* o)
    char* PyBytes_AS_STRING(PyObject* o)
    Py_ssize_t PySequence_Fast_GET_SIZE(object o)
    PyObject** PySequence_Fast_ITEMS(object o)

cdef extern from "record.h" nogil:
    enum:
        KS_LEAD_END
        KS_LEAD_VALUE_END
    ctypedef struct ks_lead:
        size_t value_size
        uint32_t count_end
    ks_lead ks_lead_of(size_t value_size, uint32_t count)
    unsigned char* ks_lead_write(unsigned char* p, const ks_lead* lead, uint32_t count, const unsigned char* value)

cdef extern from "cursor.h" nogil:
    int ks_varint_size(int64_t value)
    int ks_size_size(uint32_t size)
    void __builtin_prefetch(const void* p)
    unsigned char* ks_write_size(unsigned char* p, uint32_t size)
    unsigned char* ks_write_varint(unsigned char* p, int64_t value)

cdef enum:
    PREFETCHED = 6                           # items ahead: more does not help, fewer leave a wait
    NULL_SIZE = 1                            # the varint of -1
    BLOCK_BYTES_MIN = 128 * 1024
    BLOCK_BYTES_KEPT_MAX = 8 * 1024 * 1024   # a larger block goes with the call that needed it

Record = OneRecord                           # users find it beside the encoder

cdef PyTypeObject* Record_Type = <PyTypeObject*>OneRecord
cdef int64_t INT32_MAX = 0x7fffffff
cdef int64_t BASE_OFFSET_MAX = 0x7fffffffffffffff - 0x7fffffffff   # no list of records is long enough to overflow it
cdef bytes NO_HEADERS = b"\0"                # a count of zero
cdef tuple NO_PAIRS = ()

# A control record's key and value are a version (0), then a type (0 abort, 1 commit), then the coordinator's epoch.
cdef const unsigned char* MARKER_RECORD = (
    b"\x20\x00\x00\x00\x08\x00\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00")
cdef enum:
    MARKER_BYTES = 78
    MARKER_TYPE_AT = 61 + 8
    MARKER_EPOCH_AT = 61 + 12


@cython.final
cdef class Encoder:
    """Turns records into record batches, in memory that is used again from call to call. One thread at a time."""

    def __cinit__(self):
        self.block = Block.__new__(Block)

    @property
    def buffer(self):
        """The batches of the last `encode`, a read-only memoryview; they stay as they are while it lives."""
        return memoryview(self.block)

    def encode(self, records, *, int64_t base_offset=0, int leader_epoch=-1, timestamp_ms=-1, int codec=0, level=None,
               batch_bytes_max=None, int64_t producer_id=-1, int producer_epoch=-1, int base_sequence=-1,
               bint transactional=False, bint control=False, bint log_append_time=False, record_bytes_max=None):
        """Encode `records` into batches that take offsets from `base_offset` on; returns their `AppendInfo`.

        `records` are `Columns`, or an iterable of value `bytes`, `(key, value)`, `(key, value, headers)` or `Record`;
        those without a time get `timestamp_ms`. A batch is closed where the next record would lift it, not yet
        compressed, above `batch_bytes_max` (None: above 2 GiB); one that its codec makes larger than that is stored
        as it is. A record that needs a larger batch is refused, or with `record_bytes_max` gets one of its own up to
        that size. No record gives no batch.

        Raises `BatchTooLarge` for a record that does not fit alone, `UsageError` for other types, `MissingCodec`.
        """
        cdef int64_t timestamp = -1 if timestamp_ms is None else timestamp_ms
        if self.busy:
            raise UsageError("this encoder is at work in another call")
        if not 0 <= base_offset <= BASE_OFFSET_MAX:
            raise UsageError(f"no batch is made at base offset {base_offset}: 0 to {BASE_OFFSET_MAX}")
        if producer_id >= 0 and not 0 <= producer_epoch <= 0x7fff:
            raise UsageError(f"no batch has producer id {producer_id}, producer epoch {producer_epoch}")
        if type(records) is not list and type(records) is not tuple and type(records) is not Columns:
            if isinstance(records, (str, bytes, bytearray, memoryview)) or not hasattr(records, "__iter__"):
                raise UsageError(f"records are a list of bytes, pairs or Records, not one {type(records).__name__}")
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
            if type(records) is Columns:
                self.add_columns(<Columns>records, timestamp)
            else:
                self.add_all(records, timestamp)
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
            self.block = Block.__new__(Block)
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

    cdef int add_all(self, object records, int64_t timestamp) except -1:
        """Every record of a list or tuple: runs of plain ones at once, what is between them one by one."""
        cdef Py_ssize_t i = 0
        while i < PySequence_Fast_GET_SIZE(records):     # read anew each time: `add` may run a caller's code
            if self.count and timestamp == self.base_timestamp:
                i += self.fill_values(PySequence_Fast_ITEMS(records) + i, PySequence_Fast_GET_SIZE(records) - i)
            if self.count:
                i += self.fill(PySequence_Fast_ITEMS(records) + i, PySequence_Fast_GET_SIZE(records) - i, timestamp)
            if i < PySequence_Fast_GET_SIZE(records):
                self.add(<object>PySequence_Fast_ITEMS(records)[i], timestamp)
                i += 1
        return 0

    cdef int add_columns(self, Columns columns, int64_t timestamp) except -1:
        """Every record of a table; an object is made only of one that begins a batch or for which memory must grow."""
        cdef ks_columns rows
        cdef ks_open_batch batch
        cdef Py_buffer view
        cdef unsigned char* p
        cdef int64_t i = 0, largest
        if columns.table is None:
            raise UsageError("these columns were never filled")
        rows = columns.rows()
        PyObject_GetBuffer(columns.buffer, &view, PyBUF_SIMPLE)
        try:
            rows.origin = <const unsigned char*>view.buf
            while i < columns.count:
                if self.count:
                    batch.count = <uint32_t>self.count
                    batch.base_timestamp, batch.max_timestamp = self.base_timestamp, self.max_timestamp
                    batch.no_timestamp = timestamp
                    p = self.block.data + self.used
                    i = ks_columns_write(&p, self.end(), &rows, i, columns.count, &batch)
                    self.used = p - self.block.data
                    self.count, self.max_timestamp = <int32_t>batch.count, batch.max_timestamp
                if i < columns.count:
                    largest = max(rows.key_ends[i] - rows.key_starts[i], rows.value_ends[i] - rows.value_starts[i])
                    if largest > self.alone_bytes_max and (not self.codec or largest > KS_UNPACKED_BYTES_MAX):
                        raise too_large(KS_BATCH_HEADER_BYTES + largest, self.alone_bytes_max)
                    self.put(columns.bytes_at(2, i), columns.bytes_at(4, i), NO_HEADERS,
                             timestamp if rows.timestamps[i] == -1 else rows.timestamps[i])
                    i += 1
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef Py_ssize_t fill_values(self, PyObject** items, Py_ssize_t items_count) noexcept:
        """The hottest path: the leading items that are `bytes`, have the batch's own time and surely fit into the
        batch and the memory that there is. Runs no Python code; returns how many they were."""
        cdef unsigned char* p = self.block.data + self.used
        cdef unsigned char* end = self.end()
        cdef uint32_t count = self.count
        cdef Py_ssize_t i, size, size_before = -1, last = items_count - 1
        cdef PyObject* value
        cdef PyTypeObject* bytes_type = &PyBytes_Type
        cdef ks_lead lead
        lead.value_size, lead.count_end = 0, 0
        for i in range(items_count):
            value = items[i]
            __builtin_prefetch(items[min(i + PREFETCHED, last)])  # they lie anywhere: half the time was waiting
            if Py_TYPE(value) is not bytes_type:
                break
            size = PyBytes_GET_SIZE(value)
            if end - p < size + KS_RECORD_OVERHEAD_BYTES_MAX:
                break
            if <size_t>size != lead.value_size or count >= lead.count_end:
                if size != size_before or size >= KS_LEAD_VALUE_END or count >= KS_LEAD_END:
                    size_before = size
                    p = put_value(p, count, value, <uint32_t>size)
                    count += 1
                    continue
                lead = ks_lead_of(<size_t>size, count)        # two of one size: a run may have begun
            p = ks_lead_write(p, &lead, count, <const unsigned char*>PyBytes_AS_STRING(value))
            count += 1
        else:
            i = items_count
        self.used = p - self.block.data
        self.count = <int32_t>count
        return i

    cdef Py_ssize_t fill(self, PyObject** items, Py_ssize_t items_count, int64_t timestamp) noexcept:
        """As `fill_values`, for pairs of `bytes` or None and for a `Record` without headers too."""
        cdef unsigned char* p = self.block.data + self.used
        cdef unsigned char* end = self.end()
        cdef uint32_t count = self.count
        cdef int64_t base_timestamp = self.base_timestamp, max_timestamp = self.max_timestamp
        cdef int64_t record_timestamp, delta, key_size, value_size
        cdef PyObject* key
        cdef PyObject* value
        cdef Py_ssize_t i
        for i in range(items_count):
            if i + PREFETCHED < items_count:
                __builtin_prefetch(items[i + PREFETCHED])
            key = Py_None
            value = items[i]
            record_timestamp = timestamp
            if Py_TYPE(value) is &PyTuple_Type:
                if PyTuple_GET_SIZE(value) != 2:
                    break
                key = PyTuple_GET_ITEM(value, 0)
                value = PyTuple_GET_ITEM(value, 1)
            elif Py_TYPE(value) is Record_Type:
                if <PyObject*>(<OneRecord>value).headers is not <PyObject*>NO_PAIRS:
                    break
                if (<OneRecord>value).has_timestamp:
                    record_timestamp = (<OneRecord>value).timestamp
                key = <PyObject*>(<OneRecord>value).key
                value = <PyObject*>(<OneRecord>value).value
            key_size = bytes_size(key)
            value_size = bytes_size(value)
            if key_size < -1 or value_size < -1:
                break
            if end - p < max(key_size, 0) + max(value_size, 0) + KS_RECORD_OVERHEAD_BYTES_MAX:
                break
            delta = wrapping_sub(record_timestamp, base_timestamp)
            p = ks_write_size(p, <uint32_t>(2 + ks_varint_size(delta) + ks_size_size(count) + stored_size(key_size)
                                            + stored_size(value_size)))
            p[0] = 0
            p = ks_write_varint(p + 1, delta)
            p = ks_write_size(p, count)
            p = put_bytes(p, key, key_size)
            p = put_bytes(p, value, value_size)
            p[0] = 0
            p += 1
            count += 1
            if record_timestamp > max_timestamp:
                max_timestamp = record_timestamp
        else:
            i = items_count
        self.used = p - self.block.data
        self.count = <int32_t>count
        self.max_timestamp = max_timestamp
        return i

    cdef unsigned char* end(self) noexcept:
        """Where the open batch must end: the room in memory and the size of a batch, whichever comes first."""
        return self.block.data + min(self.block.capacity, self.start + self.batch_bytes_max)

    cdef int add(self, object item, int64_t timestamp) except -1:
        """One record of any of the accepted shapes."""
        cdef Py_ssize_t count
        cdef OneRecord record
        if type(item) is tuple:
            count = len(<tuple>item)
            if not 2 <= count <= 3:
                raise UsageError(f"a record is (key, value) or (key, value, headers), not {count} items")
            headers = (<tuple>item)[2] if count == 3 else None
            self.put(as_bytes((<tuple>item)[0], "key"), as_bytes((<tuple>item)[1], "value"),
                     pack_headers(headers) if headers else NO_HEADERS, timestamp)
        elif type(item) is OneRecord:
            record = <OneRecord>item
            self.put(record.key, record.value, pack_headers(record.headers) if record.headers else NO_HEADERS,
                     record.timestamp if record.has_timestamp else timestamp)
        elif item is None or isinstance(item, tuple):
            raise UsageError(f"a record is bytes, (key, value), (key, value, headers) or kstore.Record, "
                             f"not {type(item).__name__}; a tombstone is (key, None)")
        else:
            self.put(None, as_bytes(item, "value"), NO_HEADERS, timestamp)
        return 0

    cdef int put(self, object key, object value, bytes headers, int64_t timestamp) except -1:
        """Write one record; `headers` are packed, count first."""
        cdef int64_t key_size = -1 if key is None else PyBytes_GET_SIZE(<PyObject*>key)
        cdef int64_t value_size = -1 if value is None else PyBytes_GET_SIZE(<PyObject*>value)
        cdef int64_t headers_size = PyBytes_GET_SIZE(<PyObject*>headers)
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
            memcpy(p, PyBytes_AS_STRING(<PyObject*>key), <size_t>key_size)
            p += key_size
        p = ks_write_varint(p, value_size)
        if value_size > 0:
            memcpy(p, PyBytes_AS_STRING(<PyObject*>value), <size_t>value_size)
            p += value_size
        memcpy(p, PyBytes_AS_STRING(<PyObject*>headers), <size_t>headers_size)
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
        if KS_BATCH_HEADER_BYTES + size > self.alone_bytes_max and (not self.codec or size > KS_UNPACKED_BYTES_MAX):
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
        if raw_size > KS_UNPACKED_BYTES_MAX:
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


cdef inline int64_t bytes_size(PyObject* data) noexcept:
    """The length of exact bytes, -1 for None, -2 for anything else."""
    if Py_TYPE(data) is &PyBytes_Type:
        return PyBytes_GET_SIZE(data)
    return -1 if data is Py_None else -2


cdef inline int64_t stored_size(int64_t size) noexcept:
    """Bytes of a key or value with its size; -1 is the size of null."""
    return 1 if size < 0 else ks_size_size(<uint32_t>size) + size


cdef inline unsigned char* put_value(unsigned char* p, uint32_t count, PyObject* value, uint32_t size) noexcept:
    """A record without key, headers and time of its own, of any size."""
    p = ks_write_size(p, 4 + <uint32_t>ks_size_size(count) + <uint32_t>ks_size_size(size) + size)
    p[0] = 0
    p[1] = 0
    p = ks_write_size(p + 2, count)
    p[0] = NULL_SIZE
    p = put_bytes(p + 1, value, size)
    p[0] = 0
    return p + 1


cdef inline unsigned char* put_bytes(unsigned char* p, PyObject* data, int64_t size) noexcept:
    if size < 0:
        p[0] = NULL_SIZE
        return p + 1
    p = ks_write_size(p, <uint32_t>size)
    memcpy(p, PyBytes_AS_STRING(data), <size_t>size)
    return p + size


cdef inline int64_t wrapping_sub(int64_t a, int64_t b) noexcept nogil:
    """As Java subtracts: two timestamps may lie further apart than a long reaches."""
    return <int64_t>(<unsigned long long>a - <unsigned long long>b)


cdef too_large(int64_t size_bytes, int64_t limit_bytes):
    return BatchTooLarge(size_bytes, limit_bytes, "max.message.bytes")


def encode_marker(long long base_offset, *, int leader_epoch, long long producer_id, int producer_epoch, bint commit,
                  int coordinator_epoch, long long timestamp_ms):
    """The control batch of 78 bytes that ends a transaction (EndTransactionMarker)."""
    cdef bytes marker = PyBytes_FromStringAndSize(NULL, MARKER_BYTES)
    cdef unsigned char* p = <unsigned char*>PyBytes_AS_STRING(<PyObject*>marker)
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
