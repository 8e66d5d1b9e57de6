"""The judge: keeps the copies, and has every checker look at what concerns it.

Owns the order: read back what a step has made of a log, then let the checkers look at the step. It must not know what
any of them verifies. Called by nodes, controllers and clients at every step that could break something.

Invariant: judging changes nothing that the cluster can notice: no fault is used up, no byte written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstore.testing.simulation.checkers.agreement import Agreement
from kstore.testing.simulation.checkers.base import Checker
from kstore.testing.simulation.checkers.leadership import Leadership
from kstore.testing.simulation.checkers.local import LocalRules
from kstore.testing.simulation.checkers.medium import OnMedium
from kstore.testing.simulation.checkers.progress import KnownProgress
from kstore.testing.simulation.checkers.recovery import Recovery
from kstore.testing.simulation.copies import Copy, Held, Step, read_log
from kstore.testing.simulation.history import History

if TYPE_CHECKING:
    from kstore.log.appended import Appended
    from kstore.replica import Replica
    from kstore.replication.controller.cluster import Changes, Cluster
    from kstore.replication.controller.commands import Command
    from kstore.testing.simulation.cluster import SimCluster
    from kstore.testing.simulation.node import Node


class Judge:
    """All checkers of one run."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.copies: dict[tuple[int, str], Copy] = {}
        self.history = History(self)
        self.agreement = Agreement(self)
        self.checkers: tuple[Checker, ...] = (
            LocalRules(self),
            self.agreement,
            Leadership(self),
            KnownProgress(self),
            OnMedium(self),
            Recovery(self),
        )
        self._on_step = tuple(one.on_step for one in self.checkers if type(one).on_step is not Checker.on_step)
        self.checked = 0
        """How many steps were looked at."""

    def was_unclean(self, key: str) -> bool:
        """Whether an unclean election has given records of this partition up."""
        return self.agreement.truth(key).unclean_epoch >= 0

    def copy(self, node: int, key: str) -> Copy:
        """A replica's log as last seen."""
        found = self.copies.get((node, key))
        if found is None:
            found = self.copies[node, key] = Copy(node, key)
        return found

    # -- lives -----------------------------------------------------------------------------------------------

    def started(self, node: Node) -> None:
        """A process has opened its store: read everything that it found."""
        store = node.store
        assert store is not None
        for checker in self.checkers:
            checker.on_start(node)
        topics = store.topics()
        for key in self.cluster.options.keys:
            copy = self.copies.get((node.id, key))
            if key not in topics:
                if copy is not None:
                    self._lost(node, copy)
                continue
            self._reread(node, self.copy(node.id, key))

    def _lost(self, node: Node, copy: Copy) -> None:
        before = list(copy.batches)
        copy.cut(0)
        copy.log_start_offset = copy.high_watermark = copy.durable_offset = 0
        for checker in self.checkers:
            checker.on_reread(node, copy, before, 0)

    def _reread(self, node: Node, copy: Copy) -> None:
        assert node.store is not None
        view = node.store.partition(copy.key, 0).log.view
        first = view.log_start_offset
        found, damaged = read_log(node.disk, view, first)
        before, end_before = copy.batches, copy.log_end_offset
        copy.batches = found
        copy.view, copy.state = None, None
        copy.log_start_offset, copy.log_end_offset = view.log_start_offset, view.log_end_offset
        copy.agreed_offset = min(copy.agreed_offset, first) if copy.is_damaged or not copy.is_known else first
        copy.is_damaged = copy.is_damaged or damaged
        for checker in self.checkers:
            checker.on_reread(node, copy, before, end_before)
        copy.high_watermark = 0
        copy.durable_offset = view.log_end_offset

    def gone(self, node: Node) -> None:
        """A process ended; the page cache is still there."""
        for checker in self.checkers:
            checker.on_gone(node)

    def lost_power(self, node: Node) -> None:
        """Of each log only what was promised to be on the medium counts from now on."""
        for (number, _), copy in self.copies.items():
            if number == node.id:
                for checker in self.checkers:
                    checker.on_power_loss(node, copy)

    # -- steps -----------------------------------------------------------------------------------------------

    def hosts(self, node: Node, key: str, replica: Replica) -> None:
        """A broker runs a replica from now on."""
        copy = self.copy(node.id, key)
        copy.view = copy.state = None
        view = replica.partition.log.view
        copy.high_watermark, copy.log_start_offset = view.high_watermark, view.log_start_offset
        copy.durable_offset = replica.state.local.durable_offset

    def dropped(self, node: Node, key: str) -> None:
        """A broker is no replica any more; its log goes."""
        self.copies[node.id, key] = Copy(node.id, key)

    def stepped(self, node: Node, key: str, replica: Replica) -> None:
        """An event of a replica is over."""
        copy = self.copies[node.id, key]
        view, state = replica.partition.log.view, replica.state
        if replica.halted is not None:
            self._halted(node, key, replica.halted)
        if view is copy.view and state is copy.state:
            return
        self.checked += 1
        end_before, mark_before, start_before = copy.log_end_offset, copy.high_watermark, copy.log_start_offset
        end = view.log_end_offset
        appended: tuple[Held, ...] = ()
        if view is not copy.view and end != end_before:
            if end < end_before:
                self.world.tell(node.name, "truncates", f"{key} from {end_before} to {end}")
                copy.cut(end)
            elif view.log_start_offset > end_before:  # it has started over somewhere else
                self.world.tell(node.name, "starts over", f"{key} at {view.log_start_offset}")
                copy.batches, copy.agreed_offset = [], view.log_start_offset
            else:
                found, damaged = read_log(node.disk, view, end_before)
                appended = tuple(found)
                copy.batches += found
                copy.is_damaged = copy.is_damaged or damaged
        state_before = copy.state
        copy.view, copy.state = view, state
        copy.log_start_offset, copy.log_end_offset = view.log_start_offset, end
        copy.high_watermark, copy.durable_offset = view.high_watermark, state.local.durable_offset
        step = Step(copy, state, state_before, appended, end_before, mark_before, start_before)
        if replica.offline is not None:
            copy.cut(state.local.log_end_offset)  # a truncation that failed on the way may yet be found done
            return
        for on_step in self._on_step:
            on_step(node, step)

    def _halted(self, node: Node, key: str, why: str) -> None:
        """A replica found itself broken; where it names a promise of its own, that is the one."""
        named = re.match(r"(I\d+): ", why)
        self.checkers[0].broken(named[1] if named else "halt", f"b{node.id} {key} halted: {why}")

    def ticked(self, node: Node, key: str, replica: Replica) -> None:
        """A replica has looked at its deadlines: none that has passed may be left, or it would look for ever."""
        due_ms = replica.next_deadline_ms
        if due_ms is not None and due_ms <= node.now_ms and node.replicas.get(key) is replica:
            self.checkers[0].broken("I23", f"b{node.id} {key}: nothing was done about a deadline: {replica.state}")

    def acknowledged(self, node: Node, key: str, replica: Replica, appended: Appended, acks: int) -> None:
        """A leader acknowledged an append. The step that led there may not be over: look at it first."""
        self.stepped(node, key, replica)
        for checker in self.checkers:
            checker.on_acknowledged(node, key, replica, appended, acks)

    def decided(self, command: Command, before: Cluster, after: Cluster, changes: Changes) -> None:
        """The controller has persisted changes."""
        for checker in self.checkers:
            checker.on_decided(command, before, after, changes)
