# cython: language_level=3, boundscheck=False, wraparound=False
"""FILE: one open file, and read-only mappings of it. The seam that a simulated disk replaces.

Owns positioned writes that finish or fail, fsync, and mappings that live as long as anyone holds them. It must not
know what the bytes mean. Called by `segment` for every append and fetch, and by `log.disk` for the rest.

Invariants:
1. A write reports every byte as written or an errno; short writes and EINTR are looped over.
2. No mapping is ever writable, and none goes away while a view on it lives: not at close, unlink or truncation.
3. Nobody reads a mapping at or above the file's end: callers bring their own end. Where another process may cut the
   file meanwhile, `read_at` is the way: it copies, and a cut shows as fewer bytes instead of SIGBUS.
4. A descriptor is closed only when no system call is using it: its number may be another file's a moment later.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINTR, EIO, errno

cdef extern from "<sys/types.h>" nogil:
    ctypedef long off_t

cdef extern from "<sys/uio.h>" nogil:
    ssize_t pwritev(int fd, const iovec* iov, int count, off_t offset)

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int fd, const void* buf, size_t count, off_t offset)
    int fdatasync(int fd)
    int ftruncate(int fd, off_t length)
    int c_close "close"(int fd)

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, off_t offset)
    int munmap(void* addr, size_t length)
    void* MAP_FAILED
    int PROT_READ
    int MAP_SHARED

cdef enum:
    MAPPING_STEP = 1 << 20    # a growing file is remapped only once per doubling, and never below this size
    READ_STEP = 1 << 30       # Linux reads at most 2 GiB - 4 KiB in one call, and Python allocates what is asked for


cdef class _Region:
    """A mapped range of a file; unmapped when the last view on it goes."""
    cdef void* address
    cdef Py_ssize_t length

    def __dealloc__(self):
        if self.address != NULL:
            munmap(self.address, <size_t>self.length)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.address, self.length, 1, flags)


cdef class Mapping:
    """Read-only bytes, of a mapped file or a copy; valid for as long as `view` or a slice of it is held."""

    def __len__(self):
        return self.length

    @staticmethod
    def from_bytes(data):
        """A mapping over a copy of `data`, for files that cannot be mapped."""
        return _of_bytes(bytes(data))


cdef Mapping _of_bytes(bytes data):
    cdef Mapping mapping = Mapping.__new__(Mapping)
    mapping.data = <const unsigned char*><char*>data
    mapping.length = len(data)
    mapping.view = memoryview(data)
    return mapping


cdef Mapping _of_fd(int fd, Py_ssize_t length, str path):
    if length == 0:
        return _of_bytes(b"")
    cdef _Region region = _Region.__new__(_Region)
    cdef void* address = mmap(NULL, <size_t>length, PROT_READ, MAP_SHARED, fd, 0)
    if address == MAP_FAILED:
        raise OSError(errno, os.strerror(errno), path)
    region.address = address
    region.length = length
    cdef Mapping mapping = Mapping.__new__(Mapping)
    mapping.data = <const unsigned char*>address
    mapping.length = length
    mapping.view = memoryview(region)
    return mapping


cdef class File:
    """An open file by position. Errors are `OSError` with the path."""

    cdef int pwrite_all(self, const unsigned char* data, size_t length, long long position) noexcept nogil:
        return EIO

    cdef int pwritev_all(self, iovec* parts, int count, long long position) noexcept nogil:
        return EIO

    cpdef write_at(self, data, long long position):
        """Write all of `data` at `position`; raises `OSError`."""
        cdef Py_buffer buffer
        cdef int status
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            with nogil:
                status = self.pwrite_all(<const unsigned char*>buffer.buf, <size_t>buffer.len, position)
        finally:
            PyBuffer_Release(&buffer)
        if status:
            raise OSError(status, os.strerror(status), self.path)

    cpdef bytes read_at(self, long long position, Py_ssize_t length):
        """Up to `length` bytes from `position`; fewer only at the end of the file."""
        return self.mapping(position + length).view[position : position + length].tobytes()

    cpdef sync(self):
        """Return once the file's bytes and size are on the medium."""

    cpdef truncate(self, long long size):
        """Cut or extend the file to `size` bytes."""

    cpdef long long size(self):
        """The file's size in bytes."""
        return 0

    cpdef Mapping mapping(self, long long end):
        """A mapping that covers at least `[0, end)`; cached, and replaced by a larger one when `end` grows."""
        return _of_bytes(b"")

    cpdef close(self):
        """Let go of the file; mappings stay valid. Closing twice is allowed."""


