# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""APPENDER: the write end of one segment's log file.

Owns the file, its size, the running header digest and the order of an append: bytes first, then index
entries, then the numbers that readers see. It must not know when to roll, flush or index by time: `log`
decides, `index` holds the cadence. `segment` makes one for a segment that takes appends and drops it when the
segment is sealed. One writer at a time.

Invariants
  1. When append returns, every byte is in the page cache: a killed process loses none of it.
  2. When append raises, size, indexes and digest are as before and the file is cut back; where even that
     failed, the OSError carries `torn = True`, and the next append overwrites the remains.
  3. The caller's buffer is never written to: offset and epoch are stamped into a copy.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINVAL
from libc.string cimport memcpy
from posix.stdlib cimport posix_memalign
from libc.stdlib cimport free

from kstore import limits
from kstore.errors import UsageError
from kstore._native.batch cimport (
    AppendInfo, KS_BATCH_HEADER_BYTES, PIECES_MAX, Pieces, ks_batch_header, ks_batch_parse, ks_batch_stamp,
)
from kstore._native.crc32c cimport ks_crc32c
from kstore._native.file cimport File, iovec
from kstore._native.index cimport Indexes
from kstore._native.status cimport KS_OK

cdef enum:
    PAGE_BYTES = 4096
    STAGING_BYTES = 256 * 1024          # limits.STAGING_BYTES, checked below
    STAGED_BYTES_MAX = 16 * 1024        # a single batch up to here is cheaper copied than written from two places
    GIL_HELD_BYTES_MAX = 16 * 1024      # a shorter write ends before another thread would have run
    DIGEST_BYTES = 21                   # of each header: what the batch's own checksum does not cover
    STAGINGS_KEPT = 4

if limits.STAGING_BYTES != STAGING_BYTES:
    raise AssertionError("appender and limits disagree on the staging buffer")

cdef long long INT32_MAX = limits.INT32_MAX
cdef long long INT64_MAX = limits.INT64_MAX
cdef list idle_stagings = []            # shared by all appenders: a store may hold thousands of active segments


cdef class Staging:
    """A page-aligned buffer in which batches are stamped and gathered into large writes."""

    def __cinit__(self):
        if posix_memalign(<void**>&self.data, PAGE_BYTES, STAGING_BYTES):
            raise MemoryError

    def __dealloc__(self):
        free(self.data)


cdef inline void stamped_parts(iovec* parts, unsigned char* header, const unsigned char* batch, Py_ssize_t length,
                               long long next_offset, int leader_epoch) noexcept nogil:
    """Two parts of a write: a stamped copy of the batch's header in `header`, and the rest where it lies."""
    memcpy(header, batch, KS_BATCH_HEADER_BYTES)
    ks_batch_stamp(header, next_offset, leader_epoch)
    parts[0].iov_base, parts[0].iov_len = header, KS_BATCH_HEADER_BYTES
    parts[1].iov_base, parts[1].iov_len = <void*>(batch + KS_BATCH_HEADER_BYTES), length - KS_BATCH_HEADER_BYTES


