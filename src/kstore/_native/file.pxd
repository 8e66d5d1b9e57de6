cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len


cdef class Mapping:
    cdef const unsigned char* data
    cdef readonly Py_ssize_t length   # bytes mapped; those beyond the end of the file must not be touched
    cdef readonly object view         # cached memoryview of the whole mapping


cdef class File:                      # the one seam that tests replace, hence not final
    cdef readonly str path
    cdef int pwrite_all(self, const unsigned char* data, size_t length, long long position) noexcept nogil
    cdef int pwritev_all(self, iovec* parts, int count, long long position) noexcept nogil   # uses up `parts`
    cpdef write_at(self, data, long long position)
    cpdef bytes read_at(self, long long position, Py_ssize_t length)
    cpdef sync(self)
    cpdef truncate(self, long long size)
    cpdef long long size(self)
    cpdef Mapping mapping(self, long long end)
    cpdef close(self)


cdef class PosixFile(File):
    cdef int _fd
    cdef int _calls                   # system calls under way without the GIL
    cdef int _closing                 # the descriptor that the last of them closes, or -1
    cdef Mapping _mapping
    cdef int _descriptor(self) except -1
    cdef int _begin(self) except -1
    cdef _end(self)
    cdef _fail(self, int number)


cdef class PythonFile(File):
    pass


cdef class RelayedFile(PythonFile):
    cdef readonly File inner
    cdef public bint watched
