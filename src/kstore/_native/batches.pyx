# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""BATCHES: whole record batches over one buffer, decoded when somebody looks.

Owns the way from stored bytes to records and to numpy columns, and what a reader of committed data must not see. It
must not know files or segments: it is given a buffer and the words to name its origin. Made by `view` and by
`kstore.decode_batches`.

Invariants: making one reads no byte; every batch passes its checksum before one of its records is handed out; the
buffer is never copied, only what was compressed is unpacked, within limits.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from kstore import compression
from kstore._native.batch cimport (KS_BATCH_HEADER_BYTES, KS_CODEC_MASK, KS_CONTROL, KS_LOG_APPEND_TIME,
                                   KS_TRANSACTIONAL, ks_batch_check, ks_batch_header, ks_batch_parse)
from kstore._native.records cimport Record, ks_columns, ks_record, ks_record_read, ks_records_columns, make_record
from kstore._native.status cimport KS_BAD_COUNT, KS_BAD_CRC, KS_OK, KS_SHORT, ks_status
from kstore.errors import CorruptionError, InvalidBatch

cdef dict REASONS = {
    KS_SHORT: "the bytes end inside a batch",
    KS_BAD_CRC: "the checksum does not fit the bytes",
    KS_BAD_COUNT: "more or fewer records than the header announces",
}


cdef class Columns:
    """Records as numpy arrays, an element a record, over one `buffer`.

    `offsets` and `timestamps` (ms) are int64; `key_starts`, `key_ends`, `value_starts`, `value_ends` are int64 positions
    in `buffer`, -1 for null. `buffer` is the batches' own where none is compressed, else one in which they are unpacked.
    """
    cdef readonly object buffer
    cdef readonly object offsets, timestamps, key_starts, key_ends, value_starts, value_ends

    def __len__(self):
        return len(self.offsets)

    def value(self, index):
        """The value of one record as bytes, or None."""
        start = self.value_starts[index]
        return None if start < 0 else bytes(self.buffer[start : self.value_ends[index]])

    def key(self, index):
        """The key of one record as bytes, or None."""
        start = self.key_starts[index]
        return None if start < 0 else bytes(self.buffer[start : self.key_ends[index]])


cdef Batches make_batches(object buffer, long long next_offset, str file, long long position, object aborted):
    cdef Batches made = Batches.__new__(Batches)
    made.buffer = buffer
    made.empty_next_offset = next_offset
    made.file = file
    made.position = position
    made.aborted = aborted
    return made


