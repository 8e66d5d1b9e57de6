"""The moments at which a checker may look, and how it says that something is wrong.

Owns `Checker` and `Violation`. Called by `judge` and by every checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from kstore.log.appended import Appended
    from kstore.replica import Replica
    from kstore.replication.controller.cluster import Changes, Cluster
    from kstore.replication.controller.commands import Command
    from kstore.testing.simulation.copies import Copy, Held, Step
    from kstore.testing.simulation.judge import Judge
    from kstore.testing.simulation.node import Node


class Violation(Exception):
    """A promise was broken; the run ends here."""

    def __init__(self, invariant: str, what: str, time_us: int) -> None:
        self.invariant = invariant
        self.what = what
        self.time_us = time_us
        super().__init__(f"{invariant} at {time_us / 1e6:.6f} s: {what}")


class Checker:
    """Looks at what happens. Each method is called after the thing it is named for; most checkers need a few."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.world = judge.world

    def broken(self, invariant: str, what: str) -> NoReturn:
        """End the run."""
        self.world.tell("judge", "BROKEN", f"{invariant}: {what.splitlines()[0]}")
        raise Violation(invariant, what, self.world.now_us)

    def on_start(self, node: Node) -> None:
        """A process has opened its store."""

    def on_reread(self, node: Node, copy: Copy, before: list[Held], end_before: int) -> None:
        """A log was read back at a start; `before` is what it held when its process ended."""

    def on_gone(self, node: Node) -> None:
        """A process ended."""

    def on_power_loss(self, node: Node, copy: Copy) -> None:
        """A machine lost power."""

    def on_step(self, node: Node, step: Step) -> None:
        """A replica has taken an event."""

    def on_acknowledged(self, node: Node, key: str, replica: Replica, appended: Appended, acks: int) -> None:
        """A leader answered an append with success."""

    def on_decided(self, command: Command, before: Cluster, after: Cluster, changes: Changes) -> None:
        """The controller has persisted changes."""
