"""Recovery twice changes nothing: I18.

Verified at a sample of the starts, on copies of the disk: a store that was opened, let go of without a clean stop and
opened again has every file byte for byte as the first opening left it, and its logs end where they did. Not verified:
crashes inside of a recovery, which the crash tests walk through one operation at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.errors import StorageError
from kstore.store.store import Store
from kstore.testing.simdisk import SimDisk
from kstore.testing.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from kstore.testing.simulation.judge import Judge
    from kstore.testing.simulation.node import Node

SHARE = 0.1
"""Of the starts: two more recoveries cost about as much as a second of simulated time."""


class Recovery(Checker):
    """See the module."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge)
        self._dice = self.world.dice("recovery")

    def on_start(self, node: Node) -> None:
        """A process has opened its store."""
        if node.life == 1 or self._dice.random() >= SHARE:
            return
        first = self._opened(node, SimDisk(node.disk.image()))
        second = self._opened(node, SimDisk(first.image()))
        before, after = first.files(), second.files()
        if before != after:
            changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
            self.broken("I18", f"b{node.id}: a second recovery changed {', '.join(changed)}")

    def _opened(self, node: Node, disk: SimDisk) -> SimDisk:
        try:
            Store("/data", node.options.store, disk, node.clock.wall_ms, background=False)
        except StorageError as error:
            self.broken("I18", f"b{node.id}: a healthy copy of its disk does not open: {error}")
        disk.kill()
        return disk
