"""Who waits for which fsync: group commit off the event loop.

Owns the order of answers that wait for the medium. Must not know requests: a waiter is a callable. Called by the
handler of Produce and by the group coordinators, on the event loop; the fsyncs run on a few threads.

Invariants
1. A waiter is told success only after a sync that began behind its append has succeeded (`log.commit`).
2. One sync a partition at a time; whoever comes while it runs shares the next one.
3. Waiters of one partition are told in the order of their offsets, but for those whose time is over.
4. A waiter is told once; nobody waits longer than it said for a disk that stalls. What becomes of its append is open
   then: the sync goes on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

from kstore.errors import KStoreError, RequestTimedOut

if TYPE_CHECKING:
    from kstore.broker.loop import Loop, Timer
    from kstore.partition import Partition

TIMEOUT_MS_MIN = 1000
"""Least time for the fsync of a Produce request. Kafka's timeout counts waiting for other replicas; alone it answers a
request that allows no time at all, and here it must not fail for a disk that takes some milliseconds."""

Then = Callable[[KStoreError | None], None]


class _Waiter(NamedTuple):
    offset: int
    due: float
    """Of the loop's clock; infinite for those who wait for however long it takes."""
    then: Then


class Durability:
    """Appends that wait to be on the medium."""

    def __init__(
        self, loop: Loop, threads: Executor, together: Callable[[Callable[[], None]], None]
    ) -> None:
        """`together` runs a function and sends what it answered in one go."""
        self._loop = loop
        self._threads = threads
        self._together = together
        self._waiters: dict[Partition, deque[_Waiter]] = {}
        self._timer: Timer | None = None
        self._timer_due = math.inf

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waiters

    def wait(self, partition: Partition, offset: int, then: Then, *, timeout_s: float = math.inf) -> None:
        """Call `then` when everything below `offset` is on the medium, with the failure if it never will be.

        With `RequestTimedOut` where neither is known after `timeout_s` seconds.
        """
        if partition.durable_offset >= offset and partition not in self._waiters:
            then(None)
            return
        due = self._loop.time() + timeout_s
        if due < self._timer_due:
            self._set_timer(due)
        queue = self._waiters.get(partition)
        if queue is not None:
            queue.append(_Waiter(offset, due, then))
            return
        self._waiters[partition] = deque([_Waiter(offset, due, then)])
        self._loop.call_soon(self._start, partition)  # what comes in by the same receive shares the sync

    def stop(self) -> None:
        """Set no timer any more, when nobody is left to be told."""
        self._set_timer(math.inf)

    def _set_timer(self, due: float) -> None:
        """One timer for all: most often it finds nobody left that it was set for."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._time_passed) if due < math.inf else None
        self._timer_due = due

    def _time_passed(self) -> None:
        now = self._timer_due  # the loop calls a clock's tick early
        late: list[_Waiter] = []
        for queue in self._waiters.values():
            overdue = [waiter for waiter in queue if waiter.due <= now]
            if overdue:
                late += overdue
                rest = [waiter for waiter in queue if waiter.due > now]
                queue.clear()
                queue.extend(rest)
        self._set_timer(min((w.due for queue in self._waiters.values() for w in queue), default=math.inf))
        if late:
            self._tell(late, RequestTimedOut("the disk has not answered an fsync in time; the batch may be stored"))

    def _start(self, partition: Partition) -> None:
        def run() -> None:
            try:
                partition.sync()
            except KStoreError as error:
                self._loop.call_soon_threadsafe(self._done, partition, error)
            except Exception as error:
                failure = KStoreError(f"fsync of {partition.path}: {error!r}")
                self._loop.call_soon_threadsafe(self._done, partition, failure)
            else:
                self._loop.call_soon_threadsafe(self._done, partition, None)

        self._threads.submit(run)

    def _done(self, partition: Partition, failure: KStoreError | None) -> None:
        queue = self._waiters.pop(partition)
        if failure is None:
            durable = partition.durable_offset
            ready = [waiter for waiter in queue if waiter.offset <= durable]
            rest = deque(waiter for waiter in queue if waiter.offset > durable)
        else:
            ready, rest = list(queue), deque()
        if rest:
            self._waiters[partition] = rest
            self._start(partition)
        self._tell(ready, failure)

    def _tell(self, waiters: list[_Waiter], failure: KStoreError | None) -> None:
        def tell() -> None:
            for waiter in waiters:
                waiter.then(failure)

        self._together(tell)
