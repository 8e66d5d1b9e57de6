"""Who may lead and decide: I4 and I15.

Verified: no epoch of a partition ever has two leaders, in the controllers' log or in what brokers do; a leader is in
the ISR and the ISR among the replicas; whoever a leader lets in is alive (KIP-841); epochs in the log never fall; an
ISR change is taken only from the leader of the present epoch, in its present life. Not verified: that a fenced leader
stops reading and writing at once, which nobody can promise; what it does is held against what is committed by
`agreement`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.replication.controller.cluster import PartitionChanged
from kstore.replication.controller.commands import AlterPartition
from kstore.replication.leading import Leader
from kstore.replication.state import NO_LEADER
from kstore.testing.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from kstore.replication.controller.cluster import Changes, Cluster
    from kstore.replication.controller.commands import Command
    from kstore.replication.state import Assignment
    from kstore.testing.simulation.copies import Step
    from kstore.testing.simulation.judge import Judge
    from kstore.testing.simulation.node import Node


class Leadership(Checker):
    """See the module."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge)
        self._leaders: dict[tuple[str, int], int] = {}

    def on_step(self, node: Node, step: Step) -> None:
        """A replica has taken an event."""
        state = step.state
        if isinstance(state, Leader):
            if state.assignment.leader != node.id:
                self.broken("I4", f"{step.copy} leads, but its assignment names b{state.assignment.leader}")
            self._note(step.copy.key, state.assignment)

    def _note(self, key: str, assignment: Assignment) -> None:
        if assignment.leader == NO_LEADER:
            return
        known = self._leaders.setdefault((key, assignment.leader_epoch), assignment.leader)
        if known != assignment.leader:
            self.broken("I4", f"{key}: b{known} and b{assignment.leader} share epoch {assignment.leader_epoch}")

    def on_decided(self, command: Command, before: Cluster, after: Cluster, changes: Changes) -> None:
        """The controller has persisted changes."""
        for change in changes:
            if not isinstance(change, PartitionChanged):
                continue
            new = change.assignment
            self._note(change.topic, new)
            if not set(new.isr) <= set(new.replicas) or (new.leader != NO_LEADER and new.leader not in new.isr):
                self.broken("I4", f"{change.topic}: leader and ISR do not fit: {new}")
            old = before.partitions.get((change.topic, change.index))
            if old is None:
                continue
            if new.leader_epoch < old.leader_epoch or new.partition_epoch <= old.partition_epoch:
                self.broken("I15", f"{change.topic}: an epoch fell: {old} became {new}")
            if isinstance(command, AlterPartition):
                self._check_sender(command, old, before)
                dead = [member for member in new.isr if member not in old.isr and not before.is_active(member)]
                if dead:
                    self.broken("I4", f"{change.topic}: b{dead[0]} joins the ISR, and is fenced or shutting down")

    def _check_sender(self, command: AlterPartition, old: Assignment, before: Cluster) -> None:
        broker = before.brokers.get(command.broker_id)
        if (
            command.leader_epoch != old.leader_epoch
            or command.broker_id != old.leader
            or broker is None
            or broker.epoch != command.broker_epoch
        ):
            self.broken("I15", f"a fenced leader changed something: {command} on {old}")
