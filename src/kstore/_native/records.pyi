from collections.abc import Iterable, Mapping
from typing import Any, Literal, final

from typing_extensions import Buffer

from kstore._native.batch import AppendInfo, BatchHeader

Header = tuple[str, bytes | None]

@final
class Record:
    def __init__(
        self,
        value: Buffer | None,
        key: Buffer | None = None,
        headers: Iterable[tuple[str, Buffer | None]] | Mapping[str, Buffer | None] = (),
        timestamp_ms: int | None = None,
    ) -> None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def headers(self) -> tuple[Header, ...]: ...
    @property
    def timestamp_ms(self) -> int | None: ...
    @property
    def timestamp_type(self) -> Literal["CreateTime", "LogAppendTime"]: ...
    @property
    def offset(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def batch(self) -> BatchHeader | None: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_control(self) -> bool: ...

@final
class Encoder:
    def __init__(self) -> None: ...
    @property
    def buffer(self) -> memoryview: ...
    def encode(
        self,
        records: Iterable[Any],
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