cdef class Appender:
    def __cinit__(self, File file, Indexes indexes, long long base_offset, long long size_bytes,
                  long long next_offset, long long first_timestamp_ms, header_digest=None):
        self.file = file
        self.indexes = indexes
        self.base_offset = base_offset
        self.size_bytes = size_bytes
        self.next_offset = next_offset
        self.first_timestamp_ms = first_timestamp_ms
        self.digest_known = header_digest is not None
        self.digest = header_digest if header_digest is not None else 0

    @property
    def header_digest(self):
        """CRC-32C over the first 21 bytes of every batch, or None when the segment was opened without it."""
        return self.digest if self.digest_known else None

    @header_digest.setter
    def header_digest(self, value):
        self.digest_known = value is not None
        self.digest = value if value is not None else 0

    cpdef append(self, buffer, AppendInfo info, long long next_offset, int leader_epoch):
        """Write a stamped copy of `buffer`: its first batch gets `next_offset`, each other the offset behind
        the one before it, all of them `leader_epoch`. OSError, UsageError; `info` is what
        `batch.check(buffer)` returned.
        """
        cdef Py_buffer view
        cdef int error
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            self.admit_next(view.len, info, next_offset)
            if info.batches == 1:
                error = self.write_one(<const unsigned char*>view.buf, view.len, next_offset, leader_epoch)
            else:
                error = self.write_many(<const unsigned char*>view.buf, view.len, next_offset, leader_epoch)
            if error:
                self.cut_back(error)
            self.count(<const unsigned char*>view.buf, view.len, next_offset, leader_epoch, True)
        finally:
            PyBuffer_Release(&view)

    cdef append_apart(self, Pieces pieces, AppendInfo info, long long next_offset, int leader_epoch):
        """The same for single batches that lie apart, of which nothing is copied: `info` is `check_apart`'s."""
        cdef unsigned char headers[PIECES_MAX][KS_BATCH_HEADER_BYTES]
        cdef iovec parts[2 * PIECES_MAX]
        cdef ks_batch_header header
        cdef Py_ssize_t length = 0
        cdef long long offset = next_offset
        cdef int error, i
        for i in range(pieces.apart):
            length += pieces.piece_bytes[i]
        self.admit_next(length, info, next_offset)
        if info.batches != pieces.apart:
            raise UsageError(f"{info.batches} batches in {pieces.apart} pieces: each has to be one")
        for i in range(pieces.apart):
            if ks_batch_parse(pieces.piece[i], pieces.piece[i] + pieces.piece_bytes[i], &header) != KS_OK:
                raise UsageError("a batch changed since it was checked")
            stamped_parts(&parts[2 * i], headers[i], pieces.piece[i], pieces.piece_bytes[i], offset, leader_epoch)
            offset += header.last_offset_delta + 1
        with nogil:
            error = self.file.pwritev_all(parts, 2 * pieces.apart, self.size_bytes)
        if error:
            self.cut_back(error)
        for i in range(pieces.apart):
            self.count(pieces.piece[i], pieces.piece_bytes[i], next_offset, leader_epoch, True)
            next_offset = self.next_offset

    cpdef append_stamped(self, buffer, AppendInfo info):
        """Write batches that carry their offsets and epochs already: a leader's bytes, the encoder's output."""
        cdef Py_buffer view
        cdef const unsigned char* data
        cdef long long position = self.size_bytes
        cdef int error
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            data = <const unsigned char*>view.buf
            self.admit(view.len, info, info.first_offset, info.next_offset)
            if view.len >= GIL_HELD_BYTES_MAX:
                with nogil:
                    error = self.file.pwrite_all(data, view.len, position)
            else:
                error = self.file.pwrite_all(data, view.len, position)
            if error:
                self.cut_back(error)
            self.count(data, view.len, 0, 0, False)
        finally:
            PyBuffer_Release(&view)

    cdef int admit_next(self, Py_ssize_t length, AppendInfo info, long long next_offset) except -1:
        """The same for batches that get their offsets here, from `next_offset` on."""
        if info.offsets > INT64_MAX - next_offset:
            raise UsageError(f"{info.offsets} offsets from {next_offset} on: {INT64_MAX} is the end of every log")
        return self.admit(length, info, next_offset, next_offset + info.offsets)

    cdef int admit(self, Py_ssize_t length, AppendInfo info, long long first_offset, long long next_offset) except -1:
        """Refuse what no index could point to, and what does not go on from the end."""
        if length != info.size_bytes or info.batches < 1:
            raise UsageError(f"{length} bytes in the buffer, {info.size_bytes} in {info.batches} batches in its check")
        if first_offset < self.next_offset:
            raise UsageError(f"offset {first_offset} is below {self.next_offset}, the end of {self.file.path}")
        if self.size_bytes + length > INT32_MAX:
            raise UsageError(f"{self.file.path} would grow past {INT32_MAX} bytes: positions in its index are int32")
        if next_offset - 1 - self.base_offset > INT32_MAX:
            raise UsageError(f"offset {next_offset - 1} is more than {INT32_MAX} above the base of {self.file.path}")
        return 0

    cdef int write_one(self, const unsigned char* data, Py_ssize_t length, long long next_offset,
                       int leader_epoch) except -1:
        cdef unsigned char header[KS_BATCH_HEADER_BYTES]
        cdef unsigned char small[STAGED_BYTES_MAX]
        cdef iovec parts[2]
        cdef long long position = self.size_bytes
        cdef int error
        if length <= STAGED_BYTES_MAX:
            memcpy(small, data, length)
            ks_batch_stamp(small, next_offset, leader_epoch)
            return self.file.pwrite_all(small, length, position)
        with nogil:
            stamped_parts(parts, header, data, length, next_offset, leader_epoch)
            error = self.file.pwritev_all(parts, 2, position)
        return error

    cdef int write_many(self, const unsigned char* data, Py_ssize_t length, long long next_offset,
                        int leader_epoch) except -1:
        cdef Staging staging = idle_stagings.pop() if idle_stagings else Staging()
        cdef int error
        if length >= GIL_HELD_BYTES_MAX:
            with nogil:
                error = self.stage(staging.data, data, length, next_offset, leader_epoch)
        else:
            error = self.stage(staging.data, data, length, next_offset, leader_epoch)
        if len(idle_stagings) < STAGINGS_KEPT:
            idle_stagings.append(staging)
        return error

    cdef int stage(self, unsigned char* staging, const unsigned char* data, Py_ssize_t length, long long next_offset,
                   int leader_epoch) noexcept nogil:
        """Copy through `staging`, stamping each header on the way, and write whole stagings: all but the
        first begin on a page of the file."""
        cdef ks_batch_header header
        cdef const unsigned char* end = data + length
        cdef const unsigned char* batch_end = data
        cdef long long position = self.size_bytes
        cdef size_t room = STAGING_BYTES - position % PAGE_BYTES
        cdef size_t used = 0, step
        cdef unsigned char stamped[KS_BATCH_HEADER_BYTES]
        cdef const unsigned char* source
        cdef int error
        while data < end:
            if data == batch_end:
                if ks_batch_parse(data, end, &header) != KS_OK:
                    return EINVAL                        # the buffer changed since it was checked
                memcpy(stamped, data, KS_BATCH_HEADER_BYTES)
                ks_batch_stamp(stamped, next_offset, leader_epoch)
                next_offset += header.last_offset_delta + 1
                batch_end = data + header.size_bytes
                source = stamped
                step = KS_BATCH_HEADER_BYTES
            else:
                source = data
                step = batch_end - data
            data += step
            while step:
                if used == room:
                    error = self.file.pwrite_all(staging, used, position)
                    if error:
                        return error
                    position += used
                    used = 0
                    room = STAGING_BYTES
                length = min(step, room - used)
                memcpy(staging + used, source, length)
                used += length
                source += length
                step -= length
        return self.file.pwrite_all(staging, used, position)

    cdef int count(self, const unsigned char* data, Py_ssize_t length, long long next_offset, int leader_epoch,
                   bint stamp) except -1:
        """The bytes are written: index each batch, take its header into the digest, then let readers see the
        end."""
        cdef ks_batch_header header
        cdef const unsigned char* end = data + length
        cdef unsigned char stamped[DIGEST_BYTES]
        cdef long long position = self.size_bytes, base_offset
        while data < end:
            if ks_batch_parse(data, end, &header) != KS_OK:
                self.cut_back(EINVAL)                    # as in `stage`; the batches before it stay
            base_offset = next_offset if stamp else header.base_offset
            memcpy(stamped, data, DIGEST_BYTES)
            if stamp:
                ks_batch_stamp(stamped, base_offset, leader_epoch)
            self.digest = ks_crc32c(self.digest, stamped, DIGEST_BYTES)
            next_offset = base_offset + header.last_offset_delta + 1
            self.indexes.count_batch(position, header.size_bytes, next_offset - 1, header.max_timestamp)
            if position == 0:
                self.first_timestamp_ms = header.max_timestamp
            position += header.size_bytes
            data += header.size_bytes
            self.next_offset = next_offset
            self.size_bytes = position
        return 0

    cdef cut_back(self, int error):
        """A write failed: what part of it reached the file goes, then the error is raised."""
        failure = OSError(error, os.strerror(error), self.file.path)
        failure.torn = False
        try:
            self.file.truncate(self.size_bytes)
        except OSError:
            failure.torn = True
        raise failure

    cpdef bint is_full(self, long long size_bytes, long long last_offset, long long segment_bytes) except -1:
        """Kafka's LogSegment.shouldRoll without its time rule: by size, full indexes, or offset range."""
        return (0 < self.size_bytes and self.size_bytes > segment_bytes - size_bytes
                or self.indexes.is_full()
                or not 0 <= last_offset - self.base_offset <= INT32_MAX)

    def cut(self, long long position, long long next_offset):
        """Cut the log at `position`, where a batch begins, and both indexes at `next_offset`."""
        self.file.truncate(position)
        self.indexes.cut(next_offset)
        self.size_bytes = position
        self.next_offset = next_offset
        self.digest_known = position == 0
        self.digest = 0
        if position == 0:
            self.first_timestamp_ms = -1
