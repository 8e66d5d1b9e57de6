from typing import Any, final

from typing_extensions import Buffer

from kstore._native.stream import FrameReader

class Known:
    @property
    def target(self) -> Any: ...

@final
class Pattern(Known):
    def __init__(
        self,
        target: Any,
        frame: Buffer,
        records: Buffer,
        *,
        compact: bool,
        answer: bytes,
        base_offset_at: int,
        append_time_at: int,
        log_start_at: int,
        refused_codec: int,
    ) -> None: ...

@final
class FetchPattern(Known):
    def __init__(
        self,
        target: Any,
        frame: bytes,
        *,
        offset_at: int,
        compact: bool,
        head: bytes,
        tail: bytes,
        high_watermark_at: int,
        last_stable_at: int,
        log_start_at: int,
    ) -> None: ...

@final
class Run:
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __len__(self) -> int: ...
    @property
    def pattern(self) -> Pattern: ...
    @property
    def count(self) -> int: ...
    @property
    def frames_bytes(self) -> int: ...
    @property
    def newest_ms(self) -> int: ...
    @property
    def offsets(self) -> int: ...
    @property
    def correlation_ids(self) -> list[int]: ...
    def answers(self, base_offset: int, append_time_ms: int, log_start_offset: int) -> bytes: ...
    def done(self) -> None: ...

@final
class Ask:
    @property
    def pattern(self) -> FetchPattern: ...
    @property
    def count(self) -> int: ...
    @property
    def frames_bytes(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def correlation_id(self) -> int: ...
    def answer(
        self, records: Buffer, high_watermark: int, last_stable_offset: int, log_start_offset: int
    ) -> list[Buffer]: ...
    def done(self) -> None: ...

@final
class Patterns:
    def __len__(self) -> int: ...
    def learn(self, pattern: Known) -> None: ...
    def gather(self, reader: FrameReader) -> Run | Ask | None: ...
