# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""READABLE: where in a segment an offset or a timestamp is, and the bytes there.

Owns lookups and what is handed out for them. Which bytes exist and which index entries are true is
`StoredSegment`'s; how far a reader may see is `view`'s, who calls this for every fetch. Any thread, no lock.

Invariants
  1. Every lookup answers as a full scan of the log would, whatever the index files hold.
  2. A position handed out is where a batch begins. A range in quarantine is never handed out.
  3. Bytes handed out stay valid and unchanged for as long as they are held: nothing below the high watermark
     is cut, and unlinking a file takes no mapping away.
"""

from kstore.errors import CorruptionError
from kstore._native import scan as scan_module
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from kstore._native.batch cimport KS_CONTROL, batch_header, ks_batch_check, ks_batch_header
from kstore._native.batches cimport make_batches
from kstore._native.file cimport File
from kstore._native.index cimport OffsetIndex, TimeIndex, ks_offset_index_search_position
from kstore._native.scan cimport KS_WALK_BAD, KS_WALK_END, KS_WALK_FOUND, ks_walk_step, producer_row
from kstore._native.status cimport KS_BAD_HEADER, KS_OK, ks_status
from kstore._native.stored cimport StoredSegment
from kstore._native.walk cimport Walk


cdef class ReadableSegment(StoredSegment):
    """Lookups in one segment. Errors: OSError of the disk, CorruptionError of the log's bytes, never of an
    index."""

    # -- by offset -------------------------------------------------------------------------------------------

    cpdef locate(self, long long offset, long long end_position=-1):
        """The position of the batch that covers `offset`, else of the next one; `end_position` when there is
        none."""
        cdef long long end = self.size() if end_position < 0 else end_position
        cdef Walk walk
        cdef int result
        self.ready(end)
        walk = self.walk(end)
        self.start_at(walk, offset)
        result = walk.to_offset(offset)
        if result == KS_WALK_FOUND or result == KS_WALK_END:
            return walk.w.position
        raise walk.damage()

    def lookup(self, long long offset):
        """By the index alone: the position of its last entry at or below `offset`, 0 when there is none."""
        self.ready(0)
        return self.offsets.lookup(offset)

    def lookup_many(self, offsets):
        """`lookup` of each of an array of offsets: int64 positions."""
        self.ready(0)
        return self.offsets.lookup_many(offsets)

    cdef int span(self, long long offset, Py_ssize_t max_bytes, long long end, long long offset_end,
                  long long* start, long long* stop, long long* next_offset) except -1:
        """Whole batches from the one that covers or follows `offset`: the first in any case, others while
        they fit into `max_bytes`. 0 when there is none before `end`; `offset_end` is above every offset
        before `end`.
        """
        cdef Walk walk
        cdef int result
        self.ready(end)
        walk = self.walk(end)
        self.start_at(walk, offset)
        result = walk.to_offset(offset)
        if result == KS_WALK_END:
            return 0
        if result != KS_WALK_FOUND:
            raise walk.damage()
        start[0] = walk.w.position
        ks_walk_step(&walk.w)
        if walk.w.bad_count and walk.w.bad.position < end:
            walk.w.end = walk.w.bad.position       # bytes in quarantine part what is handed out
        if (walk.peek() == KS_WALK_BAD and walk.w.status == KS_BAD_HEADER
                and not self.batch_holds(start[0], walk.w.position)):
            walk.w.position = start[0]             # it claims the offsets of those behind it
            walk.w.next_offset = offset
            raise walk.damage()
        self.reach(walk, start[0] + min(<long long>max_bytes, end), offset_end)
        if walk.w.position == start[0]:
            walk.w.status = KS_BAD_HEADER
            walk.w.next_offset = offset
            raise walk.damage()
        stop[0] = walk.w.position
        next_offset[0] = walk.w.next_offset
        return 1

    cdef int reach(self, Walk walk, long long target, long long offset_end) except -1:
        """Step on over the batches that end at or before `target`.

        Base offsets stand outside the checksum: a batch that claims offsets of the one behind it, or of what
        follows `offset_end`, is taken back, as it lies about its own; in a dense log only when its checksum
        says so, since there the one behind may be the liar.
        """
        cdef OffsetIndex offsets = self.offsets
        cdef long long position = walk.w.position, next_offset = walk.w.next_offset
        cdef long long last_position = walk.w.last_position
        cdef Py_ssize_t slot
        cdef int result
        cdef bint suspect
        if offsets is not None and target - position > 2 * self.index_interval_bytes:
            # One entry short of the nearest, so that at least one batch is stepped over on the way.
            slot = ks_offset_index_search_position(offsets.data, offsets.count, min(target, walk.w.end) - 1) - 1
            if slot < 0 or offsets.position_at(slot) <= position or not self.jump(walk, offsets, slot):
                walk.w.position = position
                walk.w.next_offset = next_offset
                walk.w.last_position = last_position
        result = walk.to_position(target)
        if result == KS_WALK_END and walk.w.dense:
            suspect = walk.w.next_offset != offset_end
        elif result == KS_WALK_END:
            suspect = walk.w.next_offset > offset_end
        else:
            suspect = result == KS_WALK_BAD and walk.w.status == KS_BAD_HEADER
        if suspect and not (walk.w.dense and self.batch_holds(walk.w.last_position, walk.w.position)):
            walk.w.position, walk.w.next_offset = walk.w.last_position, -1
        return 0

    cdef bint batch_holds(self, long long position, long long end_position) except -1:
        """Whether the checksum of one batch fits: where two headers disagree, this tells which of them is wrong,
        as long as no offset may be missing between them."""
        cdef Py_buffer view
        cdef ks_batch_header header
        cdef ks_status status
        PyObject_GetBuffer(self.read(position, end_position), &view, PyBUF_SIMPLE)
        status = ks_batch_check(<const unsigned char*>view.buf, <const unsigned char*>view.buf + view.len, &header)
        PyBuffer_Release(&view)
        return status == KS_OK

    cpdef read(self, long long position, long long end_position):
        """The raw bytes `[position, end_position)`, unchecked, as a read-only memoryview."""
        cdef bytes copied
        self.ready(end_position)
        if self.mapped:
            return self.mapping.view[position:end_position]
        copied = self.file.read_at(position, end_position - position) if end_position > position else b""
        if len(copied) < end_position - position:
            raise CorruptionError(self.path, position, "the file became shorter while it was read")
        return memoryview(copied)

    # -- by timestamp ----------------------------------------------------------------------------------------

    def offset_for_timestamp(self, long long timestamp_ms, long long start_offset=0, long long end_position=-1):
        """`(offset, timestamp_ms)` of the first record at or above `start_offset` with at least that
        timestamp, or None.

        Kafka's rule: control records count, and a batch of LogAppendTime gives each record its own one
        timestamp.
        """
        cdef long long end = self.size() if end_position < 0 else end_position
        cdef Walk walk
        cdef long long floor
        cdef int result
        start_offset = max(start_offset, self.base_offset)
        floor = self.time_floor(timestamp_ms, end)
        self.ready(end)
        walk = self.walk(end)
        self.start_at(walk, max(start_offset, floor))
        while True:
            result = walk.to_timestamp(timestamp_ms)
            if result == KS_WALK_END:
                return None
            if result != KS_WALK_FOUND:
                raise walk.damage()
            batches = make_batches(self.read(walk.w.position, walk.w.position + walk.w.header.size_bytes),
                                   walk.w.header.base_offset, -1, self.log_path(), walk.w.position, (), False)
            for record in batches.records(control=True, from_offset=start_offset):
                if record.timestamp_ms >= timestamp_ms:
                    return record.offset, record.timestamp_ms
            ks_walk_step(&walk.w)

    cdef long long time_floor(self, long long timestamp_ms, long long end) except? -1:
        """An offset from which on the first record with that timestamp is found.

        The last entry below the timestamp, once its batch confirms it. Should a flipped bit have moved the entry to a
        later batch of the same timestamp, no larger one is passed over either: an offset entry between the two would
        have come with a time entry, which would now stand behind a higher offset, and the walk begins at the offset
        entry.
        """
        cdef TimeIndex times
        cdef Py_ssize_t slot
        cdef int attempt
        for attempt in range(2):
            self.ready(end)
            times = self.times
            slot = times.slot_below(timestamp_ms)
            if slot < 0:
                break
            if self.time_entry_holds(times, slot, end):
                return times.offset_at(slot)
            if self.appender is not None:
                break
            if attempt == 0:
                self.rebuild_indexes()
        return self.base_offset

    # -- many batches ----------------------------------------------------------------------------------------

    def headers(self, long long position=0, long long end_position=-1):
        """The `BatchHeader`s from `position`, where a batch begins, up to `end_position`; quarantined ranges
        left out."""
        cdef long long end = self.size() if end_position < 0 else end_position
        cdef Walk walk
        cdef int result
        cdef list found = []
        self.ready(end)
        walk = self.walk(end)
        walk.w.position = position
        result = walk.peek()
        while result == KS_WALK_FOUND:
            found.append(batch_header(&walk.w.header, walk.w.position))
            ks_walk_step(&walk.w)
            result = walk.peek()
        if result == KS_WALK_BAD:
            raise walk.damage()
        return found

    def scan_damage(self, long long end_offset=-1, *, bint dense=False, long long end_position=-1):
        """Check every byte and go on behind damage: what is good and what is bad. `end_offset`: the base
        offset of the next segment, or the log end. `end_position`: up to where, by default the segment's size,
        which after a recovery that met damage is where it stopped. Quarantined ranges are looked at like any
        other. The indexes are left alone: a log whose index is gone too may be too damaged to make another."""
        cdef long long end = self.size() if end_position < 0 else end_position
        cdef File file = self.disk.open_file(self.name("log"), writable=False)
        try:
            source = file.mapping(end).view[:end] if self.mapped and end else file.read_at(0, end)
        finally:
            file.close()
        return scan_module.examine(source, self.base_offset, end_offset=end_offset, dense=dense)

    def producer_batches(self, long long position=0, long long end_position=-1):
        """The `ProducerBatch`es among the batches that `headers` walks over; no checksum is read."""
        cdef long long end = self.size() if end_position < 0 else end_position
        cdef Walk walk
        cdef int result
        cdef Py_buffer view
        cdef list found = []
        self.ready(end)
        walk = self.walk(end)
        walk.w.position = position
        result = walk.peek()
        while result == KS_WALK_FOUND:
            if walk.w.header.producer_id >= 0:
                row = None
                if walk.w.header.attributes & KS_CONTROL:
                    PyObject_GetBuffer(self.read(walk.w.position, walk.w.position + walk.w.header.size_bytes),
                                       &view, PyBUF_SIMPLE)
                    row = producer_row(&walk.w.header, <const unsigned char*>view.buf)
                    PyBuffer_Release(&view)
                else:
                    row = producer_row(&walk.w.header, NULL)
                if row is not None:
                    found.append(row)
            ks_walk_step(&walk.w)
            result = walk.peek()
        if result == KS_WALK_BAD:
            raise walk.damage()
        return found
