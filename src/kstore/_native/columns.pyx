# cython: language_level=3, boundscheck=False, wraparound=False
"""COLUMNS: many records as numbers over one buffer, without an object for any of them.

Owns the table of offsets, timestamps and bounds, its numpy arrays, and the way back from a caller's arrays. It must
not know batches or codecs. Made by `batches` when it decodes, and by users who encode; read by `records`.

A caller's arrays are copied first and checked then, so that nobody can change what was checked.

Invariants:
1. Whatever made them, bounds lie inside the buffer, starts at or before ends, and both are -1 for null.
2. A table never changes once it is handed out.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from kstore._native.block cimport make_block

from kstore.errors import UsageError

cdef int64_t INT64_MAX = 0x7fffffffffffffff


@cython.final
cdef class Columns:
    """Records as numpy columns: read-only int64 arrays of one length over one buffer.

    `value_starts[i]:value_ends[i]` are the bytes of record i's value in `buffer`, both -1 for None; the same for keys.
    `buffer` is the batches themselves, without a copy, where none of them is compressed; else the unpacked records.

    A read makes them (`Batches.columns()`), or you do, to have them encoded:

    `Columns(buffer, value_starts, value_ends, *, key_starts=None, key_ends=None, timestamps=None)` takes any bytes-like
    `buffer` and arrays (or lists) of whole numbers, one for each record. They are copied; the buffer is not, and must
    keep its bytes until it was encoded. Without keys every key is null; a timestamp of -1 is none. Raises `UsageError`
    for arrays of other lengths or types and for bounds outside the buffer, before a byte of it is read.
    """

    def __init__(self, buffer, value_starts, value_ends, *, key_starts=None, key_ends=None, timestamps=None):
        cdef Py_ssize_t count, i
        cdef object starts
        cdef Columns fresh
        cdef ks_columns rows
        if self.table is not None:
            raise UsageError("columns never change: make new ones")
        if (key_starts is None) != (key_ends is None):
            raise UsageError("key_starts and key_ends come together, or neither does")
        starts = whole_numbers(value_starts, "value_starts")
        count = len(memoryview(starts))
        fresh = columns_of(plain_bytes(buffer), count, &rows)
        copy_numbers(starts, rows.value_starts, count, "value_starts")
        copy_numbers(whole_numbers(value_ends, "value_ends"), rows.value_ends, count, "value_ends")
        if key_starts is None:
            memset(rows.key_starts, 0xff, <size_t>(2 * count * <Py_ssize_t>sizeof(int64_t)))
        else:
            copy_numbers(whole_numbers(key_starts, "key_starts"), rows.key_starts, count, "key_starts")
            copy_numbers(whole_numbers(key_ends, "key_ends"), rows.key_ends, count, "key_ends")
        if timestamps is None:
            memset(rows.timestamps, 0xff, <size_t>(count * <Py_ssize_t>sizeof(int64_t)))
        else:
            copy_numbers(whole_numbers(timestamps, "timestamps"), rows.timestamps, count, "timestamps")
        for i in range(count):
            rows.offsets[i] = i
        check_bounds(rows.value_starts, rows.value_ends, count, len(fresh.buffer), "value")
        check_bounds(rows.key_starts, rows.key_ends, count, len(fresh.buffer), "key")
        self.buffer, self.count, self.table, self.arrays = fresh.buffer, count, fresh.table, fresh.arrays

    cdef int64_t* row(self, Py_ssize_t row) noexcept:
        return <int64_t*>self.table.data + row * self.count

    cdef ks_columns rows(self) noexcept:
        """The numbers; `origin` is the caller's to set."""
        cdef ks_columns rows
        rows.origin = NULL
        rows.offsets, rows.timestamps = self.row(0), self.row(1)
        rows.key_starts, rows.key_ends = self.row(2), self.row(3)
        rows.value_starts, rows.value_ends = self.row(4), self.row(5)
        return rows

    cdef object column(self, Py_ssize_t row):
        array = self.arrays[row]
        if array is None:
            import numpy
            array = self.arrays[row] = numpy.frombuffer(self.table, numpy.int64, self.count, row * self.count * 8)
        return array

    @property
    def offsets(self):
        """Offset of each record."""
        return self.column(0)

    @property
    def timestamps(self):
        """Timestamp of each record in milliseconds, -1 where it has none."""
        return self.column(1)

    @property
    def key_starts(self):
        """First byte of each key in `buffer`, or -1."""
        return self.column(2)

    @property
    def key_ends(self):
        """The byte behind each key, or -1."""
        return self.column(3)

    @property
    def value_starts(self):
        """First byte of each value in `buffer`, or -1."""
        return self.column(4)

    @property
    def value_ends(self):
        """The byte behind each value, or -1."""
        return self.column(5)

    def __len__(self):
        return self.count

    def value(self, Py_ssize_t i):
        """The value of record `i` as bytes, or None. Raises `IndexError`."""
        return self.bytes_at(4, i)

    def key(self, Py_ssize_t i):
        """The key of record `i` as bytes, or None. Raises `IndexError`."""
        return self.bytes_at(2, i)

    cdef object bytes_at(self, Py_ssize_t row, Py_ssize_t i):
        cdef int64_t* starts
        if not 0 <= i < self.count:
            raise IndexError(f"record {i} of {self.count}")
        starts = self.row(row)
        return None if starts[i] < 0 else bytes(self.buffer[starts[i] : starts[self.count + i]])

    def __repr__(self):
        return f"Columns({self.count} records over {len(self.buffer)} bytes)"


