from collections.abc import Iterable
from typing import Any, final

from kstore._native.batch import AppendInfo
from kstore._native.columns import Columns
from kstore._native.record import Record as Record

@final
class Encoder:
    def __init__(self) -> None: ...
    @property
    def buffer(self) -> memoryview: ...
    def encode(
        self,
        records: Iterable[Any] | Columns,
        *,
        base_offset: int = 0,
        leader_epoch: int = -1,
        timestamp_ms: int | None = -1,
        codec: int = 0,
        level: int | None = None,
        batch_bytes_max: int | None = None,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        transactional: bool = False,
        control: bool = False,
        log_append_time: bool = False,
        record_bytes_max: int | None = None,
    ) -> AppendInfo: ...

def encode_marker(
    base_offset: int,
    *,
    leader_epoch: int,
    producer_id: int,
    producer_epoch: int,
    commit: bool,
    coordinator_epoch: int,
    timestamp_ms: int,
) -> bytes: ...
