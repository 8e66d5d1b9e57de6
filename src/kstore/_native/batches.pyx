# cython: language_level=3, boundscheck=False, wraparound=False
"""Batches: what a read returns. Bytes first; records and columns only when they are asked for.

Owns decoding: which batches a reader sees, their checksums at the moment of decoding, unpacking, records and
columns. It must not know segments or logs. Called by users through `Partition.read` and `decode_batches`.

Invariants:
1. Making one costs no look at the bytes; nothing here ever changes them.
2. No record leaves here from a batch whose checksum does not fit; the damage is a `CorruptionError` that says where.
3. Memory: columns take 48 bytes a record of at least 7 (under 7 times the unpacked bytes); iteration holds one record
   and one unpacked batch at a time; a batch unpacks to at most `limits.DECOMPRESSED_BYTES_MAX`, and so do all batches
   of one `columns()` together.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from kstore._native.batch cimport (
    KS_BATCH_HEADER_BYTES, KS_CODEC_MASK, KS_CONTROL, KS_RECORD_BYTES_MIN, KS_TRANSACTIONAL, BatchHeader, batch_header,
    ks_batch_check, ks_batch_parse, ks_batch_reason,
)
from kstore._native.record cimport (
    ks_columns, ks_delta_fits, ks_record, ks_record_read, ks_records_columns, make_record,
)
from kstore._native.columns cimport Columns, columns_of
from kstore._native.mold cimport Mold
from kstore._native.status cimport KS_BAD_COUNT, KS_BAD_RECORD, KS_OK, ks_status

from kstore.errors import CorruptionError, UsageError
from kstore.limits import DECOMPRESSED_BYTES_MAX

cdef enum:
    NOGIL_BYTES_MIN = 32 * 1024      # below this, letting go of the GIL costs more than another thread gains


@cython.final
@cython.freelist(16)
cdef class Batches:
    """Whole record batches, an iterable of `Record`.

    `buffer` is the raw batches, a read-only memoryview without a copy: it stays valid as long as it is held, whatever
    becomes of the log. Iterating decodes lazily and yields the data records of the whole batches, those below the
    offset that was asked for included; control records, and with `read_committed` aborted ones, are left out.
    Decoding raises `CorruptionError` at a batch that fails its checksum or holds malformed records, and
    `MissingCodec` where a package is not installed.
    """

    def __init__(self, buffer, long long next_offset_if_empty=0, *, str file="", long long position=0, aborted=()):
        cdef object view = buffer if type(buffer) is memoryview else memoryview(buffer)
        if not view.readonly:
            view = view.toreadonly()
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        self.buffer = view
        self.file = file
        self.position = position
        self.aborted = tuple(aborted)
        self.end_offset = -1 if len(view) else next_offset_if_empty
        self.start_offset = next_offset_if_empty
        self.count = -1

    def __iter__(self):
        return start(_Records.__new__(_Records), self, False, 0)

    def records(self, *, bint control=False, from_offset=None):
        """Iterate over the records, control records too with `control`, from `from_offset` on."""
        return start(_Records.__new__(_Records), self, control, 0 if from_offset is None else from_offset)

    def tuples(self, *, from_offset=None):
        """Iterate over `(offset, timestamp_ms, key, value)`: less work than records where that is all one needs."""
        return start(_Tuples.__new__(_Tuples), self, False, 0 if from_offset is None else from_offset)

    @property
    def next_offset(self):
        """The offset to read on from: the one behind the last batch."""
        if self.end_offset < 0:
            self._walk()
        return self.end_offset

    def __len__(self):
        """How many records iteration yields, by the headers alone."""
        if self.count < 0:
            self._walk()
        return self.count

    def __bool__(self):
        """Whether there is a batch: one of control records alone has no length, but a `next_offset` to read on from."""
        return len(self.buffer) > 0

    @property
    def size_bytes(self):
        """Bytes in `buffer`."""
        return len(self.buffer)

    def _walk(self):
        cdef Py_buffer view
        cdef ks_batch_header header
        cdef ks_status status
        cdef Py_ssize_t at = 0
        cdef long long count = 0
        PyObject_GetBuffer(self.buffer, &view, PyBUF_SIMPLE)
        try:
            while at < view.len:
                status = ks_batch_parse(<const unsigned char*>view.buf + at,
                                        <const unsigned char*>view.buf + view.len, &header)
                if status != KS_OK:
                    raise corrupt(self, at, (<bytes>ks_batch_reason(status)).decode(), -1, -1)
                if not self.hides(&header, False):
                    count += header.records_count
                at += header.size_bytes
            self.count = count
            if view.len:
                self.end_offset = header.last_offset + 1
        finally:
            PyBuffer_Release(&view)

    cdef bint hides(self, const ks_batch_header* header, bint control) except -1:
        """Whether a reader does not see this batch."""
        if header.attributes & KS_CONTROL:
            return not control
        if self.aborted and header.attributes & KS_TRANSACTIONAL:
            for producer_id, first_offset, last_offset in self.aborted:
                if (header.producer_id == producer_id and header.base_offset >= first_offset
                        and header.last_offset <= last_offset):
                    return True
        return False

    def columns(self):
        """All records at once as numpy columns over one buffer; see `Columns`.

        Raises as iteration does, before anything is returned, and `UsageError` where the batches together unpack to
        more than `limits.DECOMPRESSED_BYTES_MAX`: read fewer at a time, or iterate.
        """
        return decode_columns(self)

    def __repr__(self):
        return f"Batches({len(self.buffer)} bytes{f' of {self.file} at {self.position}' if self.file else ''})"


cdef Batches make_batches(object buffer, long long start_offset, long long next_offset, str file,
                          long long position, tuple aborted, bint dense):
    cdef Batches batches = Batches.__new__(Batches)
    batches.buffer = buffer
    batches.file = file
    batches.position = position
    batches.aborted = aborted
    batches.start_offset = start_offset
    batches.end_offset = next_offset
    batches.dense = dense
    batches.count = -1
    return batches


cdef corrupt(Batches batches, Py_ssize_t at, str reason, long long offset, long long next_offset):
    """What is wrong at byte `at` of the buffer, as an exception."""
    return CorruptionError(batches.file or "record batches", batches.position + at, reason,
                           offset=offset, next_offset=next_offset)


cdef corrupt_batch(Batches batches, Py_ssize_t at, ks_status status, const ks_batch_header* header):
    """As `corrupt`, for a batch whose header can be believed as far as its extent goes.

    How many offsets it covers is under the checksum that failed: the batch behind it says where they end.
    """
    cdef Py_buffer view
    cdef ks_batch_header behind
    cdef Py_ssize_t next_at = at + header.size_bytes
    cdef long long next_offset = header.last_offset + 1
    PyObject_GetBuffer(batches.buffer, &view, PyBUF_SIMPLE)
    if (next_at < view.len and ks_batch_parse(<const unsigned char*>view.buf + next_at,
                                              <const unsigned char*>view.buf + view.len, &behind) == KS_OK
            and behind.base_offset > header.base_offset):
        next_offset = behind.base_offset
    PyBuffer_Release(&view)
    return corrupt(batches, at, (<bytes>ks_batch_reason(status)).decode(), header.base_offset, next_offset)


cdef object unpack(Batches batches, Py_ssize_t at, const ks_batch_header* header):
    """The records section of the compressed batch at byte `at`, unpacked; room for as many records as it claims."""
    from kstore import compression
    section = batches.buffer[at + KS_BATCH_HEADER_BYTES : at + header.size_bytes]
    try:
        unpacked = compression.decompress(header.attributes & KS_CODEC_MASK, section, DECOMPRESSED_BYTES_MAX)
    except ValueError as error:
        raise corrupt(batches, at, str(error), header.base_offset, header.last_offset + 1) from None
    if header.records_count > len(unpacked) // KS_RECORD_BYTES_MIN:
        raise corrupt_batch(batches, at, KS_BAD_COUNT, header)
    return unpacked


# -- records -----------------------------------------------------------------------------------------------------


cdef class _Cursor:
    """Goes over the records of a `Batches`; the two iterators differ only in what they make of one."""
    cdef Batches batches
    cdef bint control
    cdef long long from_offset
    cdef Py_buffer view                   # of all the batches
    cdef bint held
    cdef Py_ssize_t at                    # where the next batch starts
    cdef Py_ssize_t batch_at
    cdef BatchHeader header               # of the current batch
    cdef Py_buffer arena                  # its records, unpacked
    cdef bint arena_held
    cdef const unsigned char* p           # the next record
    cdef const unsigned char* end
    cdef int left                         # records of the batch that were not read yet
    cdef long long expected               # offset behind the batch read last
    cdef int64_t last_delta

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)
        if self.arena_held:
            PyBuffer_Release(&self.arena)

    def __iter__(self):
        return self

    @cython.final
    cdef bint step(self, ks_record* read) except -1:
        """Read the next record that is asked for; False at the end."""
        cdef ks_status status
        while True:
            while self.left == 0:
                if not self.open_batch():
                    return False
            status = ks_record_read(&self.p, self.end, read)
            if status == KS_OK and not ks_delta_fits(read.offset_delta, self.last_delta, &self.header.fields):
                status = KS_BAD_RECORD
            self.left -= 1
            if status == KS_OK and self.left == 0 and self.p != self.end:
                status = KS_BAD_COUNT
            if status != KS_OK:
                self.left = 0
                self.at = self.view.len
                raise corrupt_batch(self.batches, self.batch_at,
                                    KS_BAD_COUNT if self.p == self.end else status, &self.header.fields)
            self.last_delta = read.offset_delta
            if self.header.fields.base_offset + read.offset_delta >= self.from_offset:
                return True

    @cython.final
    cdef bint open_batch(self) except -1:
        """Go to the next batch that is seen; False at the end."""
        cdef const unsigned char* data = <const unsigned char*>self.view.buf
        cdef ks_batch_header header
        cdef ks_status status
        cdef Py_ssize_t at = self.at
        if self.arena_held:
            PyBuffer_Release(&self.arena)
            self.arena_held = False
        while at < self.view.len:
            self.at = self.view.len                       # an error ends the iteration
            status = ks_batch_parse(data + at, data + self.view.len, &header)
            if status != KS_OK:
                raise corrupt(self.batches, at, (<bytes>ks_batch_reason(status)).decode(), self.expected, self.expected)
            follows(self.batches, at, &header, self.expected if at else -1)
            check_batch(self.batches, at, data, self.view.len)     # also what is passed over may be so by a lie
            self.expected = header.last_offset + 1
            if header.last_offset < self.from_offset or self.batches.hides(&header, self.control):
                at += header.size_bytes
                continue
            self.batch_at = at
            self.at = at + header.size_bytes
            self.header = batch_header(&header, self.batches.position + at)
            self.last_delta = -1
            self.left = header.records_count
            if header.attributes & KS_CODEC_MASK:
                self.at = self.view.len
                PyObject_GetBuffer(unpack(self.batches, at, &header), &self.arena, PyBUF_SIMPLE)
                self.at = at + header.size_bytes
                self.arena_held = True
                self.p = <const unsigned char*>self.arena.buf
                self.end = self.p + self.arena.len
            else:
                self.p = data + at + KS_BATCH_HEADER_BYTES
                self.end = data + at + header.size_bytes
            if self.left == 0 and self.p != self.end:
                self.at = self.view.len
                raise corrupt_batch(self.batches, at, KS_BAD_COUNT, &header)
            return True
        self.at = at
        return False


@cython.final
cdef class _Records(_Cursor):
    def __next__(self):
        cdef ks_record read
        if not self.step(&read):
            raise StopIteration
        return make_record(&read, self.header)


@cython.final
cdef class _Tuples(_Cursor):
    cdef Mold mold

    def __cinit__(self):
        self.mold = Mold()

    def __next__(self):
        cdef ks_record read
        if not self.step(&read):
            raise StopIteration
        return self.mold.cast(&read, &self.header.fields)


cdef object start(_Cursor cursor, Batches batches, bint control, long long from_offset):
    cursor.batches = batches
    cursor.control = control
    cursor.from_offset = from_offset
    cursor.expected = batches.start_offset
    PyObject_GetBuffer(batches.buffer, &cursor.view, PyBUF_SIMPLE)
    cursor.held = True
    return cursor


cdef int check_batch(Batches batches, Py_ssize_t at, const unsigned char* data, Py_ssize_t length) except -1:
    """Raise CorruptionError unless the whole batch at byte `at`, which was parsed, has a fitting checksum."""
    cdef ks_batch_header header
    cdef ks_status status
    ks_batch_parse(data + at, data + length, &header)
    if header.size_bytes >= NOGIL_BYTES_MIN:
        with nogil:
            status = ks_batch_check(data + at, data + length, &header)
    else:
        status = ks_batch_check(data + at, data + length, &header)
    if status != KS_OK:
        raise corrupt_batch(batches, at, status, &header)
    return 0


cdef int parse_next(Batches batches, Py_ssize_t at, const unsigned char* data, Py_ssize_t length,
                    ks_batch_header* header) except -1:
    """Parse the batch at byte `at`; `header` holds the one before it, which a dense log must go on from."""
    cdef long long expected = header.last_offset + 1 if at else -1
    cdef ks_status status = ks_batch_parse(data + at, data + length, header)
    if status != KS_OK:
        raise corrupt(batches, at, (<bytes>ks_batch_reason(status)).decode(), expected, expected)
    return follows(batches, at, header, expected)


cdef int follows(Batches batches, Py_ssize_t at, const ks_batch_header* header, long long expected) except -1:
    """Base offsets stand outside the checksum: without holes, each must be where the batch before it ends.

    Where good data resumes only the log can tell: a read at the expected offset asks it.
    """
    if batches.dense and expected >= 0 and header.base_offset != expected:
        raise corrupt(batches, at, "its base offset does not go on from the batch before it", expected, expected)
    return 0


# -- columns -----------------------------------------------------------------------------------------------------


cdef Columns decode_columns(Batches batches):
    """Check and count first, then make room, then fill it: from the headers that were counted, not from the buffer
    again, which another process may be changing."""
    cdef Py_buffer view, arena
    cdef ks_columns rows
    cdef BatchHeader header
    cdef Py_ssize_t count = 0
    cdef bint packed = False
    cdef list sections = None
    cdef list visible = []
    PyObject_GetBuffer(batches.buffer, &view, PyBUF_SIMPLE)
    try:
        check_visible(batches, &view, visible)
        for header in visible:
            count += header.fields.records_count
            packed |= (header.fields.attributes & KS_CODEC_MASK) != 0
        if not packed:
            columns = columns_of(batches.buffer, count, &rows)
            rows.origin = <const unsigned char*>view.buf
            for header in visible:
                fill(batches, header, rows.origin + header.position + KS_BATCH_HEADER_BYTES,
                     header.fields.size_bytes - KS_BATCH_HEADER_BYTES, &rows)
            return columns
    finally:
        PyBuffer_Release(&view)
    sections = unpack_all(batches, visible)
    columns = columns_of(memoryview(b"".join(sections)), count, &rows)
    PyObject_GetBuffer(columns.buffer, &arena, PyBUF_SIMPLE)
    try:
        rows.origin = <const unsigned char*>arena.buf
        at = 0
        for header, section in zip(visible, sections):
            fill(batches, header, rows.origin + <Py_ssize_t>at, len(section), &rows)
            at += len(section)
    finally:
        PyBuffer_Release(&arena)
    return columns


cdef int check_visible(Batches batches, Py_buffer* view, list visible) except -1:
    """Collect the headers of the batches that a reader sees; `position` in them is that in the buffer."""
    cdef const unsigned char* data = <const unsigned char*>view.buf
    cdef ks_batch_header header
    cdef Py_ssize_t at = 0
    while at < view.len:
        parse_next(batches, at, data, view.len, &header)
        check_batch(batches, at, data, view.len)          # also what is hidden may be so by a lie
        if not batches.hides(&header, False):
            visible.append(batch_header(&header, at))
        at += header.size_bytes
    return 0


cdef list unpack_all(Batches batches, list visible):
    """The records sections of these batches, unpacked where they are compressed."""
    cdef BatchHeader header
    cdef Py_ssize_t total = 0
    cdef list sections = []
    for header in visible:
        if header.fields.attributes & KS_CODEC_MASK:
            section = unpack(batches, header.position, &header.fields)
        else:
            section = batches.buffer[header.position + KS_BATCH_HEADER_BYTES
                                     : header.position + header.fields.size_bytes]
        total += len(section)
        if total > DECOMPRESSED_BYTES_MAX:
            raise UsageError(f"these batches unpack to more than {DECOMPRESSED_BYTES_MAX} bytes: "
                             f"read with a smaller max_bytes, or iterate over the records")
        sections.append(section)
    return sections


cdef int fill(Batches batches, BatchHeader header, const unsigned char* p, Py_ssize_t size, ks_columns* rows) except -1:
    """Add the records of one batch, which stand in the `size` bytes from `p` on."""
    cdef ks_status status
    if size >= NOGIL_BYTES_MIN:
        with nogil:
            status = ks_records_columns(p, p + size, &header.fields, rows)
    else:
        status = ks_records_columns(p, p + size, &header.fields, rows)
    if status != KS_OK:
        raise corrupt_batch(batches, header.position, status, &header.fields)
    return 0
