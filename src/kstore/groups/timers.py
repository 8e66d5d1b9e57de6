"""Deadlines by name: what is to happen at which time unless it is cancelled or set again before.

Owns a heap of deadlines. Reads no clock: time is an argument. Called by `shard` and `coordinator`.

Invariants
1. A key has at most one deadline; setting it again replaces the one before.
2. A timer that was cancelled or replaced never runs, even when it was due already.
"""

from __future__ import annotations

import heapq
from typing import Generic, NamedTuple, TypeVar

A = TypeVar("A")


class TimerKey(NamedTuple):
    """What a deadline is about: its kind, a group, and a member where the kind has one."""

    kind: str
    group_id: str
    member_id: str = ""


class Timer(NamedTuple, Generic[A]):
    """A deadline that is set; `serial` tells it from an earlier one of the same key."""

    deadline_ms: int
    serial: int
    key: TimerKey
    action: A


class Timers(Generic[A]):
    """All deadlines of one coordinator; `A` is what a timer does when it runs."""

    __slots__ = ("_by_key", "_heap", "_serial")

    def __init__(self) -> None:
        self._by_key: dict[TimerKey, Timer[A]] = {}
        self._heap: list[tuple[int, int, TimerKey]] = []
        self._serial = 0

    def __contains__(self, key: TimerKey) -> bool:
        return key in self._by_key

    def set(self, key: TimerKey, deadline_ms: int, action: A) -> None:
        """Let `action` be due at `deadline_ms`."""
        self._serial += 1
        self._by_key[key] = Timer(deadline_ms, self._serial, key, action)
        heapq.heappush(self._heap, (deadline_ms, self._serial, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._by_key):
            # Every heartbeat leaves a dead entry behind: rebuild when most of the heap is dead.
            self._heap = [(timer.deadline_ms, timer.serial, timer.key) for timer in self._by_key.values()]
            heapq.heapify(self._heap)

    def cancel(self, key: TimerKey) -> None:
        """Forget a deadline; one that is not set is no error."""
        self._by_key.pop(key, None)

    def clear(self) -> None:
        """Forget every deadline."""
        self._by_key.clear()
        self._heap.clear()

    def next_deadline_ms(self) -> int | None:
        """When the next timer is due; None when none is set."""
        while self._heap:
            deadline_ms, serial, key = self._heap[0]
            timer = self._by_key.get(key)
            if timer is not None and timer.serial == serial:
                return deadline_ms
            heapq.heappop(self._heap)
        return None

    def due(self, now_ms: int) -> list[Timer[A]]:
        """Timers whose time has come, in order; they stay set until `take`, so that they can still be cancelled."""
        found: list[Timer[A]] = []
        while (deadline_ms := self.next_deadline_ms()) is not None and deadline_ms <= now_ms:
            _, _, key = heapq.heappop(self._heap)
            found.append(self._by_key[key])
        return found

    def take(self, timer: Timer[A]) -> bool:
        """Whether a timer from `due` still counts; it is unset by this."""
        current = self._by_key.get(timer.key)
        if current is None or current.serial != timer.serial:
            return False
        del self._by_key[timer.key]
        return True
