# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""VIEW: one moment of a log, as readers see it.

Owns which segments there were, which offsets they held, and reading across them. It must not know who may
read how far: the caller brings the limit (high watermark, last stable offset, log end). `log` makes a new one
after every change, when bytes and index entries are in place, and publishes it by one assignment; nothing in
it changes afterwards.

Invariants
  1. No byte at or above `end_position` of the last segment is looked at: a writer may be filling it.
  2. What a read returns lies in one segment, is contiguous and ends with a whole batch.
  3. log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset.
"""

cimport cython

from kstore.errors import CorruptionError, OffsetOutOfRange
from kstore._native.batches cimport make_batches
from kstore._native.segment cimport Segment

cdef object NOTHING = memoryview(b"")


cdef _gap(Segment segment, long long offset, long long base):
    """The exception for offsets that lie in no segment, though the log has no holes."""
    return CorruptionError(segment.path, segment.size(), "no segment has them, for one is gone or was cut",
                           offset=offset, next_offset=base)


@cython.final
@cython.freelist(16)
cdef class View:
    """`segments`: a tuple in rising order, at least one; of the last one what it holds now, or up to `end_position`."""

    def __cinit__(self, tuple segments, long long log_start_offset, long long log_end_offset,
                  long long high_watermark, long long last_stable_offset, long long end_position=-1):
        cdef Segment last = segments[len(segments) - 1]
        self.segments = segments
        self.log_start_offset = log_start_offset
        self.log_end_offset = log_end_offset
        self.high_watermark = high_watermark
        self.last_stable_offset = last_stable_offset
        self.end_position = last.size() if end_position < 0 else end_position

    def __repr__(self):
        return (f"<View [{self.log_start_offset}, {self.log_end_offset}) in {len(self.segments)} segments, "
                f"high watermark {self.high_watermark}, stable {self.last_stable_offset}>")

    cdef Py_ssize_t slot_of(self, long long offset) noexcept:
        """The last segment whose base offset is at or below `offset`, else the first. Most readers follow the
        end."""
        cdef Py_ssize_t low = 0, high = len(self.segments) - 1, middle
        if (<Segment>self.segments[high]).base_offset <= offset:
            return high
        while high - low > 1:
            middle = (low + high) >> 1
            if (<Segment>self.segments[middle]).base_offset <= offset:
                low = middle
            else:
                high = middle
        return low

    def segment_at(self, long long offset):
        """The segment that covers `offset`, or would."""
        return self.segments[self.slot_of(offset)]

    def read(self, long long offset, Py_ssize_t max_bytes, long long limit_offset, aborted=()):
        """Whole batches from the one that covers or follows `offset` on, none that reaches `limit_offset` or
        above.

        The first one in any case, more of them while they fit into `max_bytes`. Empty at the limit, and where
        nothing is left below it. Raises OffsetOutOfRange outside `[log_start_offset, limit_offset]`,
        CorruptionError when the offset lies in bytes that fail their check, or in no segment where offsets are
        dense, OSError.
        """
        cdef Py_ssize_t slot, last = len(self.segments) - 1
        cdef Segment segment
        cdef long long end, offset_end, start = 0, stop = 0, next_offset = -1
        if offset < self.log_start_offset or offset > limit_offset:
            raise OffsetOutOfRange(offset, self.log_start_offset, limit_offset)
        if offset < limit_offset:
            for slot in range(self.slot_of(offset), last + 1):
                segment = <Segment>self.segments[slot]
                if segment.base_offset >= limit_offset:
                    break
                if slot == last:
                    end, offset_end = self.end_position, self.log_end_offset
                else:
                    end, offset_end = segment.size(), (<Segment>self.segments[slot + 1]).base_offset
                if limit_offset < offset_end:
                    end, offset_end = segment.locate(limit_offset, end), limit_offset
                if segment.span(offset, max_bytes, end, offset_end, &start, &stop, &next_offset):
                    return make_batches(segment.read(start, stop), offset, next_offset, segment.log_path(), start,
                                        tuple(aborted), segment.dense)
                if slot < last and segment.dense:        # no batch up to the next segment, where one must be
                    raise _gap(segment, offset, (<Segment>self.segments[slot + 1]).base_offset)
        return make_batches(NOTHING, limit_offset, limit_offset, "", 0, (), False)

    def offset_for_timestamp(self, long long timestamp_ms, long long limit_offset):
        """`(offset, timestamp_ms)` of the first record with at least that timestamp, from the log start up to
        the limit; None when there is none. A segment whose largest timestamp is below is passed over."""
        cdef Py_ssize_t slot, last = len(self.segments) - 1
        cdef Segment segment
        cdef long long end
        for slot in range(self.slot_of(self.log_start_offset), last + 1):
            segment = <Segment>self.segments[slot]
            if segment.base_offset >= limit_offset:
                break
            if segment.max_timestamp_ms < timestamp_ms:
                continue
            end = self.end_position if slot == last else segment.size()
            found = segment.offset_for_timestamp(timestamp_ms, self.log_start_offset, end)
            if found is not None:
                return found if found[0] < limit_offset else None
        return None

    def with_offsets(self, *, log_start_offset=None, high_watermark=None, last_stable_offset=None):
        """The same moment of the same segments with other marks; the end stays."""
        cdef View view = View.__new__(
            View, self.segments,
            self.log_start_offset if log_start_offset is None else log_start_offset,
            self.log_end_offset,
            self.high_watermark if high_watermark is None else high_watermark,
            self.last_stable_offset if last_stable_offset is None else last_stable_offset)
        view.end_position = self.end_position
        return view
