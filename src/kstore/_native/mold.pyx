# cython: language_level=3, boundscheck=False, wraparound=False
"""MOLD: one record as `(offset, timestamp_ms, key, value)`.

Owns the making of that tuple, and what of the last one can be used again: making objects is three quarters of the time
that an iteration takes. It must not know batches; a record was read and checked before it comes here. Called by
`batches`, one mold for each iterator.

Invariants:
1. A tuple is filled anew only where nobody else holds it, as `zip` does it: no caller ever sees one change.
2. Its parts are ints, bytes and None: letting go of one runs no code of anybody.
"""

cimport cython

from kstore._native.record cimport ks_record_timestamp

cdef extern from *:
    """
    /* A reference that a C variable owns, for Cython to own. */
    #define ks_given(object) (object)
    static inline PyObject *ks_counted(PyObject *object) { Py_INCREF(object); return object; }
    #define ks_none() ks_counted(Py_None)
    #define ks_bytes(data, size) ((size) < 0 ? ks_none() : PyBytes_FromStringAndSize((const char *)(data), (size)))
    /* From 3.14 on a tuple remembers its hash. */
    #if PY_VERSION_HEX >= 0x030E0000
    #define ks_forget_hash(tuple) (((PyTupleObject *)(tuple))->ob_hash = -1)
    #else
    #define ks_forget_hash(tuple) ((void)(tuple))
    #endif
    """
    object ks_given(PyObject* owned)
    PyObject* ks_counted(object counted)
    PyObject* ks_none()
    PyObject* ks_bytes(const unsigned char* data, int64_t size)
    void ks_forget_hash(PyObject* tuple)
    # On PyObject*: Cython would count references where none comes or goes.
    PyObject* PyLong_FromLongLong(long long value)
    PyObject* PyTuple_New(Py_ssize_t size)
    PyObject* PyTuple_GET_ITEM(PyObject* tuple, Py_ssize_t i)
    void PyTuple_SET_ITEM(PyObject* tuple, Py_ssize_t i, PyObject* item)
    Py_ssize_t Py_REFCNT(PyObject* object)
    void Py_XINCREF(PyObject* object)
    void Py_XDECREF(PyObject* object)


@cython.final
cdef class Mold:
    """Remembers the last tuple and the last timestamp."""

    def __cinit__(self):
        cdef Py_ssize_t i
        self.timestamp = self.timestamp_ms = -1
        self.made = PyTuple_New(4)
        if self.made == NULL:
            raise MemoryError
        for i in range(4):
            PyTuple_SET_ITEM(self.made, i, ks_none())

    def __dealloc__(self):
        Py_XDECREF(self.made)

    cdef object cast(self, const ks_record* read, const ks_batch_header* header):
        cdef int64_t timestamp_ms = ks_record_timestamp(header, read.timestamp_delta)
        cdef PyObject* parts[4]
        if timestamp_ms != self.timestamp_ms:
            self.timestamp = timestamp_ms
            self.timestamp_ms = timestamp_ms
        parts[0] = PyLong_FromLongLong(header.base_offset + read.offset_delta)
        parts[1] = ks_counted(self.timestamp)
        parts[2] = ks_bytes(read.key, read.key_size)
        parts[3] = ks_bytes(read.value, read.value_size)
        return ks_given(self.fill(parts))

    cdef PyObject* fill(self, PyObject** parts) except NULL:
        """The tuple of `parts`, which are the tuple's from here on; a part that is NULL had no memory."""
        cdef PyObject* made = NULL
        cdef PyObject* old
        cdef Py_ssize_t i
        if parts[0] != NULL and parts[2] != NULL and parts[3] != NULL:
            if Py_REFCNT(self.made) == 1:
                made = self.made
                Py_XINCREF(made)
                ks_forget_hash(made)
                for i in range(4):
                    old = PyTuple_GET_ITEM(made, i)
                    PyTuple_SET_ITEM(made, i, parts[i])
                    Py_XDECREF(old)
                return made
            made = PyTuple_New(4)                      # whoever got that one still has it
        if made == NULL:
            for i in range(4):
                Py_XDECREF(parts[i])
            raise MemoryError
        for i in range(4):
            PyTuple_SET_ITEM(made, i, parts[i])
        return made
