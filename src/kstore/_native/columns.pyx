# cython: language_level=3, boundscheck=False, wraparound=False
"""COLUMNS: many records as numbers over one buffer, without an object for any of them.

Owns the table of offsets, timestamps and bounds, its numpy arrays, and the way back from a caller's arrays. It must
not know batches or codecs. Made by `batches` when it decodes, and by users who encode; read by `records`.

Invariants:
1. Whatever made them, bounds lie inside the buffer, starts at or before ends, and both are -1 for null.
2. A table never changes once it is handed out.
"""

cimport cython
from libc.stdint cimport int64_t

from kstore._native.block cimport make_block


@cython.final
cdef class Columns:
    """Records as numpy columns: read-only int64 arrays of one length over one buffer.

    `value_starts[i]:value_ends[i]` are the bytes of record i's value in `buffer`, both -1 for None; the same for keys.
    `buffer` is the batches themselves, without a copy, where none of them is compressed; else the unpacked records.
    """
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
        cdef int64_t* starts = <int64_t*>self.table.data + row * self.count
        if not 0 <= i < self.count:
            raise IndexError(f"record {i} of {self.count}")
        return None if starts[i] < 0 else bytes(self.buffer[starts[i] : starts[self.count + i]])

    def __repr__(self):
        return f"Columns({self.count} records over {len(self.buffer)} bytes)"


cdef Columns columns_of(object buffer, Py_ssize_t count, ks_columns* rows):
    cdef Columns columns = Columns.__new__(Columns)
    columns.buffer = buffer
    columns.count = count
    columns.table = make_block(COLUMNS * count * <Py_ssize_t>sizeof(int64_t))
    columns.arrays = [None] * COLUMNS
    rows.offsets = <int64_t*>columns.table.data
    rows.timestamps = rows.offsets + count
    rows.key_starts = rows.timestamps + count
    rows.key_ends = rows.key_starts + count
    rows.value_starts = rows.key_ends + count
    rows.value_ends = rows.value_starts + count
    return columns
