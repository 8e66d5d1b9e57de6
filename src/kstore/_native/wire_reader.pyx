# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""WIRE READER: structs out of the bytes of a message, by a layout.

Owns the making of Python objects, and `Array`, which makes an element when it is asked for one. It must not know
frames, APIs or what a field means. Called by `kstore.wire.codec`.

Invariants:
1. A message is walked once to its end before anything is made of it (`Layout.check`).
2. Memory does not follow counts: a read array is a place in the bytes, its elements are made one by one as they are
   iterated over, and again by the next iteration.
3. Records are read-only views of the caller's bytes, never copies. Structs, arrays and views keep these bytes alive.
4. Every step looks for its end again, so bytes that change behind our back end in an exception, not in a fault.
"""

cimport cython
from cpython.buffer cimport PyBuffer_IsContiguous, PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from kstore._native.wire cimport (
    KS_WIRE_ARRAY, KS_WIRE_BOOL, KS_WIRE_BYTES, KS_WIRE_INT8, KS_WIRE_INT16, KS_WIRE_INT32,
    KS_WIRE_INT64, KS_WIRE_OK, KS_WIRE_STRING, KS_WIRE_STRUCT, KS_WIRE_UINT16, KS_WIRE_UINT32,
    KS_WIRE_UUID, ks_wire_begin, ks_wire_field, ks_wire_fixed_bytes, ks_wire_length, ks_wire_uvarint, ks_wire_value,
    ks_wire_walk,
)
from kstore._native.wire_layout cimport Layout

from kstore.errors import UsageError

cdef extern from "cursor.h" nogil:
    uint16_t ks_load_be16(const unsigned char* p)
    uint32_t ks_load_be32(const unsigned char* p)
    uint64_t ks_load_be64(const unsigned char* p)

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject* cls, Py_ssize_t items)

cdef enum:
    UNBOUNDED = 0x7fffffffffffffff


def read(Layout layout not None, buffer, Py_ssize_t position=0, *, long long elements_max=UNBOUNDED):
    """One struct of `layout` that starts at byte `position` of `buffer`, and the position behind it.

    `buffer` is anything contiguous with a buffer, and must not change while what was read from it lives. At most
    `elements_max` elements in all arrays together. Raises `MalformedMessage`, with positions from the start of
    `buffer`, before anything is made.
    """
    cdef memoryview view = readable(buffer)
    cdef Py_ssize_t end = position
    result = read_at(layout, view, &end, elements_max)
    return result, end


def read_pair(Layout first not None, Layout second not None, buffer, long long elements_max):
    """Two structs, one behind the other: a header and its body, looked up in one view. Otherwise as `read`."""
    cdef memoryview view = readable(buffer)
    cdef Py_ssize_t position = 0
    header = read_at(first, view, &position, elements_max)
    return header, read_at(second, view, &position, elements_max)


cdef object read_at(Layout layout, memoryview view, Py_ssize_t* position, long long elements_max):
    cdef Py_buffer* raw = PyMemoryView_GET_BUFFER(view)
    cdef const unsigned char* start = <const unsigned char*>raw.buf
    cdef const unsigned char* p
    cdef const unsigned char* q
    if not 0 <= position[0] <= raw.len:
        raise UsageError(f"position {position[0]} is outside the {raw.len} bytes")
    p = q = start + position[0]
    layout.check(start, &p, start + raw.len, elements_max)
    position[0] = p - start
    return read_struct(layout, view, &q, p)


cdef memoryview readable(buffer):
    cdef memoryview view
    cdef Py_buffer* raw
    if not PyObject_CheckBuffer(buffer):
        raise UsageError(f"bytes or a buffer wanted, not {type(buffer).__name__}")
    view = PyMemoryView_FromObject(buffer)
    raw = PyMemoryView_GET_BUFFER(view)
    if not PyBuffer_IsContiguous(raw, b"C"):
        raise UsageError("the bytes of a message lie in one piece")
    if raw.ndim != 1 or raw.itemsize != 1:
        view = view.cast("B")
        raw = PyMemoryView_GET_BUFFER(view)
    return view if raw.readonly else view.toreadonly()


cdef int need(const unsigned char* p, const unsigned char* end, Py_ssize_t size) except -1:
    if size < 0 or end - p < size:
        raise UsageError("the bytes of this message changed after it was read; give each frame a buffer of its own")
    return 0


cdef object read_struct(Layout layout, memoryview view, const unsigned char** p, const unsigned char* end):
    cdef Py_ssize_t i
    cdef object value
    cdef object result = PyType_GenericAlloc(<PyTypeObject*>layout.struct, layout.slots)
    for i in range(<Py_ssize_t>layout.c.count):
        value = read_value(layout, i, view, p, end)
        Py_INCREF(value)
        PyTuple_SET_ITEM(result, layout.fields[i].slot, value)
    for slot in layout.absent:
        value = layout.defaults[slot]
        Py_INCREF(value)
        PyTuple_SET_ITEM(result, <Py_ssize_t>slot, value)
    if layout.c.flexible:
        read_tagged(layout, result, view, p, end)
    return result


cdef int read_tagged(Layout layout, object result, memoryview view, const unsigned char** p,
                     const unsigned char* end) except -1:
    """The known tagged fields, with defaults for those that are not there. The others are stepped over."""
    cdef uint32_t count = 0, tag = 0, size = 0
    cdef Py_ssize_t known = layout.c.count, known_end = layout.c.count + layout.c.tagged
    cdef const unsigned char* field_end
    if ks_wire_uvarint(p, end, &count) != KS_WIRE_OK:
        need(p[0], end, -1)
    while count:
        count -= 1
        if ks_wire_uvarint(p, end, &tag) != KS_WIRE_OK or ks_wire_uvarint(p, end, &size) != KS_WIRE_OK:
            need(p[0], end, -1)
        need(p[0], end, size)
        field_end = p[0] + size
        while known < known_end and <uint32_t>layout.fields[known].tag < tag:
            put_default(layout, known, result)
            known += 1
        if known < known_end and <uint32_t>layout.fields[known].tag == tag:
            value = read_value(layout, known, view, p, field_end)
            Py_INCREF(value)
            PyTuple_SET_ITEM(result, layout.fields[known].slot, value)
            known += 1
        p[0] = field_end
    while known < known_end:
        put_default(layout, known, result)
        known += 1
    return 0


cdef int put_default(Layout layout, Py_ssize_t number, object result) except -1:
    cdef object value = layout.defaults[layout.fields[number].slot]
    Py_INCREF(value)
    PyTuple_SET_ITEM(result, layout.fields[number].slot, value)
    return 0


cdef object read_value(Layout layout, Py_ssize_t number, memoryview view, const unsigned char** p,
                       const unsigned char* end):
    cdef const ks_wire_field* field = layout.fields + number
    cdef bint is_null
    if field.kind <= KS_WIRE_UUID:
        return read_fixed(field.kind, p, end)
    if field.kind == KS_WIRE_ARRAY:
        return read_array(layout, number, view, p, end)
    if field.kind == KS_WIRE_STRUCT:
        if field.nullable:
            need(p[0], end, 1)
            is_null = <int8_t>p[0][0] < 0
            p[0] += 1
            if is_null:
                return None
        return read_struct(<Layout>layout.layouts[number], view, p, end)
    return read_sized(field, field.kind, view, p, end)


cdef object read_fixed(int kind, const unsigned char** p, const unsigned char* end):
    cdef const unsigned char* at = p[0]
    cdef uint64_t bits
    cdef double real
    cdef Py_ssize_t size = ks_wire_fixed_bytes(kind)
    need(at, end, size)
    p[0] = at + size
    if kind == KS_WIRE_INT32:
        return <int32_t>ks_load_be32(at)
    if kind == KS_WIRE_INT64:
        return <int64_t>ks_load_be64(at)
    if kind == KS_WIRE_INT16:
        return <int16_t>ks_load_be16(at)
    if kind == KS_WIRE_BOOL:
        return at[0] != 0
    if kind == KS_WIRE_INT8:
        return <int8_t>at[0]
    if kind == KS_WIRE_UUID:
        return PyBytes_FromStringAndSize(<const char*>at, 16)
    if kind == KS_WIRE_UINT16:
        return ks_load_be16(at)
    if kind == KS_WIRE_UINT32:
        return ks_load_be32(at)
    bits = ks_load_be64(at)
    memcpy(&real, &bits, 8)
    return real


cdef object read_sized(const ks_wire_field* field, int kind, memoryview view, const unsigned char** p,
                       const unsigned char* end):
    cdef int64_t length = 0
    cdef Py_ssize_t position
    cdef const unsigned char* at
    if ks_wire_length(field, kind, p, end, &length) != KS_WIRE_OK:
        need(p[0], end, -1)
    if length < 0:
        return None
    at = p[0]
    need(at, end, length)
    p[0] = at + length
    if kind == KS_WIRE_STRING:
        return PyUnicode_DecodeUTF8(<const char*>at, length, NULL)
    if kind == KS_WIRE_BYTES:
        return PyBytes_FromStringAndSize(<const char*>at, length)
    position = at - <const unsigned char*>PyMemoryView_GET_BUFFER(view).buf
    return view[position:position + length]


cdef object read_array(Layout layout, Py_ssize_t number, memoryview view, const unsigned char** p,
                       const unsigned char* end):
    cdef ks_wire_walk walk
    cdef int64_t count = 0
    cdef Array array
    cdef const ks_wire_field* field = layout.fields + number
    cdef const unsigned char* start = p[0]
    ks_wire_begin(&walk, UNBOUNDED)
    if ks_wire_value(field, p, end, &walk) != KS_WIRE_OK or ks_wire_length(
            field, KS_WIRE_ARRAY, &start, end, &count) != KS_WIRE_OK:
        need(p[0], end, -1)
    if count < 0:
        return None
    array = Array.__new__(Array)
    array.layout = layout
    array.number = number
    array.view = view
    array.start = start
    array.end = p[0]
    array.elements = count
    return array


@cython.final
@cython.no_gc                       # what it refers to never refers back; large messages make thousands
@cython.freelist(64)
cdef class Array:
    """The elements of an array in a message: a sequence that makes each element when it is asked for it.

    Iterating costs one walk; `array[i]` walks up to the element, so keep `list(array)` for elements in any order.
    Equal to lists and tuples of equal elements. Immutable; keeps the bytes of the message alive.
    """

    cdef Layout layout              # of the struct whose field this is
    cdef Py_ssize_t number          # of that field
    cdef memoryview view
    cdef const unsigned char* start
    cdef const unsigned char* end
    cdef Py_ssize_t elements

    def __init__(self):
        raise TypeError("arrays come out of messages; use a list or tuple to make one")

    def __len__(self):
        return self.elements

    def __iter__(self):
        cdef Elements elements = Elements.__new__(Elements)
        elements.array = self
        elements.p = self.start
        elements.left = self.elements
        return elements

    def __getitem__(self, index):
        cdef Py_ssize_t wanted
        cdef Elements elements
        if isinstance(index, slice):
            return list(self)[index]
        wanted = index
        if wanted < 0:
            wanted += self.elements
        if not 0 <= wanted < self.elements:
            raise IndexError(f"element {index} of {self.elements}")
        elements = iter(self)
        for _ in range(wanted):
            elements.skip()
        return next(elements)

    def __eq__(self, other):
        if not isinstance(other, (Array, list, tuple)):
            return NotImplemented
        return len(other) == self.elements and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None

    def __reversed__(self):
        return reversed(list(self))

    def index(self, value, *bounds):
        """The index of the first element equal to `value`; `ValueError` when there is none."""
        return list(self).index(value, *bounds)

    def count(self, value):
        """How many elements equal `value`."""
        return list(self).count(value)

    def __repr__(self):
        return repr(list(self))


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class Elements:
    """An iterator over an `Array`."""

    cdef Array array
    cdef const unsigned char* p
    cdef Py_ssize_t left

    def __iter__(self):
        return self

    def __length_hint__(self):
        return self.left

    def __next__(self):
        cdef Array array = self.array
        cdef const ks_wire_field* field = array.layout.fields + array.number
        if self.left <= 0:
            raise StopIteration
        self.left -= 1
        if field.item_kind == KS_WIRE_STRUCT:
            return read_struct(<Layout>array.layout.layouts[array.number], array.view, &self.p, array.end)
        if field.item_kind <= KS_WIRE_UUID:
            return read_fixed(field.item_kind, &self.p, array.end)
        return read_sized(field, field.item_kind, array.view, &self.p, array.end)

    cdef int skip(self) except -1:
        cdef ks_wire_walk walk
        cdef ks_wire_field one
        cdef const ks_wire_field* field = self.array.layout.fields + self.array.number
        one = field[0]
        one.kind = field.item_kind
        one.nullable = 0
        ks_wire_begin(&walk, UNBOUNDED)
        if ks_wire_value(&one, &self.p, self.array.end, &walk) != KS_WIRE_OK:
            need(self.p, self.array.end, -1)
        self.left -= 1
        return 0
