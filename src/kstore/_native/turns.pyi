from types import TracebackType
from typing import final

from typing_extensions import Buffer

SEND_PIECES_MAX: int

@final
class Lock:
    def acquire(self) -> None: ...
    def release(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

def send_away(lock: Lock, fd: int, pieces: list[Buffer]) -> int: ...
