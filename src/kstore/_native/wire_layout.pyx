# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""WIRE LAYOUT: how one struct lies in the bytes of one version, ready for the walk of wire.h.

Owns the C form of a table and the exception for bytes that do not fit it. It must not know tables, names of APIs or
frames: `kstore.wire.layouts` resolves versions and hands over what is left. Called by `wire_reader`, `wire_writer`.

Invariants:
1. A layout does not change and keeps the layouts that it points at alive: any thread may use it.
2. What `check` let pass fits the layout, every length and every text of it.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free

from kstore._native.wire cimport (
    KS_WIRE_ARRAY, KS_WIRE_OK, KS_WIRE_STRING, KS_WIRE_STRUCT, ks_wire_begin, ks_wire_field,
    ks_wire_fixed_bytes, ks_wire_status, ks_wire_step, ks_wire_struct, ks_wire_walk,
)

from kstore.errors import MalformedMessage

cdef enum:
    GIL_FREE_BYTES = 64 * 1024      # below, giving the GIL away costs more than others gain

cdef tuple REASONS = (
    "",
    "a length or count says more than there are bytes",
    "a length below -1",
    "null, which this version does not have here",
    "a varint of more than 32 bits",
    "text that is not UTF-8",
    "more elements than a message may have",
    "tags that do not go up",
    "a tagged field that does not fill its size, or is above 128 KiB",
    "structs nest too deep",
)

KINDS = ("Bool", "Int8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "Float64", "Uuid", "String", "Bytes",
         "Records", "Struct", "Array")


@cython.final
cdef class Layout:
    """The layout of `struct` in `version`.

    `names` and `defaults` have one entry for each slot of the struct; `fields` are tuples of slot, kind, kind of the
    items, nullable, compact, tag (-1 for none) and layout of the items, the untagged in the order of the bytes, then
    the tagged in the order of their tags. Kinds are indexes of `KINDS`. `refused` are the slots that this version
    lacks and that must hold their default when written.
    """

    def __init__(self, struct, int version, names, defaults, list fields, bint flexible, refused):
        cdef ks_wire_field* field
        cdef Layout items
        self.struct = struct
        self.version = version
        self.names = tuple(names)
        self.defaults = tuple(defaults)
        self.slots = len(self.names)
        self.refused = tuple(refused)
        present = {one[0] for one in fields}
        self.absent = tuple(slot for slot in range(self.slots) if slot not in present)
        self.layouts = tuple(one[6] for one in fields)
        if not issubclass(struct, tuple) or len(self.defaults) != self.slots or self.fields is not NULL:
            raise ValueError("a layout is made once, of a struct with as many defaults as names")
        self.fields = <ks_wire_field*>PyMem_Calloc(max(len(fields), 1), sizeof(ks_wire_field))
        if self.fields is NULL:
            raise MemoryError
        for number, (slot, kind, item_kind, nullable, compact, tag, layout) in enumerate(fields):
            if not 0 <= slot < self.slots or not 0 <= kind < len(KINDS) or not 0 <= item_kind < len(KINDS):
                raise ValueError(f"field {number} of {struct.__name__}")
            items = layout
            if (kind == KS_WIRE_STRUCT or (kind == KS_WIRE_ARRAY and item_kind == KS_WIRE_STRUCT)) != (
                    items is not None):
                raise ValueError(f"{self.names[slot]} of {struct.__name__}: a layout is for structs")
            if item_kind == KS_WIRE_ARRAY:
                raise ValueError("Kafka has no array of arrays")
            field = self.fields + <Py_ssize_t>number
            field.slot, field.kind, field.item_kind = slot, kind, item_kind
            field.nullable, field.compact, field.tag = nullable, compact, tag
            field.items = &items.c if items is not None else NULL
        self.c.fields = self.fields
        self.c.tagged = sum(one[5] >= 0 for one in fields)
        self.c.count = len(fields) - self.c.tagged
        self.c.flexible = flexible
        self.measure()

    def __dealloc__(self):
        PyMem_Free(self.fields)

    cdef int measure(self) except -1:
        """The fewest bytes of an instance, and whether every instance has as many and any bytes are right."""
        cdef Py_ssize_t i
        cdef int fixed_bytes
        cdef ks_wire_field* field
        cdef int total = 1 if self.c.flexible else 0
        cdef bint fixed = not self.c.flexible
        for i in range(self.c.count):
            field = self.fields + i
            fixed_bytes = ks_wire_fixed_bytes(field.kind)
            if fixed_bytes:
                total += fixed_bytes
                continue
            fixed = False
            if field.kind == KS_WIRE_STRUCT:
                total += 1 if field.nullable else field.items.bytes_min
            else:
                total += 1 if field.compact else 2 if field.kind == KS_WIRE_STRING else 4
        self.c.fixed = fixed and total > 0
        self.c.bytes_min = max(total, 1)
        return 0

    cdef int check(self, const unsigned char* start, const unsigned char** p, const unsigned char* end,
                   long long elements_max) except -1:
        """Walk one instance; `*p` is moved behind it. `start` is where positions in errors count from."""
        cdef ks_wire_walk walk
        cdef ks_wire_status status
        ks_wire_begin(&walk, elements_max)
        if end - p[0] > GIL_FREE_BYTES:
            with nogil:
                status = ks_wire_struct(&self.c, p, end, &walk)
        else:
            status = ks_wire_struct(&self.c, p, end, &walk)
        if status != KS_WIRE_OK:
            raise MalformedMessage(self.struct.__name__, self.version, self.path(walk.path, walk.steps, True),
                                   walk.position - start, REASONS[<int>status])
        return 0

    cdef str path(self, const ks_wire_step* steps, int count, bint innermost_first):
        """`topics[3].partitions[0].records`"""
        cdef Layout layout = self
        cdef ks_wire_step step
        cdef Py_ssize_t i, number
        cdef list parts = []
        for i in range(count):
            step = steps[count - 1 - i if innermost_first else i]
            if layout is None:
                break
            name = layout.names[step.slot]
            parts.append(name if step.element < 0 else f"{name}[{step.element}]")
            for number in range(<Py_ssize_t>(layout.c.count + layout.c.tagged)):
                if layout.fields[number].slot == step.slot:
                    layout = layout.layouts[number]
                    break
            else:
                break
        return ".".join(parts)
