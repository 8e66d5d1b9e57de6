# cython: language_level=3, boundscheck=False, wraparound=False
"""CRC32C at the Python edge: `kstore.crc32c`, and the names of the implementations behind it.

Called by users and tests; kstore's own hot paths call ks_crc32c directly. Invariants: (1) the result never depends on
the rung; (2) nothing is copied; (3) the GIL is let go only from `RELEASE_FROM_BYTES` up, because letting it go costs
as much as checksumming two kilobytes.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t

from kstore.errors import UsageError

cdef enum:
    RELEASE_FROM_BYTES = 16384


cdef inline uint32_t _checksum(uint32_t value, const char* data, Py_ssize_t length):
    if length < RELEASE_FROM_BYTES:
        return ks_crc32c(value, data, <size_t>length)
    with nogil:
        value = ks_crc32c(value, data, <size_t>length)
    return value


def crc32c(data, uint32_t value=0):
    """The CRC-32C (Castagnoli) of any contiguous buffer; pass the last result as `value` to continue it.

    Raises TypeError where `data` is no buffer, BufferError where it is not contiguous, OverflowError where `value`
    does not fit 32 bits. RFC 3720 section B.4.
    """
    cdef Py_buffer view
    if PyBytes_CheckExact(data):  # 7 ns less than the buffer protocol
        return _checksum(value, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    value = _checksum(value, <const char*>view.buf, view.len)
    PyBuffer_Release(&view)
    return value


def combine(uint32_t crc1, uint32_t crc2, uint64_t len2):
    """The checksum of A + B, from `crc32c(A)`, `crc32c(B)` and `len(B)`; some tens of nanoseconds at any length."""
    return ks_crc32c_combine(crc1, crc2, len2)


def combine_portable(uint32_t crc1, uint32_t crc2, uint64_t len2):
    """`combine` without any special instruction, for tests."""
    return ks_crc32c_combine_portable(crc1, crc2, len2)


def rung():
    """The name of the implementation in use; the environment variable KSTORE_CPU chooses another before import."""
    return ks_crc32c_rung().decode()


def supported_rungs():
    """The names that KSTORE_CPU may take on this processor, slowest first."""
    return [_name(number) for number in range(KS_RUNGS) if ks_crc32c_supported(number)]


def crc32c_with(str rung, data, uint32_t value=0):
    """`crc32c` by the named implementation; UsageError where this processor lacks it."""
    cdef Py_buffer view
    cdef int number
    for number in range(KS_RUNGS):
        if ks_crc32c_supported(number) and _name(number) == rung:
            break
    else:
        raise UsageError(_unsupported(rung))
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    value = ks_crc32c_with(number, value, view.buf, <size_t>view.len)
    PyBuffer_Release(&view)
    return value


cdef str _name(int number):
    return ks_crc32c_rung_name(number).decode()


cdef str _unsupported(str name):
    return f"no CRC-32C implementation {name!r} on this processor; there are {', '.join(supported_rungs())}"


if ks_crc32c_refused() != NULL:
    raise UsageError(f"KSTORE_CPU: {_unsupported(ks_crc32c_refused().decode('utf-8', 'replace'))}; "
                     "unset it to use the fastest")
