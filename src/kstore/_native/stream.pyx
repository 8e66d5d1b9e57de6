# cython: language_level=3, boundscheck=False, wraparound=False
"""STREAM: requests and responses cut out of a stream of bytes: a size of four bytes, then as many bytes.

Owns the buffer that a connection receives into. It must not know what stands in a frame. Called by the broker's and the
client's protocols; `wire.frames` is where it is to be found.

A large frame is received into memory that becomes the frame: nothing of it is copied, and one call of the kernel brings
it where the frames before were about as large. Where such frames come behind each other and are taken as they lie, one
call brings several. Small ones are copied out of a buffer that is shared by all who are between two frames.

Invariants
  1. A frame owns its memory: it stays as it is for as long as anyone holds it, whatever is received after it.
  2. A size is a claim. Memory follows the bytes that came: at most five times as many and 64 KiB, or what the frame
     before it took, or, behind a row of large ones, 264 KiB.
  3. After a size that no frame can have, every call raises: what follows in the stream cannot be trusted.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy, memmove

from kstore import limits
from kstore.errors import InvalidFrame, UsageError
from kstore._native.turns cimport Lock

cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void* buffer, size_t size, int flags)

cdef extern from *:
    uint32_t __builtin_bswap32(uint32_t x) nogil
    Py_ssize_t Py_REFCNT(PyObject* counted)

cdef enum:
    SIZE_BYTES = 4
    CHUNK_BYTES = 48 * 1024
    LARGE_BYTES_MIN = 16 * 1024         # what a frame that does not fit a chunk begins with: together 64 KiB
    GROWTH = 4                          # with what it replaces, five times the bytes received
    SPARE_SHARE = 8                     # the next frame may be larger by one part of so many before it is moved
    GIL_HELD_BYTES_MAX = 16 * 1024      # a shorter receive ends before another thread would have run
    SPARES_KEPT = 8

RECEIVE_BYTES = CHUNK_BYTES
"""Frames above this size are not copied; those that are cost a microsecond or two, and save an allocation a receive."""

cdef list spares = []                   # chunks of CHUNK_BYTES that nobody uses


@cython.final
cdef class FrameReader:
    """Cuts one connection's stream into frames.

    `limit_bytes` is the largest size a frame may have. It may be changed at any time and counts for the next frame
    that is taken: 512 KiB before a peer has logged in, 100 MiB (`limits.FRAME_BYTES_MAX`) after it.
    """

    def __cinit__(self, Py_ssize_t limit_bytes=limits.FRAME_BYTES_MAX_BEFORE_LOGIN):
        self.limit_bytes = limit_bytes
        self.expected = CHUNK_BYTES

    # -- in --------------------------------------------------------------------------------------------------

    def get_buffer(self, Py_ssize_t size_hint=-1):
        """Where the next bytes of the stream go, as a memoryview; never empty. Any hint is fine.

        `UsageError` when the frames that came before were not taken: take them until there is none, or stop reading.
        """
        self.make_room()
        return memoryview(self.chunk)[self.end :]

    def buffer_updated(self, Py_ssize_t count):
        """The first `count` bytes of the last buffer were received."""
        if not 0 <= count <= self.capacity - self.end:
            raise UsageError(f"{count} bytes were received where {self.capacity - self.end} fit")
        self.end += count
        self.was_filled = self.end == self.capacity

    def receive(self, int fd, Lock lock=None):
        """Receive what is there from a socket that does not block: how many bytes, 0 at the end of the stream, -1
        where nothing is there now. Raises OSError, and what `get_buffer` raises.

        A `lock`, which has to be held, is let go of meanwhile.
        """
        cdef ssize_t count
        cdef size_t room
        cdef int error
        self.make_room()
        room = self.capacity - self.end
        if lock is not None:
            lock.release()
            with nogil:
                count = recv(fd, self.data + self.end, room, 0)
                error = errno
                lock.take()
        elif room > GIL_HELD_BYTES_MAX:
            with nogil:
                count = recv(fd, self.data + self.end, room, 0)
                error = errno
        else:
            count = recv(fd, self.data + self.end, room, 0)
            error = errno
        self.was_filled = count == <ssize_t>room
        if count < 0:
            self.let_go()
            if error == EAGAIN or error == EINTR:
                return -1
            raise OSError(error, "receiving failed")
        self.end += count
        return count

    cdef int make_room(self) except -1:
        """Have a chunk with room at its end for the rest of the frame that began, as far as its size is believed."""
        cdef Py_ssize_t have = self.end - self.begin, needed, wanted
        if self.failure is not None:
            raise self.failure
        if self.chunk is None:
            self.begin = self.end = 0
            self.take_chunk(self.expected)
            return 0
        needed = SIZE_BYTES + max(self.size_at(self.begin), 0) if have >= SIZE_BYTES else CHUNK_BYTES
        if needed <= CHUNK_BYTES:
            wanted = CHUNK_BYTES
        else:
            wanted = min(needed, max(self.expected, LARGE_BYTES_MIN, GROWTH * have))
        if self.begin + wanted <= self.capacity and self.end < self.capacity:
            return 0
        if have >= SIZE_BYTES and needed <= have and self.end == self.capacity:
            raise UsageError("frames wait: take each with next_frame() before more is received")
        self.move_to(max(wanted, self.capacity, self.expected if self.was_filled else 0))
        return 0

    cdef int move_to(self, Py_ssize_t capacity) except -1:
        """Bring what was received and not taken to the start of a chunk of that size, this one or another."""
        cdef Py_ssize_t have = self.end - self.begin
        if capacity != self.capacity:
            return self.move_to_other(capacity)
        memmove(self.data, self.data + self.begin, have)
        self.begin = 0
        self.end = have
        return 0

    cdef int take_chunk(self, Py_ssize_t capacity) except -1:
        if capacity == CHUNK_BYTES and spares:
            self.chunk = <bytearray>spares.pop()
        else:
            self.chunk = PyByteArray_FromStringAndSize(NULL, capacity)  # not zeroed: who reads has received
        self.data = <unsigned char*>PyByteArray_AS_STRING(self.chunk)
        self.capacity = capacity
        return 0

    cdef int let_go(self) except -1:
        """Nothing waits here: an empty chunk serves whoever receives next."""
        if self.chunk is not None and self.begin == self.end:
            # A buffer that somebody got holds a reference: that one is not shared.
            if self.capacity == CHUNK_BYTES and len(spares) < SPARES_KEPT and Py_REFCNT(<PyObject*>self.chunk) == 1:
                spares.append(self.chunk)
            self.chunk = None
            self.begin = self.end = self.capacity = 0
        return 0

    def feed(self, data):
        """Receives `data` and yields the frames that it completes; for tests and for streams without a buffer."""
        rest = memoryview(data).cast("B")
        while rest:
            room = self.get_buffer(len(rest))
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.buffer_updated(count)
            rest = rest[count:]
            while (frame := self.next_frame()) is not None:
                yield frame

    # -- out -------------------------------------------------------------------------------------------------

    cdef Py_ssize_t size_at(self, Py_ssize_t position) noexcept:
        cdef uint32_t raw
        memcpy(&raw, self.data + position, SIZE_BYTES)
        return <int32_t>__builtin_bswap32(raw)

    def next_frame(self):
        """The next frame without its size, as a read-only memoryview; None when it has not come to its end.

        `InvalidFrame` for a size below 1 or above `limit_bytes`: close the connection.
        """
        cdef Py_ssize_t have = self.end - self.begin, size, start
        if self.failure is not None:
            raise self.failure
        if have < SIZE_BYTES:
            if not have:
                self.let_go()
            return None
        size = self.size_at(self.begin)
        if size < 1 or size > self.limit_bytes:
            self.failure = InvalidFrame(size, self.limit_bytes)
            raise self.failure
        if have - SIZE_BYTES < size:
            return None
        start = self.begin + SIZE_BYTES
        self.begin = start + size
        if size > CHUNK_BYTES - SIZE_BYTES and 2 * size >= self.capacity:
            return self.handed_over(start, size)
        if self.begin == self.end and self.capacity > CHUNK_BYTES:
            self.expected = CHUNK_BYTES                         # the large ones are over
        return memoryview(PyBytes_FromStringAndSize(<char*>self.data + start, size))

    cdef handed_over(self, Py_ssize_t start, Py_ssize_t size):
        """The chunk becomes the frame; what came behind it goes to another one."""
        cdef bytearray chunk = self.chunk
        cdef Py_ssize_t have = self.end - self.begin
        self.expect(size)
        if have:
            self.move_to_other(max(self.expected, have))
        else:
            self.chunk = None
            self.begin = self.end = self.capacity = 0
        return memoryview(chunk)[start : start + size].toreadonly()

    cdef void expect(self, Py_ssize_t size) noexcept:
        """A large frame came: the next one is received into memory for its like."""
        self.expected = min(size + size // SPARE_SHARE, self.limit_bytes) + SIZE_BYTES

    cdef void taken(self, Py_ssize_t size, Py_ssize_t end) noexcept:
        """Somebody has done with the frames up to `end` where they lie; the last of them has that size."""
        self.begin = end
        if size > CHUNK_BYTES - SIZE_BYTES:
            self.expect(size)
            if self.was_filled:                                 # others wait behind it
                self.expected = max(self.expected, TOGETHER_BYTES // (size + SIZE_BYTES) * (size + SIZE_BYTES))
            if end == self.end:
                self.begin = self.end = 0
                if self.capacity < self.expected:
                    self.chunk = None
                    self.capacity = 0
        elif end == self.end and self.capacity > CHUNK_BYTES:
            self.expected = CHUNK_BYTES                         # as in `next_frame`

    cdef int move_to_other(self, Py_ssize_t capacity) except -1:
        cdef bytearray _before = self.chunk                     # lives until its bytes are copied
        cdef unsigned char* source = self.data + self.begin
        cdef Py_ssize_t have = self.end - self.begin
        self.take_chunk(capacity)
        memcpy(self.data, source, have)
        self.begin = 0
        self.end = have
        return 0

    @property
    def expects_much(self):
        """Whether the next `receive` may bring more than small frames."""
        return self.expected > CHUNK_BYTES

    @property
    def is_between_frames(self):
        """Whether nothing of an unfinished frame was received: a connection that closes now lost nothing."""
        return self.begin == self.end
