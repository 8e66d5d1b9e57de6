"""STREAM: see stream.pyx; for those who look at frames where they were received."""

cimport cython

cdef enum:
    TOGETHER_BYTES = 264 * 1024             # alike large frames are received and taken together up to here


@cython.final
cdef class FrameReader:
    cdef public Py_ssize_t limit_bytes
    cdef readonly bint was_filled           # what came last took all the room that there was: there may be more
    cdef bytearray chunk                    # None: nothing was received and not taken
    cdef unsigned char* data
    cdef Py_ssize_t capacity, begin, end    # of the chunk: its size, and the bytes that were received and not taken
    cdef Py_ssize_t expected                # the size of the chunk that the next frame is received into
    cdef object failure

    cdef int make_room(self) except -1
    cdef int move_to(self, Py_ssize_t capacity) except -1
    cdef int move_to_other(self, Py_ssize_t capacity) except -1
    cdef int take_chunk(self, Py_ssize_t capacity) except -1
    cdef int let_go(self) except -1
    cdef Py_ssize_t size_at(self, Py_ssize_t position) noexcept
    cdef handed_over(self, Py_ssize_t start, Py_ssize_t size)
    cdef void expect(self, Py_ssize_t size) noexcept
    cdef void taken(self, Py_ssize_t size, Py_ssize_t end) noexcept
