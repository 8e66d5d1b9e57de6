"""What was answered and not sent: buffers in their order, until the kernel has them.

Owns the queue and its size. Must not know sockets, nor what the bytes mean. Used by `connection`.

Invariants
1. Every byte is in `pieces` until it was told to be sent, once and in order. No buffer is copied or changed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

PIECES_MAX = 512
"""Buffers of one sendmsg; the kernel's IOV_MAX is 1024."""


class Unsent:
    """The queue of one connection."""

    __slots__ = ("_buffers", "size_bytes")

    def __init__(self) -> None:
        self._buffers: deque[Buffer] = deque()
        self.size_bytes = 0
        """How much waits; 0: nothing."""

    def add(self, buffers: Iterable[Buffer]) -> None:
        """Queue bytes."""
        for buffer in buffers:
            self._buffers.append(buffer)
            self.size_bytes += len(buffer) if type(buffer) is bytes else memoryview(buffer).nbytes

    def pieces(self) -> list[Buffer]:
        """What is to be sent next, as many buffers as one call takes."""
        buffers = self._buffers
        return list(buffers) if len(buffers) <= PIECES_MAX else [buffers[i] for i in range(PIECES_MAX)]

    def sent(self, count: int) -> None:
        """So many bytes of `pieces` went."""
        self.size_bytes -= count
        buffers = self._buffers
        while count:
            head = memoryview(buffers[0])
            if head.nbytes > count:
                buffers[0] = head.cast("B")[count:]
                return
            count -= head.nbytes
            buffers.popleft()
        while buffers and not memoryview(buffers[0]).nbytes:
            buffers.popleft()

    def clear(self) -> None:
        """Send none of it."""
        self._buffers.clear()
        self.size_bytes = 0
