# cython: language_level=3
"""OPENED: the bound on sealed segments that keep their files mapped.

Owns the choice of which one to shut when another opens: a clock hand passes over them, spares each that was
used since it last came by, and shuts the first that was not. A use costs its reader one store. It must not
know what is open: `Segment` derives from `Openable`. One `OpenSegments` serves a whole store; memory that
readers hold on to outlives the shutting.
"""

from kstore import limits


cdef class Openable:
    """Something that can be shut at any moment and opens itself again when it is used."""

    cdef int shut(self) except -1:
        return 0


cdef class OpenSegments:
    """At most `limit` sealed segments open at a time. Counts the index rebuilds of all that share it."""

    def __cinit__(self, Py_ssize_t limit=limits.OPEN_SEGMENTS_MAX):
        self.limit = max(limit, 1)
        self.opened = []

    def __len__(self):
        return len(self.opened)

    cdef int add(self, Openable segment) except -1:
        cdef Openable other
        segment.touched = True
        if segment.listed:
            return 0
        segment.listed = True
        if len(self.opened) < self.limit:
            self.opened.append(segment)
            return 0
        while True:
            self.hand = (self.hand + 1) % self.limit
            other = self.opened[self.hand]
            if not other.touched:
                break
            other.touched = False
        self.opened[self.hand] = segment
        other.listed = False
        other.shut()
        return 0

    cdef int remove(self, Openable segment) except -1:
        cdef Py_ssize_t i
        segment.listed = False
        for i in range(len(self.opened)):
            if self.opened[i] is segment:
                self.opened[i] = self.opened[-1]
                self.opened.pop()
                return 0
        return 0
