# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""REPEATS: requests that are the one before with other records, or another offset, taken where they were received.

A producer sends the same request for a partition again and again: only the correlation id and the records differ, and
where the records lie follows from one request that was decoded. What is learnt from it here is a `Pattern`: the bytes
around the records, and those of an answer. Requests that fit are taken without being decoded, and several in a row
become one append. A consumer's requests differ in correlation id and offset: their pattern is a `FetchPattern`.

Owns patterns, and the bytes of a run of requests. It must not know a field of the protocol but the size, the API, the
version and the correlation id that open a request, and the length before records; nor logs. Called by
`broker.repeats`.

Invariants
  1. A request is taken only where every byte of it but correlation id and records, or offset, is that of the pattern.
  2. Batches are taken only where nothing is to be said about them but by the log: one batch, of the format that is
     written today, of no transaction. Those of a producer that counts its batches go one by one, for each may be one
     that is there already.
  3. Nothing is taken from the reader before `Run.done`: who cannot store a run leaves its requests to be handled as
     any others.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from kstore.errors import UsageError
from kstore._native.batch cimport (
    KS_CODEC_MASK, KS_CONTROL, KS_TRANSACTIONAL, PIECES_MAX, Pieces, ks_batch_header, ks_batch_parse,
)
from kstore._native.status cimport KS_OK
from kstore._native.stream cimport TOGETHER_BYTES, FrameReader

cdef extern from "cursor.h" nogil:
    uint32_t ks_load_be32(const unsigned char* p)
    uint64_t ks_load_be64(const unsigned char* p)
    void ks_store_be32(unsigned char* p, uint32_t v)
    void ks_store_be64(unsigned char* p, uint64_t v)

cdef enum:
    SIZE_BYTES = 4
    OPENING_BYTES = 4                   # API and version
    CORRELATION_AT = 4
    PREFIX_AT = 8
    RUN_MAX = 64                        # requests in a run
    GATHERED_BYTES_MAX = 64 * 1024      # of batches that are copied together
    APART_BYTES_MIN = 16 * 1024         # a batch from here on is not copied, nor are those behind it
    PATTERNS_MAX = 32                   # partitions that one connection produces to in turns
    ANSWER_CORRELATION_AT = 4


cdef class Known:
    """What a pattern is to its caller."""

    cdef readonly object target


