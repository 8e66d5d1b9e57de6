"""Fetches that wait for records: parked without a thread, woken by what they wait for.

Owns who waits for which partitions, and their deadlines. Must not know requests or logs: it counts bytes and calls.
Called by the handler of Fetch (to park), by whoever appended, and when topics go or the broker stops; on the event
loop alone.

Invariants
1. A parked fetch is woken exactly once: by bytes, by its deadline, by `wake`, or it is cancelled.
2. Nobody is looked at whose partitions did not change: a thousand that wait elsewhere cost an append nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstore.broker.loop import Loop, Timer

Key = tuple[str, int]


class Parked:
    """One waiting fetch."""

    __slots__ = ("keys", "missing_bytes", "timer", "wake")

    def __init__(self, keys: tuple[Key, ...], missing_bytes: int, wake: Callable[[], None]) -> None:
        self.keys = keys
        self.missing_bytes = missing_bytes
        self.wake = wake
        self.timer: Timer | None = None


class Waiting:
    """All waiting fetches of a broker."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._by_key: dict[Key, dict[Parked, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def park(self, keys: Iterable[Key], missing_bytes: int, deadline: float, wake: Callable[[], None]) -> Parked:
        """Call `wake` when `missing_bytes` were appended to `keys`, or at `deadline` by the loop's clock."""
        parked = Parked(tuple(keys), missing_bytes, wake)
        for key in parked.keys:
            self._by_key.setdefault(key, {})[parked] = None
        parked.timer = self._loop.call_at(deadline, self._wake, parked)
        self._count += 1
        return parked

    def cancel(self, parked: Parked) -> None:
        """Forget it, without waking it; a second time is no harm."""
        if parked.timer is None:
            return
        parked.timer.cancel()
        parked.timer = None
        self._count -= 1
        for key in parked.keys:
            there = self._by_key.get(key)
            if there is not None:
                there.pop(parked, None)
                if not there:
                    del self._by_key[key]

    def appended(self, key: Key, size_bytes: int) -> None:
        """Bytes were appended to a partition, and may be read."""
        there = self._by_key.get(key)
        if there is None:
            return
        for parked in list(there):
            parked.missing_bytes -= size_bytes
            if parked.missing_bytes <= 0:
                self._wake(parked)

    def wake(self, topics: Iterable[str] | None = None) -> None:
        """Wake those who wait for any of the topics; None: all."""
        names = None if topics is None else set(topics)
        for key in [key for key in self._by_key if names is None or key[0] in names]:
            for parked in list(self._by_key.get(key, ())):
                self._wake(parked)

    def _wake(self, parked: Parked) -> None:
        if parked.timer is not None:
            self.cancel(parked)
            parked.wake()
