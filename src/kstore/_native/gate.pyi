from typing import Generic, Literal, TypeVar, final

from typing_extensions import Buffer

from kstore._native.batch import AppendInfo
from kstore._native.segment import Segment
from kstore._native.view import View

T = TypeVar("T", bound=tuple[int, int, int, bool])

@final
class Gate(Generic[T]):
    batch_bytes_max: int
    segment_bytes: int
    segment_ms: int
    refused_flags: int
    records: bool | Literal["auto", "known"]
    def __init__(
        self,
        result: type[T],
        *,
        batch_bytes_max: int,
        segment_bytes: int,
        segment_ms: int,
        refused_flags: int,
        records: bool | Literal["auto", "known"] = "auto",
    ) -> None: ...
    def append(self, view: View, active: Segment, buffer: Buffer, leader_epoch: int) -> tuple[View, T] | None: ...
    def append_encoded(
        self, view: View, active: Segment, buffer: Buffer, info: AppendInfo
    ) -> tuple[View, T] | None: ...
