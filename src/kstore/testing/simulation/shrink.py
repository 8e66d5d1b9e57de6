"""Cutting a failing schedule down: the fewest entries, and the shortest run, that still break the same promise.

Owns the search. It must not print and must not know what entries mean: each carries all that it needs, so any subset of
a schedule is a schedule. Called by the command and by tests.

Invariants
1. What is returned was run, and broke the same promise as the whole schedule did.
2. The same seed, options and limit always give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kstore.testing.simulation.options import Options
from kstore.testing.simulation.run import MINUTES, Result, shape_of, simulate
from kstore.testing.simulation.schedule import Entry

RUNS_MAX = 600
"""Enough for a schedule of a hundred entries to be gone through some five times; most searches end far earlier."""
ROOM_MINUTES = 0.5
"""How long faults last behind the moment of the first failure: another one may take a little longer."""
ENDS_MINUTES = (0.02, 0.1, 0.3, 1.0, 3.0)
"""How soon behind the last entry healing is tried, shortest first."""

Told = Callable[[int, int], object]
"""Hears after every run how many there were, and how many entries are left."""


@dataclass
class Shrunk:
    """The shortest failing run that was found."""

    seed: int
    minutes: float
    """What the schedule was drawn for; 0.0 where it was given."""
    kept: tuple[int, ...]
    """The numbers of the entries that it takes."""
    of: int
    """How many entries there were."""
    heal_after: float
    """When faults end, in minutes after the boot."""
    result: Result
    """Of the shortest run, with its story."""
    runs: int


class _Search:
    def __init__(self, seed: int, options: Options, entries: list[Entry], first: Result, told: Told | None) -> None:
        self.seed = seed
        self.options = options
        self.entries = entries
        self.first = first
        self.told = told
        self.runs = 1

    def fails(self, kept: list[int], minutes: float) -> bool:
        """Whether so much of the schedule breaks the same promise."""
        self.runs += 1
        result = self.run(kept, minutes)
        if self.told is not None:
            self.told(self.runs, len(kept))
        return result.same_failure(self.first)

    def run(self, kept: list[int], minutes: float, *, record: bool = False) -> Result:
        entries = [self.entries[number] for number in kept]
        return simulate(self.seed, minutes=minutes, options=self.options, entries=entries, record=record)

    def without_runs(self, kept: list[int], minutes: float) -> list[int]:
        """Leave out runs of entries, long ones first, until no single one can go."""
        size = max(1, len(kept) // 2)
        while kept:
            end, shorter = len(kept), False
            while end > 0 and self.runs < RUNS_MAX:
                start = max(0, end - size)
                candidate = kept[:start] + kept[end:]
                if self.fails(candidate, minutes):
                    kept, shorter = candidate, True
                end = start
            if self.runs >= RUNS_MAX or (size == 1 and not shorter):
                break
            size = max(1, size // 2) if not shorter or size > 1 else 1
        return kept

    def sooner(self, kept: list[int], minutes: float) -> float:
        """The first end behind the last entry that still fails."""
        last = max((self.entries[number].at_ms for number in kept), default=0) / 60_000
        for room in ENDS_MINUTES:
            end = round(last + room, 3)
            if end < minutes and self.fails(kept, end):
                return end
        return minutes


def shrink(
    seed: int,
    *,
    minutes: float = MINUTES,
    options: Options | None = None,
    entries: list[Entry] | None = None,
    told: Told | None = None,
) -> Shrunk | None:
    """Cut the schedule of a seed that fails, or `entries`, as far as it goes; None where it does not fail."""
    drawn_options, drawn = shape_of(seed, minutes)
    options = drawn_options if options is None else options
    drawn_for = minutes if entries is None else 0.0
    entries = drawn if entries is None else entries
    first = simulate(seed, minutes=minutes, options=options, entries=entries)
    if first.failure is None:
        return None
    search = _Search(seed, options, entries, first, told)
    kept = list(range(len(entries)))
    failed_minutes = first.failure.time_us / 60_000_000
    soon = min(minutes, round(failed_minutes + ROOM_MINUTES, 3))
    early = [number for number in kept if entries[number].at_ms <= failed_minutes * 60_000]
    if search.fails(early, soon):
        kept, minutes = early, soon
    kept = search.without_runs(kept, minutes)
    minutes = search.sooner(kept, minutes)
    shortest = search.run(kept, minutes, record=True)
    return Shrunk(seed, drawn_for, tuple(kept), len(entries), minutes, shortest, search.runs)
