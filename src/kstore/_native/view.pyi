from collections.abc import Sequence

from kstore._native.batches import Batches
from kstore._native.segment import Segment

class View:
    segments: tuple[Segment, ...]
    log_start_offset: int
    log_end_offset: int
    high_watermark: int
    last_stable_offset: int
    end_position: int
    def __init__(
        self,
        segments: tuple[Segment, ...],
        log_start_offset: int,
        log_end_offset: int,
        high_watermark: int,
        last_stable_offset: int,
        end_position: int = -1,
    ) -> None: ...
    def segment_at(self, offset: int) -> Segment: ...
    def read(
        self, offset: int, max_bytes: int, limit_offset: int, aborted: Sequence[tuple[int, int, int]] = ()
    ) -> Batches: ...
    def offset_for_timestamp(self, timestamp_ms: int, limit_offset: int) -> tuple[int, int] | None: ...
    def with_offsets(
        self,
        *,
        log_start_offset: int | None = None,
        high_watermark: int | None = None,
        last_stable_offset: int | None = None,
    ) -> View: ...
