"""Which segments a log no longer has to keep: by age, by size.

Decides without doing: `partition` deletes. It must not know a clock; `now_ms` is handed in.

Invariants
1. Whole segments go, oldest first, and the first that has to stay ends it.
2. Nothing above the high watermark goes; an empty active segment stays.

After UnifiedLog.deleteOldSegments. A segment whose records carry no timestamp has no age here; Kafka takes the time of
its file, which a copy of the directory changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kstore.config import TopicConfig


class AgedSegment(Protocol):
    """What is looked at of a segment."""

    @property
    def base_offset(self) -> int:
        """Its first offset."""

    @property
    def size_bytes(self) -> int:
        """Of its log file."""

    @property
    def max_timestamp_ms(self) -> int:
        """The largest time of its records, -1 where none carries one."""


def log_start_to_keep(
    segments: Sequence[AgedSegment], config: TopicConfig, now_ms: int, high_watermark: int, log_end_offset: int
) -> int:
    """The base offset of the oldest segment that has to stay, or the log end where none has to."""
    if "delete" not in config.cleanup_policy:
        return segments[0].base_offset
    excess_bytes = sum(segment.size_bytes for segment in segments) - config.retention_bytes
    for number, segment in enumerate(segments):
        is_last = number + 1 == len(segments)
        end = log_end_offset if is_last else segments[number + 1].base_offset
        too_old = 0 <= config.retention_ms < now_ms - segment.max_timestamp_ms and segment.max_timestamp_ms >= 0
        too_much = config.retention_bytes >= 0 and excess_bytes - segment.size_bytes >= 0
        if not (too_old or too_much) or end > high_watermark or (is_last and not segment.size_bytes):
            return segment.base_offset
        excess_bytes -= segment.size_bytes
    return log_end_offset
