"""Breadth first through every state of a scope: the first broken invariant has the shortest story there is.

Owns the order of the search, what was seen, and how a state was reached. It must not know what a state means. Called by
the command and by tests.

Invariants
1. States are visited in the order of their distance from the first one, and the same scope gives the same order.
2. What was seen is known exactly: a state is its numbers, packed, not a hash of them.
"""

from __future__ import annotations

import gc
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from kstore.testing.model.checks import Checks
from kstore.testing.model.scope import Scope
from kstore.testing.model.table import Numbered
from kstore.testing.model.world import Action, State, World


@dataclass(frozen=True, slots=True)
class Result:
    """What an exploration came to."""

    scope: Scope
    states: int
    transitions: int
    depth: int
    """Steps to the farthest state that was reached."""
    exhausted: bool
    """Whether every state of the scope was visited."""
    problem: str = ""
    actions: tuple[Action, ...] = ()
    """How the broken state was reached."""
    widths: tuple[int, ...] = ()
    """How many states there are at each distance."""


Progress = Callable[[int, int, int], None]
"""Told the depth, the states so far, and those still to be looked at."""


class Explorer:
    """One exploration."""

    def __init__(self, scope: Scope, unseen: tuple[str, ...] = ()) -> None:
        """Explore `scope`; broken invariants of those in `unseen` are passed over."""
        self.scope = scope
        self._unseen = unseen
        self.world = World(scope)
        self.checks = Checks(self.world)
        self._actions: Numbered[Action] = Numbered()
        self._parents = array("q", [-1])
        self._by = array("q", [-1])

    def run(self, states_max: int | None = None, progress: Progress | None = None) -> Result:
        """Visit everything, or `states_max` states, or up to the first broken invariant."""
        collects = gc.isenabled()
        gc.disable()  # millions of tuples, none of them in a circle: walking them takes a third of the time
        try:
            return self._run(states_max, progress)
        finally:
            if collects:
                gc.enable()

    def _run(self, states_max: int | None, progress: Progress | None) -> Result:
        world = self.world
        first = world.first()
        pack = struct.Struct(f"{len(first)}I").pack
        seen = {pack(*first)}
        layer: list[tuple[int, State]] = [(0, first)]
        transitions = depth = 0
        widths = []
        broken = self.checks.broken
        while layer:
            widths.append(len(layer))
            following: list[tuple[int, State]] = []
            for index, state in layer:
                for action, after, problem, acked in world.successors(state):
                    transitions += 1
                    key = pack(*after)
                    if key in seen:
                        if not problem and not acked:
                            continue
                    else:
                        seen.add(key)
                        following.append((len(self._parents), after))
                        self._note(index, action)
                        problem = problem or broken(after)
                    if acked and not problem:
                        problem = self.checks.unsynced(after, acked)
                    if problem and problem.partition(":")[0] not in self._unseen:
                        actions = (*self._story(index), action)
                        return Result(self.scope, len(seen), transitions, depth + 1, False, problem, actions)
                if states_max is not None and len(seen) >= states_max:
                    return Result(self.scope, len(seen), transitions, depth, False, widths=tuple(widths))
            layer = following
            depth += bool(layer)
            if progress is not None:
                progress(depth, len(seen), len(layer))
        return Result(self.scope, len(seen), transitions, depth, True, widths=tuple(widths))

    def _note(self, parent: int, action: Action) -> None:
        self._parents.append(parent)
        self._by.append(self._actions.number(action))

    def _story(self, index: int) -> tuple[Action, ...]:
        actions: list[Action] = []
        while index:
            actions.append(self._actions.values[self._by[index]])
            index = self._parents[index]
        return tuple(reversed(actions))