@cython.final
cdef class Pattern(Known):
    """How the Produce requests of one client for one partition look. `target` is the caller's, for what belongs to it.

    `frame` is a request of that kind and `records` a view of its records; `compact` where their length is a varint.
    `answer` is one to it with its size, and the places in it are of 8 bytes each, -1 where the version has none.
    Batches of the codec `refused_codec` do not fit; -1 for none.
    """

    cdef bytes opening, prefix, suffix, answer
    cdef bint compact
    cdef int refused_codec
    cdef Py_ssize_t base_offset_at, append_time_at, log_start_at

    def __cinit__(self, target, frame, records, *, bint compact, bytes answer not None, Py_ssize_t base_offset_at,
                  Py_ssize_t append_time_at, Py_ssize_t log_start_at, int refused_codec):
        cdef Py_buffer whole, part
        cdef Py_ssize_t start, end, before
        self.target = target
        self.compact = compact
        self.answer = answer
        self.base_offset_at = base_offset_at
        self.append_time_at = append_time_at
        self.log_start_at = log_start_at
        self.refused_codec = refused_codec
        for place in (base_offset_at, append_time_at, log_start_at):
            if place > len(answer) - 8:
                raise UsageError(f"place {place} is outside an answer of {len(answer)} bytes")
        PyObject_GetBuffer(frame, &whole, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(records, &part, PyBUF_SIMPLE)
            start = <const unsigned char*>part.buf - <const unsigned char*>whole.buf
            end = start + part.len
            PyBuffer_Release(&part)
            before = start - (uvarint_bytes(end - start + 1) if compact else SIZE_BYTES)
            if before < PREFIX_AT or end > whole.len:
                raise UsageError("the records are no part of the frame")
            data = <bytes>PyBytes_FromStringAndSize(<const char*>whole.buf, whole.len)
            self.opening = data[:OPENING_BYTES]
            self.prefix = data[PREFIX_AT:before]
            self.suffix = data[end:]
        finally:
            PyBuffer_Release(&whole)

    cdef bint fits(self, const unsigned char* frame, Py_ssize_t size, const unsigned char** records,
                   ks_batch_header* header) noexcept:
        """Whether a request of that size is one; where its records are, and their batch's header."""
        cdef Py_ssize_t prefix = len(self.prefix), suffix = len(self.suffix)
        cdef const unsigned char* p = frame + PREFIX_AT + prefix
        cdef const unsigned char* end = frame + size - suffix
        cdef int64_t length
        cdef int i
        if size < PREFIX_AT + prefix + SIZE_BYTES + suffix:
            return False
        if (memcmp(frame, PyBytes_AS_STRING(self.opening), OPENING_BYTES) != 0
                or memcmp(frame + PREFIX_AT, PyBytes_AS_STRING(self.prefix), prefix) != 0
                or memcmp(end, PyBytes_AS_STRING(self.suffix), suffix) != 0):
            return False
        if self.compact:
            length = 0
            for i in range(5):
                length |= <int64_t>(p[0] & 0x7F) << (7 * i)
                p += 1
                if p > end:
                    return False
                if not p[-1] & 0x80:
                    break
            length -= 1
        else:
            length = <int32_t>ks_load_be32(p)
            p += SIZE_BYTES
        if length != end - p or ks_batch_parse(p, end, header) != KS_OK or header.size_bytes != length:
            return False
        records[0] = p
        return (header.last_offset_delta >= 0
                and not header.attributes & (KS_TRANSACTIONAL | KS_CONTROL)
                and header.attributes & KS_CODEC_MASK != self.refused_codec)


@cython.final
cdef class FetchPattern(Known):
    """How the Fetch requests of one client for one partition look; `frame` is one of them.

    `head` is what an answer begins with, up to the length of its records, and `tail` what stands behind them. The
    places in the head are of 8 bytes each, -1 where the version has none.
    """

    cdef bytes frame, head, tail
    cdef bint compact
    cdef Py_ssize_t offset_at, high_watermark_at, last_stable_at, log_start_at

    def __cinit__(self, target, bytes frame not None, *, Py_ssize_t offset_at, bint compact, bytes head not None,
                  bytes tail not None, Py_ssize_t high_watermark_at, Py_ssize_t last_stable_at,
                  Py_ssize_t log_start_at):
        self.target = target
        self.frame = frame
        self.offset_at = offset_at
        self.compact = compact
        self.head = head
        self.tail = tail
        self.high_watermark_at = high_watermark_at
        self.last_stable_at = last_stable_at
        self.log_start_at = log_start_at
        if not PREFIX_AT <= offset_at <= len(frame) - 8:
            raise UsageError(f"place {offset_at} is outside a request of {len(frame)} bytes")
        for place in (high_watermark_at, last_stable_at, log_start_at):
            if place > len(head) - 8:
                raise UsageError(f"place {place} is outside an answer's head of {len(head)} bytes")

    cdef bint fits(self, const unsigned char* frame, Py_ssize_t size) noexcept:
        cdef const unsigned char* own = <const unsigned char*>PyBytes_AS_STRING(self.frame)
        cdef Py_ssize_t behind = self.offset_at + 8
        return (size == len(self.frame) and memcmp(frame, own, OPENING_BYTES) == 0
                and memcmp(frame + PREFIX_AT, own + PREFIX_AT, self.offset_at - PREFIX_AT) == 0
                and memcmp(frame + behind, own + behind, size - behind) == 0)


cdef int uvarint_bytes(Py_ssize_t value) noexcept:
    cdef int count = 1
    while value > 0x7F:
        value >>= 7
        count += 1
    return count


@cython.final
@cython.freelist(4)
cdef class Run(Pieces):
    """Requests of one pattern that came behind each other. Its buffer is their batches, behind each other too; large
    ones are copied for it only where somebody asks for the buffer.

    Made by `Patterns.gather`; until `done` it must be the last thing that was asked of the reader.
    """

    cdef readonly Pattern pattern
    cdef readonly int count
    cdef readonly Py_ssize_t frames_bytes   # of the requests, without their sizes
    cdef readonly long long newest_ms       # the greatest timestamp of all batches
    cdef readonly long long offsets         # that the batches take
    cdef FrameReader reader
    cdef object held                        # what owns the bytes as they came
    cdef bytes together                     # what they were copied to
    cdef const unsigned char* data
    cdef Py_ssize_t size_bytes, last_frame_bytes, end
    cdef int32_t[RUN_MAX] ids
    cdef int32_t[RUN_MAX] deltas

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if self.data == NULL:
            self.put_together(self.piece, self.piece_bytes, self.apart)
        PyBuffer_FillInfo(buffer, self, <void*>self.data, self.size_bytes, True, flags)

    cdef int put_together(self, const unsigned char** batches, const Py_ssize_t* sizes, int count) except -1:
        cdef Py_ssize_t size = 0
        cdef int i
        self.together = PyBytes_FromStringAndSize(NULL, self.size_bytes)
        self.data = <const unsigned char*>PyBytes_AS_STRING(self.together)
        for i in range(count):
            memcpy(<unsigned char*>self.data + size, batches[i], sizes[i])
            size += sizes[i]
        return 0

    def __len__(self):
        return self.size_bytes

    @property
    def correlation_ids(self):
        """Of the requests, in their order."""
        return [self.ids[i] for i in range(self.count)]

    def answers(self, long long base_offset, long long append_time_ms, long long log_start_offset):
        """The answers to all of them, where the first batch went to `base_offset`, in one piece."""
        cdef Pattern pattern = self.pattern
        cdef Py_ssize_t size = len(pattern.answer)
        cdef bytes made = PyBytes_FromStringAndSize(NULL, size * self.count)
        cdef unsigned char* p = <unsigned char*>PyBytes_AS_STRING(made)
        cdef int i
        for i in range(self.count):
            memcpy(p, PyBytes_AS_STRING(pattern.answer), size)
            ks_store_be32(p + ANSWER_CORRELATION_AT, self.ids[i])
            put(p, pattern.base_offset_at, base_offset)
            put(p, pattern.append_time_at, append_time_ms)
            put(p, pattern.log_start_at, log_start_offset)
            base_offset += self.deltas[i] + 1
            p += size
        return made

    def done(self):
        """Take the requests from the reader; what the buffer shows must not be looked at from now on."""
        self.size_bytes = self.apart = 0
        self.held = self.together = None
        self.reader.taken(self.last_frame_bytes, self.end)


@cython.final
@cython.freelist(4)
cdef class Ask:
    """One Fetch request of a pattern; until `done` it must be the last thing that was asked of the reader.

    It may be answered before that, or any time later.
    """

    cdef readonly FetchPattern pattern
    cdef readonly int count                 # of requests: always 1
    cdef readonly Py_ssize_t frames_bytes   # of the request, without its size
    cdef readonly long long offset
    cdef readonly int correlation_id
    cdef FrameReader reader
    cdef Py_ssize_t end

    def answer(self, records, long long high_watermark, long long last_stable_offset, long long log_start_offset):
        """The answer that brings the records, as a list of buffers."""
        cdef FetchPattern pattern = self.pattern
        cdef Py_ssize_t head = len(pattern.head), tail = len(pattern.tail), size = len(records), length
        cdef bytes made
        cdef unsigned char* p
        length = uvarint_bytes(size + 1) if pattern.compact else SIZE_BYTES
        made = PyBytes_FromStringAndSize(NULL, head + length)
        p = <unsigned char*>PyBytes_AS_STRING(made)
        memcpy(p, PyBytes_AS_STRING(pattern.head), head)
        ks_store_be32(p, head + length + size + tail - SIZE_BYTES)
        ks_store_be32(p + ANSWER_CORRELATION_AT, self.correlation_id)
        put(p, pattern.high_watermark_at, high_watermark)
        put(p, pattern.last_stable_at, last_stable_offset)
        put(p, pattern.log_start_at, log_start_offset)
        p += head
        if pattern.compact:
            size += 1
            while size > 0x7F:
                p[0] = size & 0x7F | 0x80
                size >>= 7
                p += 1
            p[0] = size
        else:
            ks_store_be32(p, size)
        return [made, records, pattern.tail] if tail else [made, records]

    def done(self):
        """Take the request from the reader."""
        self.reader.taken(self.frames_bytes, self.end)


cdef inline void put(unsigned char* answer, Py_ssize_t place, long long value) noexcept:
    if place >= 0:
        ks_store_be64(answer + place, value)


@cython.final
cdef class Patterns:
    """Those of one connection, the last one that was used first."""

    cdef list known

    def __cinit__(self):
        self.known = []

    def __len__(self):
        return len(self.known)

    def learn(self, Known pattern not None):
        """Know one more; the one that was not used for longest is forgotten for it."""
        self.known.insert(0, pattern)
        del self.known[PATTERNS_MAX:]

    def gather(self, FrameReader reader not None):
        """What stands at the front of the reader, complete, and fits a pattern: a `Run`, or an `Ask`; else None.

        A run is of several requests as far as their batches are 64 KiB together; the first one of any size.
        """
        cdef Py_ssize_t have = reader.end - reader.begin, size
        cdef const unsigned char* frame = reader.data + reader.begin
        cdef const unsigned char* records
        cdef ks_batch_header header
        cdef Py_ssize_t i
        cdef bint fits
        if have < SIZE_BYTES or reader.failure is not None:
            return None
        size = reader.size_at(reader.begin)
        if size < 1 or size > reader.limit_bytes or size > have - SIZE_BYTES:
            return None
        for i in range(len(self.known)):
            known = self.known[i]
            if type(known) is Pattern:
                fits = (<Pattern>known).fits(frame + SIZE_BYTES, size, &records, &header)
            else:
                fits = (<FetchPattern>known).fits(frame + SIZE_BYTES, size)
            if fits:
                if i:
                    self.known.insert(0, self.known.pop(i))
                if type(known) is Pattern:
                    return gathered(<Pattern>known, reader)
                return asked(<FetchPattern>known, reader, frame + SIZE_BYTES, size)
        return None


cdef Ask asked(FetchPattern pattern, FrameReader reader, const unsigned char* frame, Py_ssize_t size):
    cdef Ask ask = Ask.__new__(Ask)
    ask.pattern = pattern
    ask.reader = reader
    ask.count = 1
    ask.frames_bytes = size
    ask.offset = <int64_t>ks_load_be64(frame + pattern.offset_at)
    ask.correlation_id = ks_load_be32(frame + CORRELATION_AT)
    ask.end = frame + size - reader.data
    return ask


cdef Run gathered(Pattern pattern, FrameReader reader):
    cdef Run run = Run.__new__(Run)
    cdef const unsigned char* frame = reader.data + reader.begin
    cdef const unsigned char* end = reader.data + reader.end
    cdef const unsigned char* records
    cdef const unsigned char* batches[RUN_MAX]
    cdef Py_ssize_t sizes[RUN_MAX]
    cdef ks_batch_header header
    cdef Py_ssize_t size
    cdef bint apart = False
    cdef int i
    run.pattern = pattern
    run.reader = reader
    run.newest_ms = -1
    while run.count < (PIECES_MAX if apart else RUN_MAX) and end - frame >= SIZE_BYTES:
        size = <int32_t>ks_load_be32(frame)
        if size < 1 or size > reader.limit_bytes or size > end - frame - SIZE_BYTES:
            break
        if not pattern.fits(frame + SIZE_BYTES, size, &records, &header):
            break
        if run.count == 0:
            apart = header.size_bytes >= APART_BYTES_MIN
        elif (run.size_bytes + header.size_bytes > (TOGETHER_BYTES if apart else GATHERED_BYTES_MAX)
                or header.producer_id >= 0):
            break
        i = run.count
        batches[i] = records
        sizes[i] = header.size_bytes
        run.ids[i] = ks_load_be32(frame + SIZE_BYTES + CORRELATION_AT)
        run.deltas[i] = header.last_offset_delta
        run.count += 1
        run.size_bytes += header.size_bytes
        run.offsets += header.last_offset_delta + 1
        run.frames_bytes += size
        run.last_frame_bytes = size
        run.newest_ms = max(run.newest_ms, header.max_timestamp)
        frame += SIZE_BYTES + size
        if header.producer_id >= 0:
            break
    run.end = frame - reader.data
    if run.count == 1:
        run.held = reader.chunk
        run.data = batches[0]
    elif apart:
        run.held = reader.chunk
        run.apart = run.count
        for i in range(run.count):
            run.piece[i] = batches[i]
            run.piece_bytes[i] = sizes[i]
    else:
        run.put_together(batches, sizes, run.count)
    return run
