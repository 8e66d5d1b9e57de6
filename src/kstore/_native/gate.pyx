# cython: language_level=3, boundscheck=False, wraparound=False
"""GATE: the straight way of an append into a log, from the caller's buffer to the view that readers see.

An append of 64 KiB leaves little of the processor's first cache to the code that follows it, so that every Python
function on the way costs five times what it costs when it is warm: a tenth of the append in all. What nearly every
append needs is done here in one call; whatever is rare (rolling, producers, another codec) is refused, with nothing
done, and `log` goes its own way.

Owns no state but the limits of one log, which `log` sets anew when its configuration changes. It must not know
why a limit is what it is. Called by `log` under the writer lock.

Invariants
  1. None is returned before anything was done; a `View` only after bytes and index entries are in place.
  2. What goes through would have ended the same on the long way.
"""

cimport cython

from kstore._native.appender cimport Appender
from kstore._native.batch cimport AppendInfo, Pieces, check_apart
from kstore._native.segment cimport Segment
from kstore._native.view cimport View

from kstore._native.batch import check


@cython.final
cdef class Gate:
    """`result` makes what an append returns of `(base_offset, next_offset, timestamp_ms, False)`: a tuple's type.

    `records` says which records `check` looks at.
    """

    cdef readonly long long batch_bytes_max
    cdef readonly long long segment_bytes
    cdef readonly long long segment_ms
    cdef readonly int refused_flags
    cdef readonly object records
    cdef type result

    def __cinit__(self, type result, *, long long batch_bytes_max, long long segment_bytes, long long segment_ms,
                  int refused_flags, records="auto"):
        self.result = result
        self.batch_bytes_max = batch_bytes_max
        self.segment_bytes = segment_bytes
        self.segment_ms = segment_ms
        self.refused_flags = refused_flags
        self.records = records

    def append(self, View view, Segment active, buffer, int leader_epoch):
        """Check a client's batches, write a stamped copy behind the end of `view`: `(the next view, the result)`.

        None, with nothing done, where this is not the whole of it. Raises `InvalidBatch`, and OSError as
        `Segment.append` does.
        """
        cdef Pieces pieces = <Pieces>buffer if isinstance(buffer, Pieces) and (<Pieces>buffer).apart else None
        cdef AppendInfo info
        cdef long long end
        if pieces is None:
            info = <AppendInfo>check(buffer, records=self.records)
        else:
            info = check_apart(pieces, self.records)
        end = view.log_end_offset + info.offsets
        if (info.largest_batch_bytes > self.batch_bytes_max or info.flags & self.refused_flags
                or not self.has_room(active, info, end)):
            return None
        if pieces is None:
            active.writer().append(buffer, info, view.log_end_offset, leader_epoch)
        else:
            active.writer().append_apart(pieces, info, view.log_end_offset, leader_epoch)
        return self.passed(view, active, info, end)

    def append_encoded(self, View view, Segment active, buffer, AppendInfo info):
        """The same for the log's own encoder, whose batches begin at the end of `view` and need no check."""
        if info.first_offset != view.log_end_offset or not self.has_room(active, info, info.next_offset):
            return None
        active.writer().append_stamped(buffer, info)
        return self.passed(view, active, info, info.next_offset)

    cdef bint has_room(self, Segment active, AppendInfo info, long long end) except -1:
        """Whether the segment takes it without rolling first (LogSegment.shouldRoll)."""
        cdef Appender appender = active.writer()
        if info.size_bytes > self.segment_bytes or appender.is_full(info.size_bytes, end - 1, self.segment_bytes):
            return False
        return not (appender.first_timestamp_ms >= 0 and appender.size_bytes > 0
                    and info.max_timestamp_ms - appender.first_timestamp_ms > self.segment_ms)

    cdef tuple passed(self, View view, Segment active, AppendInfo info, long long end):
        """The bytes are in place: the view that shows them, and the result."""
        active.changes += 1
        cdef View after = View.__new__(View, view.segments, view.log_start_offset, end, end, end)
        return after, tuple.__new__(self.result, (view.log_end_offset, end, info.max_timestamp_ms, False))
