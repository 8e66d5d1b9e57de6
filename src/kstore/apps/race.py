"""Interleaved timing: contestants run in turn, round after round, and only their ratios are trusted.

A machine drifts by more than what is measured: other processes, turbo, pages that the host has to back. Contestants
of one round meet the same weather, so that the ratio within a round holds where the times do not; the median over the
rounds drops the rounds that were disturbed. A round of short laps holds many of them in turns, and the best of each
contestant counts: a neighbour that comes and goes leaves each of them some lap in peace. Owns no opinion on what is
good: `benchmarks` and `apps.bench` do.

By default a contestant is charged the processor time of this thread, system calls included, so that a neighbour on
the same processor costs nothing; a race that waits for a disk takes `time.perf_counter_ns`.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

Work = Callable[[], object]

LAPS_MAX = 20
"""Laps in a round: the best of more hardly gets better."""


class Contestant(NamedTuple):
    """One way of doing it."""

    name: str
    work: Work
    units: int
    before: Work
    after: Work


def _nothing() -> None:
    """Before and after most work."""


class Race:
    """Contestants that do the same in different ways; `run` lets them take turns."""

    def __init__(
        self, *, rounds: int = 7, clock: Callable[[], int] = time.thread_time_ns, round_ns: float = 0
    ) -> None:
        """`clock` gives nanoseconds. A round repeats its turn while `round_ns` lasts, at most `LAPS_MAX` times."""
        self._rounds = rounds
        self._clock = clock
        self._round_ns = round_ns
        self.contestants: list[Contestant] = []

    def add(self, name: str, work: Work, *, units: int = 1, before: Work = _nothing, after: Work = _nothing) -> None:
        """`work` does `units` of what is counted; `before` and `after` surround it untimed, each round."""
        self.contestants.append(Contestant(name, work, units, before, after))

    def run(self) -> Result:
        """A turn to warm up, then the rounds that count; each turn is begun by another contestant."""
        rounds: dict[str, list[float]] = {contestant.name: [] for contestant in self.contestants}
        collecting = gc.isenabled()
        gc.disable()
        try:
            begun = time.perf_counter_ns()
            self._turn(-1)
            took = max(time.perf_counter_ns() - begun, 1)
            laps = min(LAPS_MAX, max(1, int(self._round_ns // took)))
            for number in range(self._rounds):
                turns = [self._turn(number * laps + lap) for lap in range(laps)]
                for name, best in rounds.items():
                    best.append(min(turn[name] for turn in turns))
        finally:
            if collecting:
                gc.enable()
        return Result(rounds)

    def _turn(self, number: int) -> dict[str, float]:
        first = number % len(self.contestants)
        return {c.name: self._lap(c) for c in self.contestants[first:] + self.contestants[:first]}

    def _lap(self, contestant: Contestant) -> float:
        contestant.before()
        begun = self._clock()
        contestant.work()
        took = self._clock() - begun
        contestant.after()
        return max(took, 1) / contestant.units


class Result:
    """What a race gave, per unit of work."""

    def __init__(self, laps: dict[str, list[float]]) -> None:
        """`laps`: nanoseconds per unit, the best of each round."""
        self.laps = laps

    def nanoseconds(self, name: str) -> float:
        """The best round: what the work takes when nothing disturbs it."""
        return min(self.laps[name])

    def time_ratio(self, name: str, against: str) -> float:
        """How many times as long `name` took as `against`: the median over the rounds."""
        return statistics.median(a / b for a, b in zip(self.laps[name], self.laps[against], strict=True))

    def speed_ratio(self, name: str, against: str) -> float:
        """How many times as fast `name` was as `against`: the median over the rounds."""
        return statistics.median(b / a for a, b in zip(self.laps[name], self.laps[against], strict=True))
