# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""WIRE WRITER: structs into the bytes of a message, by a layout.

Owns one growing buffer, and the places in it where records go that are not copied. It must not know frames beyond
their size field, APIs, or what a field means. Called by `kstore.wire.codec`. One writer serves one message, one thread.

Invariants:
1. A message comes out as Kafka writes it: shortest varints, tagged fields that equal their default left out.
2. Records of more than `COPIED_BYTES_MAX` bytes are handed on as the very objects that came in.
3. A value that does not fit raises `UnencodableMessage` with its path, and so does a value that the version would drop
   without a word.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from kstore._native.wire cimport (
    KS_WIRE_ARRAY, KS_WIRE_BOOL, KS_WIRE_FLOAT64, KS_WIRE_INT64,
    KS_WIRE_RECORDS, KS_WIRE_STRING, KS_WIRE_STRUCT, KS_WIRE_UINT16, KS_WIRE_UINT32, KS_WIRE_UUID, ks_wire_field,
    ks_wire_fixed_bytes, ks_wire_step,
)
from kstore._native.wire_layout cimport Layout

from kstore.errors import UnencodableMessage

cdef extern from "cursor.h" nogil:
    void ks_store_be16(unsigned char* p, uint16_t v)
    void ks_store_be32(unsigned char* p, uint32_t v)
    void ks_store_be64(unsigned char* p, uint64_t v)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    FIRST_BYTES = 512               # most answers fit, and malloc is quick at this size
    DEPTH_MAX = 16
    COPIED_BYTES_MAX = 512          # below, copying costs less than one more buffer in a gathered write
    MESSAGE_BYTES_MAX = 0x7fffffff  # the size field of a frame is a signed int32


