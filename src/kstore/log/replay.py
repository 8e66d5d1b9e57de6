"""Producer state from the log itself: the newest good snapshot, then the batches behind it.

Called by `loader` at open and by `log` after a truncation. Header walks only, but for markers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kstore.log.rows import row_of_header
from kstore.log.snapshots import load_snapshot

if TYPE_CHECKING:
    from kstore._native.batch import BatchHeader
    from kstore._native.segment import Segment
    from kstore.log.derived import Derived


def restore_producers(derived: Derived, segments: Sequence[Segment], end: int) -> tuple[int, ...]:
    """Set producer state to that of `end`; returns the offsets of snapshots whose check failed. Raises `OSError`."""
    snapshot = load_snapshot(derived.disk, derived.directory, not_after=end)
    derived.restore_producers(snapshot.entries, snapshot.offset or 0)
    for segment, header in headers_between(segments, snapshot.offset or 0, end):
        row = row_of_header(header, segment)
        if row is not None:
            derived.apply(row, segment.base_offset)
    derived.producers.advance(end)
    return snapshot.damaged


def headers_between(
    segments: Sequence[Segment], offset: int, end: int
) -> Iterator[tuple[Segment, BatchHeader]]:
    """The headers of every batch that starts at or above `offset` and below `end`, with their segments."""
    for i, segment in enumerate(segments):
        segment_end = segments[i + 1].base_offset if i + 1 < len(segments) else end
        if segment_end <= offset or segment.base_offset >= end:
            continue
        position = segment.locate(offset) if offset > segment.base_offset else 0
        for header in segment.headers(position):
            if offset <= header.base_offset < end:
                yield segment, header
