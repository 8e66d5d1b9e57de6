"""FAULTS: which call of a simulated disk fails, with what, and what it leaves behind.

Owns the count of calls and the planted faults. It knows kinds of calls and paths, not what a disk is. Used by
`simdisk` at the start of every call that may fail, and by tests to plant.

Invariants: the same plants and the same calls give the same failures; without a plant nothing fails and a call costs
a counter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

CHANGING = frozenset(
    {"create", "write", "truncate", "sync", "sync_dir", "rename", "unlink", "link", "make_dir", "remove_dir"}
)
"""Calls that change files or names, or make changes durable."""
READING = frozenset({"open", "read", "map", "size", "list"})
"""Calls that only look."""


@dataclass(slots=True)
class Fault:
    """One planted failure: the `nth` call (from 0) of those that it matches, and the `times - 1` after it."""

    number: int
    """The errno."""
    nth: int = 0
    kinds: frozenset[str] = CHANGING
    path_ends: tuple[str, ...] = ()
    """Only paths that end so; empty for all."""
    inside: str = ""
    """Only paths with this directory in them; empty for all."""
    times: int | None = 1
    """How many calls fail, None for all from the `nth` on."""
    part: float = 0.0
    """Of a failing write, the share of its bytes that are written all the same: a short write, then the error."""
    seen: int = 0
    fired: int = 0

    def matches(self, kind: str, path: str) -> bool:
        """Whether this call fails; counts it."""
        if kind not in self.kinds or (self.path_ends and not path.endswith(self.path_ends)):
            return False
        if self.inside and self.inside not in path.split("/")[:-1]:
            return False
        self.seen += 1
        over = self.times is not None and self.fired >= self.times
        if self.seen <= self.nth or over:
            return False
        self.fired += 1
        return True

    def part_of(self, length: int) -> int:
        """How many of a failing write's bytes arrive."""
        return min(length, int(length * self.part))


@dataclass(slots=True)
class Faults:
    """The plants of one disk, and what has been called."""

    planted: list[Fault] = field(default_factory=list)
    calls: int = 0
    """Calls so far that could have failed."""
    on_call: Callable[[str, str], None] | None = None
    """Called first with the kind of call and the path: to wait, to count, to switch something over."""

    def plant(
        self,
        number: int,
        *,
        nth: int = 0,
        kinds: Iterable[str] = CHANGING,
        path_ends: tuple[str, ...] = (),
        inside: str = "",
        times: int | None = 1,
        part: float = 0.0,
    ) -> Fault:
        """Let calls fail with errno `number`; see `Fault`. Returns the plant, whose `fired` tells whether it did."""
        fault = Fault(number, nth, frozenset(kinds), path_ends, inside, times, part)
        self.planted.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing fails any more: the disk is healthy again."""
        self.planted.clear()

    def match(self, kind: str, path: str) -> Fault | None:
        """The fault that this call meets."""
        self.calls += 1
        if self.on_call is not None:
            self.on_call(kind, path)
        if self.planted:
            for fault in self.planted:
                if fault.matches(kind, path):
                    return fault
        return None

    def call(self, kind: str, path: str) -> None:
        """Raise the `OSError` that this call meets."""
        fault = self.match(kind, path)
        if fault is not None:
            raise OSError(fault.number, os.strerror(fault.number), path)