@cython.final
cdef class Writer:
    """Builds one message: any of `int16`, `int32`, `uvarint` and `struct` in the order of the bytes, then `frame` or
    `buffers`."""

    cdef unsigned char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef Py_ssize_t elsewhere       # bytes of the records that are not copied
    cdef list cuts                  # position in data, records that go there
    cdef Layout outermost           # for the path of an error
    cdef int depth
    cdef ks_wire_step[DEPTH_MAX] path

    def __cinit__(self):
        self.size = 4               # the size field of a frame

    def __dealloc__(self):
        PyMem_Free(self.data)

    # -- what callers write ---------------------------------------------------------------------------------------

    def int16(self, short value):
        """A signed 16-bit integer."""
        ks_store_be16(self.room(2), <uint16_t>value)
        self.size += 2

    def int32(self, int value):
        """A signed 32-bit integer."""
        ks_store_be32(self.room(4), <uint32_t>value)
        self.size += 4

    def uvarint(self, unsigned int value):
        """An unsigned varint: a count of tagged fields, for example."""
        self.put_uvarint(value)

    def struct(self, Layout layout not None, value):
        """One struct as its layout has it; raises `UnencodableMessage`, after which the writer is of no use."""
        self.outermost = layout
        self.depth = 0
        try:
            self.put_struct(layout, value)
        except (TypeError, ValueError, OverflowError, BufferError, RecursionError) as error:
            path = layout.path(self.path, self.depth, False)
            raise UnencodableMessage(layout.struct.__name__, layout.version, path, str(error)) from error

    def frame(self):
        """The message behind its size, as a list of buffers to write one after the other."""
        cdef Py_ssize_t total = self.size - 4 + self.elsewhere
        if total > MESSAGE_BYTES_MAX:
            raise UnencodableMessage(self.outermost.struct.__name__, self.outermost.version, "",
                                     f"{total} bytes, and a frame has at most {MESSAGE_BYTES_MAX}")
        self.room(0)
        ks_store_be32(self.data, <uint32_t>total)
        return self.pieces(0)

    def buffers(self):
        """The message without a size before it, as a list of buffers."""
        self.room(0)
        return self.pieces(4)

    # -- bytes ----------------------------------------------------------------------------------------------------

    cdef list pieces(self, Py_ssize_t start):
        cdef bytes data = PyBytes_FromStringAndSize(<char*>self.data + start, self.size - start)
        cdef list pieces
        cdef Py_ssize_t position, done = 0
        if self.cuts is None:
            return [data]
        pieces = []
        view = memoryview(data)
        for cut, records in self.cuts:
            position = cut - start
            pieces.append(view[done:position])
            pieces.append(records)
            done = position
        if done < len(data):
            pieces.append(view[done:])
        return pieces

    cdef unsigned char* room(self, Py_ssize_t count) except NULL:
        """Room for `count` bytes at the end; the caller adds them to the size."""
        cdef Py_ssize_t capacity
        cdef void* data
        if self.data is NULL or self.capacity - self.size < count:
            capacity = max(2 * self.capacity, self.size + count, FIRST_BYTES)
            data = PyMem_Realloc(self.data, capacity)
            if data is NULL:
                raise MemoryError
            self.data = <unsigned char*>data
            self.capacity = capacity
        return self.data + self.size

    cdef int put_uvarint(self, uint32_t value) except -1:
        cdef unsigned char* p = self.room(5)
        while value > 0x7f:
            p[0] = <unsigned char>(value & 0x7f | 0x80)
            p += 1
            value >>= 7
        p[0] = <unsigned char>value
        self.size = p + 1 - self.data
        return 0

    cdef int put_length(self, const ks_wire_field* field, int kind, Py_ssize_t length) except -1:
        """A length or count; -1 for null."""
        if length >= MESSAGE_BYTES_MAX or (kind == KS_WIRE_STRING and length > 0x7fff):
            raise ValueError(f"{length} is longer than the type allows")
        if field.compact:
            return self.put_uvarint(<uint32_t>(length + 1))
        if kind == KS_WIRE_STRING:
            ks_store_be16(self.room(2), <uint16_t>length)
            self.size += 2
        else:
            ks_store_be32(self.room(4), <uint32_t>length)
            self.size += 4
        return 0

    # -- values ---------------------------------------------------------------------------------------------------

    cdef int put_struct(self, Layout layout, object value) except -1:
        cdef Py_ssize_t number
        cdef int depth = self.depth
        cdef ks_wire_step* step = &self.path[depth]
        if type(value) is not layout.struct:
            raise TypeError(f"{layout.struct.__name__} wanted, not {type(value).__name__}")
        if depth == DEPTH_MAX - 1:
            raise ValueError("structs nest too deep")
        self.depth = depth + 1
        for number in range(<Py_ssize_t>layout.c.count):
            step.slot = layout.fields[number].slot
            step.element = -1
            self.put_value(layout, number, <object>PyTuple_GET_ITEM(value, step.slot), step)
        for slot in layout.refused:
            step.slot = slot
            step.element = -1
            if not is_default(layout, step.slot, value):
                raise ValueError(f"version {layout.version} has no such field: leave it at its default")
        if layout.c.flexible:
            self.put_tagged(layout, value, step)
        self.depth = depth
        return 0

    cdef int put_tagged(self, Layout layout, object value, ks_wire_step* step) except -1:
        cdef Py_ssize_t number, size
        cdef uint32_t present = 0
        cdef Py_ssize_t first = layout.c.count, last = layout.c.count + layout.c.tagged
        cdef Writer inner
        for number in range(first, last):
            present += not is_default(layout, layout.fields[number].slot, value)
        self.put_uvarint(present)
        if not present:
            return 0
        for number in range(first, last):
            step.slot = layout.fields[number].slot
            step.element = -1
            if is_default(layout, step.slot, value):
                continue
            # The size comes first and is a varint: write the field behind this message, then move it into place.
            inner = Writer.__new__(Writer)
            memcpy(inner.path, self.path, sizeof(self.path))
            inner.depth = self.depth
            try:
                inner.put_value(layout, number, <object>PyTuple_GET_ITEM(value, step.slot), &inner.path[self.depth - 1])
            finally:
                memcpy(self.path, inner.path, sizeof(self.path))
                self.depth = inner.depth
            if inner.cuts is not None:
                raise ValueError("records are no tagged field")
            size = inner.size - 4
            self.put_uvarint(layout.fields[number].tag)
            self.put_uvarint(<uint32_t>size)
            memcpy(self.room(size), inner.data + 4, size)
            self.size += size
        return 0

    cdef int put_value(self, Layout layout, Py_ssize_t number, object value, ks_wire_step* step) except -1:
        cdef const ks_wire_field* field = layout.fields + number
        if field.kind <= KS_WIRE_UUID:
            return self.put_fixed(field.kind, value)
        if field.kind == KS_WIRE_STRUCT:
            if field.nullable:
                self.room(1)[0] = 0xff if value is None else 1
                self.size += 1
                if value is None:
                    return 0
            return self.put_struct(<Layout>layout.layouts[number], value)
        if value is None:
            if not field.nullable:
                raise ValueError(f"version {layout.version} has no null here")
            return self.put_length(field, field.kind, -1)
        if field.kind == KS_WIRE_ARRAY:
            return self.put_array(layout, number, value, step)
        return self.put_sized(field, field.kind, value)

    cdef int put_array(self, Layout layout, Py_ssize_t number, object value, ks_wire_step* step) except -1:
        cdef const ks_wire_field* field = layout.fields + number
        cdef Layout items
        cdef list elements
        cdef Py_ssize_t i, count
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"a sequence wanted, not {type(value).__name__}")
        elements = value if type(value) is list else list(value)
        count = PyList_GET_SIZE(elements)
        self.put_length(field, KS_WIRE_ARRAY, count)
        items = layout.layouts[number]
        for i in range(count):
            step.element = i
            if PyList_GET_SIZE(elements) != count:
                raise ValueError("the list changed while it was written")
            element = <object>PyList_GET_ITEM(elements, i)
            if field.item_kind == KS_WIRE_STRUCT:
                self.put_struct(items, element)
            elif field.item_kind <= KS_WIRE_UUID:
                self.put_fixed(field.item_kind, element)
            else:
                self.put_sized(field, field.item_kind, element)
        step.element = -1
        return 0

    cdef int put_fixed(self, int kind, object value) except -1:
        cdef Py_ssize_t size = ks_wire_fixed_bytes(kind)
        cdef unsigned char* p = self.room(size)
        cdef int64_t number
        cdef int64_t low, high
        cdef uint64_t bits
        cdef double real
        if kind == KS_WIRE_BOOL:
            p[0] = 1 if value else 0
        elif kind == KS_WIRE_UUID:
            if not isinstance(value, bytes) or len(value) != 16:
                raise TypeError("an id is 16 bytes")
            memcpy(p, <const char*><bytes>value, 16)
        elif kind == KS_WIRE_FLOAT64:
            real = value
            memcpy(&bits, &real, 8)
            ks_store_be64(p, bits)
        else:
            number = value
            if kind == KS_WIRE_UINT16 or kind == KS_WIRE_UINT32:
                low, high = 0, (<int64_t>1 << 8 * size) - 1
            elif kind == KS_WIRE_INT64:
                low = high = number
            else:
                high = (<int64_t>1 << (8 * size - 1)) - 1
                low = -high - 1
            if not low <= number <= high:
                raise ValueError(f"{number} does not fit into {size} bytes")
            if size == 4:
                ks_store_be32(p, <uint32_t>number)
            elif size == 8:
                ks_store_be64(p, <uint64_t>number)
            elif size == 2:
                ks_store_be16(p, <uint16_t>number)
            else:
                p[0] = <unsigned char>number
        self.size += size
        return 0

    cdef int put_sized(self, const ks_wire_field* field, int kind, object value) except -1:
        cdef Py_ssize_t length = 0
        cdef const char* text
        cdef Py_buffer raw
        if kind == KS_WIRE_STRING:
            if not isinstance(value, str):
                raise TypeError(f"str wanted, not {type(value).__name__}")
            text = PyUnicode_AsUTF8AndSize(value, &length)
            self.put_length(field, kind, length)
            memcpy(self.room(length), text, length)
            self.size += length
            return 0
        if isinstance(value, str) or not PyObject_CheckBuffer(value):
            raise TypeError(f"bytes or a buffer wanted, not {type(value).__name__}")
        PyObject_GetBuffer(value, &raw, PyBUF_SIMPLE)
        try:
            self.put_length(field, kind, raw.len)
            if kind == KS_WIRE_RECORDS and raw.len > COPIED_BYTES_MAX:
                if self.cuts is None:
                    self.cuts = []
                self.cuts.append((self.size, value))
                self.elsewhere += raw.len
            else:
                memcpy(self.room(raw.len), raw.buf, raw.len)
                self.size += raw.len
        finally:
            PyBuffer_Release(&raw)
        return 0


cdef bint is_default(Layout layout, int slot, object value) except -1:
    cdef object mine = <object>PyTuple_GET_ITEM(value, slot)
    cdef object default = layout.defaults[slot]
    if mine is default:
        return True
    if type(default) is tuple and mine is not None:     # an array: lists come as well
        return len(mine) == 0 == len(default)
    return mine == default
