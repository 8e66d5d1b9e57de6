from typing_extensions import Buffer

from kstore._native.batch import AppendInfo
from kstore._native.file import File
from kstore._native.index import Indexes

class Staging: ...

class Appender:
    file: File
    indexes: Indexes
    base_offset: int
    size_bytes: int
    next_offset: int
    first_timestamp_ms: int
    header_digest: int | None
    def __init__(
        self,
        file: File,
        indexes: Indexes,
        base_offset: int,
        size_bytes: int,
        next_offset: int,
        first_timestamp_ms: int,
        header_digest: int | None = None,
    ) -> None: ...
    def append(self, buffer: Buffer, info: AppendInfo, next_offset: int, leader_epoch: int) -> None: ...
    def append_stamped(self, buffer: Buffer, info: AppendInfo) -> None: ...
    def is_full(self, size_bytes: int, last_offset: int, segment_bytes: int) -> bool: ...
    def cut(self, position: int, next_offset: int) -> None: ...