cdef Columns columns_of(object buffer, Py_ssize_t count, ks_columns* rows):
    cdef Columns columns = Columns.__new__(Columns)
    columns.buffer = buffer
    columns.count = count
    columns.table = make_block(COLUMNS * count * <Py_ssize_t>sizeof(int64_t))
    columns.arrays = [None] * COLUMNS
    rows[0] = columns.rows()
    return columns


cdef object plain_bytes(object buffer):
    """A view of single bytes on a caller's buffer, which holds it in place."""
    try:
        return memoryview(buffer).cast("B")
    except (TypeError, ValueError) as error:
        if not PyObject_CheckBuffer(buffer):
            raise UsageError(f"the buffer of columns is bytes-like, not {type(buffer).__name__}") from None
        import numpy                              # knows formats that a memoryview cannot cast, such as S10
        try:
            return memoryview(numpy.frombuffer(buffer, numpy.uint8))
        except (TypeError, ValueError, BufferError):
            raise UsageError(f"the buffer of columns is one stretch of memory: {error}") from None


cdef object whole_numbers(object array, str name):
    """`array` itself, where it is one of int64 in one stretch of memory; else a copy of its numbers as one."""
    cdef Py_buffer view
    cdef bint fits
    if PyObject_CheckBuffer(array):
        try:
            PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, ValueError):
            pass                                  # not in one stretch: numpy copies it
        else:
            fits = view.ndim == 1 and view.itemsize == 8 and view.format != NULL and view.format in (b"l", b"q")
            PyBuffer_Release(&view)
            if fits:
                return array
    import numpy
    try:
        found = numpy.asarray(array)
        if found.size == 0:
            found = numpy.zeros(found.shape, numpy.int64)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise UsageError(f"{name} is one row of whole numbers, not {found.ndim} dimensions of {found.dtype}")
        if found.dtype.kind == "u" and int(found.max(initial=0)) > INT64_MAX:
            raise UsageError(f"{name} holds {int(found.max())}, more than an int64")
        return numpy.ascontiguousarray(found, numpy.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{name} is one row of whole numbers: {error}") from None


cdef int copy_numbers(object array, int64_t* to, Py_ssize_t count, str name) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    try:
        if view.len != count * <Py_ssize_t>sizeof(int64_t):
            raise UsageError(f"{name} has {view.len // <Py_ssize_t>sizeof(int64_t)} numbers for {count} records")
        memcpy(to, view.buf, <size_t>view.len)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int check_bounds(const int64_t* starts, const int64_t* ends, Py_ssize_t count, Py_ssize_t size,
                      str what) except -1:
    cdef int64_t i = ks_bounds_check(starts, ends, count, size)
    if i < count:
        raise UsageError(f"record {i}: its {what} is bytes {starts[i]} to {ends[i]}, not inside the buffer of {size} "
                         f"bytes; null is -1 to -1")
    return 0