cdef class PosixFile(File):
    """A file of the operating system, from a descriptor that it takes over."""

    def __init__(self, str path, int fd):
        self.path = path
        self._fd = fd

    def __cinit__(self):
        self._fd = -1
        self._closing = -1

    def __dealloc__(self):
        if self._fd >= 0:
            c_close(self._fd)

    def fileno(self):
        """The descriptor; raises `ValueError` after `close`."""
        return self._descriptor()

    cdef int _descriptor(self) except -1:
        if self._fd < 0:
            raise ValueError(f"{self.path} is closed")
        return self._fd

    cdef int _begin(self) except -1:
        """The descriptor, for a system call without the GIL: `close` waits for `_end`."""
        cdef int fd = self._descriptor()
        self._calls += 1
        return fd

    cdef _end(self):
        self._calls -= 1
        if self._calls == 0 and self._closing >= 0:
            c_close(self._closing)
            self._closing = -1

    cdef _fail(self, int number):
        raise OSError(number, os.strerror(number), self.path) from None

    cdef int pwrite_all(self, const unsigned char* data, size_t length, long long position) noexcept nogil:
        cdef ssize_t written
        while length > 0:
            written = pwrite(self._fd, data, length, position)
            if written < 0:
                if errno == EINTR:
                    continue
                return errno
            if written == 0:
                return EIO
            data += written
            length -= <size_t>written
            position += written
        return 0

    cdef int pwritev_all(self, iovec* parts, int count, long long position) noexcept nogil:
        cdef ssize_t written
        while count:
            written = pwritev(self._fd, parts, count, position)
            if written < 0:
                if errno == EINTR:
                    continue
                return errno
            if written == 0:
                return EIO
            position += written
            while count and <size_t>written >= parts.iov_len:
                written -= <ssize_t>parts.iov_len
                parts += 1
                count -= 1
            if count:
                parts.iov_base = <unsigned char*>parts.iov_base + written
                parts.iov_len -= <size_t>written
        return 0

    cpdef bytes read_at(self, long long position, Py_ssize_t length):
        cdef int fd = self._begin()
        cdef list parts = []
        try:
            while length > 0:
                part = os.pread(fd, min(length, READ_STEP), position)
                if not part:
                    break
                parts.append(part)
                position += len(part)
                length -= len(part)
        except OSError as error:
            self._fail(error.errno)
        finally:
            self._end()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    cpdef sync(self):
        cdef int fd = self._begin()
        cdef int status = 0
        with nogil:
            while fdatasync(fd) != 0:
                status = errno
                if status != EINTR:
                    break
                status = 0
        self._end()
        if status:
            self._fail(status)

    cpdef truncate(self, long long size):
        cdef int fd = self._begin()
        cdef int status = 0
        with nogil:
            while ftruncate(fd, size) != 0:
                status = errno
                if status != EINTR:
                    break
                status = 0
        self._end()
        if status:
            self._fail(status)

    cpdef long long size(self):
        try:
            return os.fstat(self._descriptor()).st_size
        except OSError as error:
            self._fail(error.errno)

    cpdef Mapping mapping(self, long long end):
        cdef Py_ssize_t length
        if self._mapping is None or self._mapping.length < end:
            length = self.size()
            if self._mapping is not None:     # it grows: leave room, so that appends do not remap each time
                length = max(2 * self._mapping.length, length, end, MAPPING_STEP)
            else:
                length = max(length, end)
            self._mapping = _of_fd(self._descriptor(), length, self.path)
        return self._mapping

    cpdef close(self):
        cdef int fd = self._fd
        self._fd = -1
        self._mapping = None
        if fd >= 0 and self._calls == 0:
            c_close(fd)
        elif fd >= 0:
            self._closing = fd


cdef class PythonFile(File):
    """Base of test doubles: native writes arrive at the Python methods `write_at`, `sync` and the others."""

    def __init__(self, str path):
        self.path = path

    cdef int pwrite_all(self, const unsigned char* data, size_t length, long long position) noexcept nogil:
        with gil:
            try:
                self.write_at(data[:length], position)
            except OSError as error:
                return error.errno or EIO
            except BaseException:
                return EIO
        return 0

    cdef int pwritev_all(self, iovec* parts, int count, long long position) noexcept nogil:
        with gil:
            try:
                self.write_at(b"".join([(<unsigned char*>parts[i].iov_base)[:parts[i].iov_len] for i in range(count)]),
                              position)
            except OSError as error:
                return error.errno or EIO
            except BaseException:
                return EIO
        return 0


cdef class RelayedFile(PythonFile):
    """Base of test doubles over a real file: native writes go straight to it, and to Python only while `watched`."""

    def __init__(self, File inner not None):
        self.path = inner.path
        self.inner = inner

    cdef int pwrite_all(self, const unsigned char* data, size_t length, long long position) noexcept nogil:
        if self.watched:
            return PythonFile.pwrite_all(self, data, length, position)
        return self.inner.pwrite_all(data, length, position)

    cdef int pwritev_all(self, iovec* parts, int count, long long position) noexcept nogil:
        if self.watched:
            return PythonFile.pwritev_all(self, parts, count, position)
        return self.inner.pwritev_all(parts, count, position)
