"""BLOCK: malloc'ed bytes behind memoryviews; see block.pyx."""


cdef class Block:                        # final
    cdef unsigned char* data
    cdef Py_ssize_t capacity
    cdef Py_ssize_t length               # bytes that a memoryview shows
    cdef Py_ssize_t exports


cdef Block make_block(Py_ssize_t length)
