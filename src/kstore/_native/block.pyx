# cython: language_level=3
"""BLOCK: malloc'ed bytes behind memoryviews.

Owns the memory that the encoder and the columns write with plain pointers and hand out read-only. It must not know
what is in it. Called by `records` and `batches`.

Invariants: the memory lives as long as the block or a view on it; whoever writes looks at `exports` first.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free, malloc


@cython.final
cdef class Block:
    """Memory that is not moved and not freed while a memoryview on it lives."""

    def __dealloc__(self):
        free(self.data)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.length, 1, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.exports -= 1


cdef Block make_block(Py_ssize_t length):
    """A block of `length` bytes, not cleared: the caller writes all of them before it shows them."""
    cdef Block block = Block.__new__(Block)
    block.data = <unsigned char*>malloc(<size_t>max(length, 1))
    if block.data == NULL:
        raise MemoryError(f"no memory for {length} bytes")
    block.capacity = block.length = length
    return block