cdef class Batches:
    """Whole record batches: an iterable of `Record`, a raw buffer, or numpy columns.

    Iteration yields the data records of every batch in the buffer, in order; control records and, after a
    `read_committed` read, those of aborted transactions are left out. Decoding a damaged batch raises
    `CorruptionError`, whose `next_offset` is where to read on.
    """

    def __init__(self, buffer, long long next_offset=0, *, str file="", long long position=0, aborted=()):
        self.buffer = memoryview(buffer).cast("B").toreadonly()
        self.empty_next_offset = next_offset
        self.file = file
        self.position = position
        self.aborted = aborted

    @property
    def next_offset(self):
        """Where to read on: behind the last batch."""
        cdef Py_buffer view
        cdef ks_batch_header h
        cdef const unsigned char* p
        cdef const unsigned char* end
        cdef long long next_offset = self.empty_next_offset
        PyObject_GetBuffer(self.buffer, &view, PyBUF_SIMPLE)
        p = <const unsigned char*>view.buf
        end = p + view.len
        while p < end and ks_batch_parse(p, end, &h) == KS_OK:
            next_offset = h.last_offset + 1
            p += h.size_bytes
        PyBuffer_Release(&view)
        return next_offset

    @property
    def size_bytes(self):
        """Bytes in `buffer`."""
        return self.buffer.nbytes

    def __len__(self):
        cdef Py_buffer view
        cdef ks_batch_header h
        cdef const unsigned char* p
        cdef const unsigned char* end
        cdef long long records = 0
        if self.aborted:
            return sum(1 for _ in self)
        PyObject_GetBuffer(self.buffer, &view, PyBUF_SIMPLE)
        p = <const unsigned char*>view.buf
        end = p + view.len
        while p < end and ks_batch_parse(p, end, &h) == KS_OK:
            if not h.attributes & KS_CONTROL:
                records += h.records_count
            p += h.size_bytes
        PyBuffer_Release(&view)
        return records

    def __bool__(self):
        return self.buffer.nbytes > 0

    def __iter__(self):
        return self.records()

    def __repr__(self):
        return f"<Batches of {len(self)} records, {self.buffer.nbytes} bytes>"

    def records(self, *, bint control=False, from_offset=None):
        """Iterate over records; with `control` the control records too; from `from_offset` on where one is given."""
        cdef ks_batch_header h
        cdef long long at = 0
        cdef long long size = self.buffer.nbytes
        cdef long long lowest = -1 if from_offset is None else from_offset
        while at < size:
            batch = self._decode(at, control, lowest)
            at = batch[0]
            yield from batch[1]

    def _decode(self, long long at, bint control, long long lowest):
        """The records of the batch at byte `at`, as a list, and where the next batch starts."""
        cdef Py_buffer view
        cdef Py_buffer unpacked
        cdef ks_batch_header h
        cdef ks_record r
        cdef const unsigned char* p
        cdef const unsigned char* end
        cdef list found = []
        cdef long long i
        cdef bint is_unpacked = False
        cdef ks_status status
        PyObject_GetBuffer(self.buffer, &view, PyBUF_SIMPLE)
        try:
            p = <const unsigned char*>view.buf + at
            self.check(p, <const unsigned char*>view.buf + view.len, at, &h)
            end = p + h.size_bytes
            if (h.attributes & KS_CONTROL and not control) or h.last_offset < lowest or self.is_hidden(&h, control):
                return at + h.size_bytes, found
            p += KS_BATCH_HEADER_BYTES
            if h.attributes & KS_CODEC_MASK:
                PyObject_GetBuffer(self.unpack(at, &h), &unpacked, PyBUF_SIMPLE)
                is_unpacked = True
                p = <const unsigned char*>unpacked.buf
                end = p + unpacked.len
            for i in range(h.records_count):
                status = ks_record_read(&p, end, &r)
                if status != KS_OK:
                    raise self.damaged(at, &h, "a record does not fit its batch")
                if h.base_offset + r.offset_delta < lowest:
                    continue
                try:
                    found.append(make_record(&r, &h))
                except InvalidBatch as error:
                    raise self.damaged(at, &h, error.reason) from None
            if p != end:
                raise self.damaged(at, &h, REASONS[KS_BAD_COUNT])
        finally:
            if is_unpacked:
                PyBuffer_Release(&unpacked)
            PyBuffer_Release(&view)
        return at + h.size_bytes, found

    cdef int check(self, const unsigned char* p, const unsigned char* end, long long at, ks_batch_header* h) except -1:
        cdef ks_status status = ks_batch_check(p, end, h)
        if status == KS_OK:
            return 0
        if ks_batch_parse(p, end, h) == KS_OK:
            raise self.damaged(at, h, REASONS.get(status, "not a record batch"))
        raise CorruptionError(self.file or "the buffer", self.position + at, REASONS.get(status, "not a record batch"))

    cdef object damaged(self, long long at, const ks_batch_header* h, str reason):
        return CorruptionError(self.file or "the buffer", self.position + at, reason, offset=h.base_offset,
                               next_offset=h.last_offset + 1)

    cdef bint is_hidden(self, const ks_batch_header* h, bint control):
        if not self.aborted or not h.attributes & KS_TRANSACTIONAL or h.attributes & KS_CONTROL:
            return False
        for producer_id, first, last in self.aborted:
            if producer_id == h.producer_id and first <= h.base_offset <= last:
                return True
        return False

    cdef object unpack(self, long long at, const ks_batch_header* h):
        section = self.buffer[at + KS_BATCH_HEADER_BYTES : at + h.size_bytes]
        try:
            return compression.decompress(h.attributes & KS_CODEC_MASK, section)
        except compression.CodecError as error:
            raise self.damaged(at, h, str(error)) from None

    def columns(self):
        """Everything at once as numpy arrays: see `Columns`. Hidden and control records are left out."""
        import numpy

        cdef Py_buffer view
        cdef Py_buffer arena
        cdef ks_batch_header h
        cdef ks_columns out
        cdef const unsigned char* p
        cdef const unsigned char* end
        cdef const unsigned char* start
        cdef long long total = 0, at = 0, count = 0
        cdef int64_t append_time
        cdef ks_status status
        cdef list wanted = [], parts = []
        cdef bint any_packed = False
        cdef Columns columns = Columns.__new__(Columns)
        PyObject_GetBuffer(self.buffer, &view, PyBUF_SIMPLE)
        try:
            start = <const unsigned char*>view.buf
            end = start + view.len
            while at < view.len:
                self.check(start + at, end, at, &h)
                if not h.attributes & KS_CONTROL and not self.is_hidden(&h, False):
                    wanted.append(at)
                    total += h.records_count
                    any_packed = any_packed or h.attributes & KS_CODEC_MASK != 0
                at += h.size_bytes
            columns.buffer = self.arena(wanted, start) if any_packed else self.buffer
        finally:
            PyBuffer_Release(&view)
        rows = numpy.empty((6, total), numpy.int64)
        cdef int64_t[:, ::1] table = rows
        if total:
            out.offsets, out.timestamps = &table[0, 0], &table[1, 0]
            out.key_starts, out.key_ends = &table[2, 0], &table[3, 0]
            out.value_starts, out.value_ends = &table[4, 0], &table[5, 0]
        if any_packed:
            columns.buffer, places = columns.buffer
        else:
            places = None
        PyObject_GetBuffer(columns.buffer, &arena, PyBUF_SIMPLE)
        PyObject_GetBuffer(self.buffer, &view, PyBUF_SIMPLE)
        try:
            start = <const unsigned char*>view.buf
            for i, at in enumerate(wanted):
                ks_batch_parse(start + at, start + view.len, &h)
                if h.records_count == 0:
                    continue
                if places is None:
                    p = start + at + KS_BATCH_HEADER_BYTES
                    end = start + at + h.size_bytes
                else:
                    p = <const unsigned char*>arena.buf + <long long>places[i][0]
                    end = <const unsigned char*>arena.buf + <long long>places[i][1]
                append_time = h.max_timestamp
                status = ks_records_columns(p, end, h.records_count, <const unsigned char*>arena.buf, h.base_offset,
                                            h.base_timestamp,
                                            &append_time if h.attributes & KS_LOG_APPEND_TIME else NULL, count, &out)
                if status != KS_OK:
                    raise self.damaged(at, &h, REASONS.get(status, "a record does not fit its batch"))
                count += h.records_count
        finally:
            PyBuffer_Release(&view)
            PyBuffer_Release(&arena)
        (columns.offsets, columns.timestamps, columns.key_starts, columns.key_ends, columns.value_starts,
         columns.value_ends) = rows
        return columns

    cdef object arena(self, list wanted, const unsigned char* start):
        """One buffer with the records of every batch, unpacked, and where each batch's lie in it."""
        cdef ks_batch_header h
        cdef long long at, used = 0, size = self.buffer.nbytes
        parts, places = [], []
        for at in wanted:
            ks_batch_parse(start + at, start + size, &h)
            if h.attributes & KS_CODEC_MASK:
                part = self.unpack(at, &h)
            else:
                part = self.buffer[at + KS_BATCH_HEADER_BYTES : at + h.size_bytes]
            places.append((used, used + len(part)))
            used += len(part)
            parts.append(part)
        return memoryview(b"".join(parts)), places
