"""The world: virtual time, what happens next, chance, and the trace.

Owns the clock that all others derive theirs from, the heap of events, one source of chance for each concern, and the
running hash over everything that was told. It must not know brokers, networks or disks. Called by everything in this
package.

Invariants
1. Events happen in the order of their time, and of their making where times are equal; nothing happens in the past.
2. Chance is drawn from the seed and the name of a concern alone: one concern that draws more changes no other.
3. The trace hash depends on nothing but the seed and the code: no address, no iteration over a set, no real clock.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any, NamedTuple

Call = Callable[..., object]

_HASHED_AT_ONCE = 256  # told lines are hashed in runs: one update costs more than one line does

PPM = 1_000_000


class Told(NamedTuple):
    """One line of the story."""

    time_us: int
    where: str
    """Whose column it stands in."""
    what: str
    detail: str


class World:
    """Time, chance and the trace of one run."""

    def __init__(self, seed: int, *, record: bool = False) -> None:
        """`record` keeps the whole story, for the timeline; the hash is the same with it and without."""
        self.seed = seed
        self.now_us = 0
        self.happened = 0
        """How many events there were."""
        self.story: list[Told] = []
        self._record = record
        self._heap: list[tuple[int, int, Call, tuple[Any, ...]]] = []
        self._made = 0
        self._lines: list[str] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._awaited: dict[str, list[Callable[[str, str], bool]]] = {}

    # -- chance ----------------------------------------------------------------------------------------------

    def dice(self, concern: str) -> random.Random:
        """A source of chance of its own for a concern."""
        return random.Random(f"{self.seed}/{concern}")

    # -- time ------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Time since the world began, in whole ms."""
        return self.now_us // 1000

    def at(self, time_us: int, call: Call, *args: Any) -> None:
        """Have `call(*args)` happen at a time, now at the earliest."""
        self._made += 1
        now_us = self.now_us
        heapq.heappush(self._heap, (time_us if time_us > now_us else now_us, self._made, call, args))

    def after(self, delay_us: int, call: Call, *args: Any) -> None:
        """Have `call(*args)` happen after a while."""
        self._made += 1
        heapq.heappush(self._heap, (self.now_us + max(delay_us, 0), self._made, call, args))

    def run_until(self, end_us: int, done: Callable[[], bool] | None = None) -> bool:
        """Let everything up to `end_us` happen, or until `done()`; returns whether it was done."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= end_us:
            self.now_us, _, call, args = pop(heap)
            self.happened += 1
            call(*args)
            if done is not None and done():
                return True
        self.now_us = max(self.now_us, end_us)
        return False

    # -- what is told ----------------------------------------------------------------------------------------

    def tell(self, where: str, what: str, detail: str = "") -> None:
        """Put a line into the trace; whoever awaits that kind of line is woken."""
        self._lines.append(f"{self.now_us} {where} {what} {detail}")
        if len(self._lines) >= _HASHED_AT_ONCE:
            self._digest()
        if self._record:
            self.story.append(Told(self.now_us, where, what, detail))
        if self._awaited and what in self._awaited:
            waiting = self._awaited[what]
            left = [call for call in waiting if not call(where, detail)]
            if left:
                self._awaited[what] = left
            else:
                del self._awaited[what]

    def await_told(self, what: str, call: Callable[[str, str], bool]) -> None:
        """Have `call(where, detail)` hear every line of a kind until it returns True.

        It must do nothing at once but note or schedule: it is called in the middle of a step.
        """
        self._awaited.setdefault(what, []).append(call)

    def trace_hash(self) -> str:
        """Of everything told so far."""
        self._digest()
        return self._hash.hexdigest()

    def _digest(self) -> None:
        if self._lines:
            self._hash.update("\n".join(self._lines).encode())
            self._lines.clear()


class LocalClock:
    """The clock of one machine: it runs a little fast or slow, and its wall time may jump."""

    def __init__(self, world: World, drift_ppm: int = 0, start_ms: int = 0) -> None:
        self._world = world
        self._drift = PPM + drift_ppm
        self._start_us = start_ms * 1000
        self.wall_offset_ms = 0
        """How far the wall clock is off; elapsed time never jumps."""

    def elapsed_ms(self) -> int:
        """A clock that only goes forward: for timeouts."""
        return (self._start_us + self._world.now_us * self._drift // PPM) // 1000

    def wall_ms(self) -> int:
        """What the machine believes the time to be: for timestamps of records."""
        return 1_700_000_000_000 + self.elapsed_ms() + self.wall_offset_ms

    def world_us(self, local_ms: int) -> int:
        """The world's time at which `elapsed_ms` first reaches `local_ms`."""
        target = local_ms * 1000 - self._start_us
        return -(-target * PPM // self._drift)
