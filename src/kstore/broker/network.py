"""The event loops of a broker: one for everybody, more for connections that move much.

Owns which connection is served by which loop, and their threads. Must not know what a connection does. Made by `node`;
used with the lock of the loops held, but for `stop`.

Invariants
1. Who moves little stays with the first loop: a request is handled as soon as another thread would be woken for it.
2. Those that move much are spread evenly. A loop is started for the first one that finds all others taken.
3. After `stop` the first loop serves everybody, and no thread is left.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import TYPE_CHECKING

from kstore.broker.loop import Loop

if TYPE_CHECKING:
    from kstore.broker.connection import Connection


class Network:
    """The loops; all have the lock of the first one."""

    def __init__(self, first: Loop, threads_max: int) -> None:
        """At most `threads_max` loops, and no more than the process has processors."""
        self._threads_max = min(threads_max, len(os.sched_getaffinity(0)))
        self._loops = [first]
        self._threads: list[threading.Thread] = []
        self._busy: dict[Connection, Loop] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._loops)

    def spread(self, connection: Connection) -> None:
        """The connection moves much: from now on it counts, and it may go to another loop."""
        if self._stopping:
            return
        served = Counter(self._busy.values())
        loop = min(self._loops, key=lambda one: served[one])
        if served[loop] and len(self._loops) < self._threads_max:
            loop = self._begin()
        self._busy[connection] = loop
        connection.move_to(loop)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._busy.pop(connection, None)

    def _begin(self) -> Loop:
        loop = Loop(self._loops[0].lock)
        name = f"kstore-network-{len(self._loops)}"
        thread = threading.Thread(target=loop.run, args=(lambda: self._stopping,), name=name, daemon=True)
        self._loops.append(loop)
        self._threads.append(thread)
        thread.start()
        return loop

    def stop(self) -> None:
        """End all threads but the first loop's, which serves everybody from now on; on its thread, outside `run`."""
        self._stopping = True
        first, *others = self._loops
        for loop in others:
            loop.call_soon_threadsafe(loop.nothing)
        for thread in self._threads:
            thread.join()
        for connection in self._busy:
            connection.move_to(first)
        for loop in others:
            loop.close()
        self._busy.clear()
        self._threads.clear()
        del self._loops[1:]
