"""What replicas must agree on: I1, I2, I3, I5, I6, I8.

Verified: no (offset, epoch) ever has two values, and none that no leader wrote (I6); what one replica believes to be
committed is, batch for batch, what all others do (I5); whenever a high watermark rises or the ISR grows, every member
of the true ISR holds all that is committed (I3); whoever is elected cleanly holds it too (I1), and tells nobody that
the log ends before it (I8); who loses power while in sync loses nothing of it (I2). An unclean election resets what is
committed to what its leader holds; leaders of older epochs may then do what they like.
Not verified: copies in which bits were flipped, and what power took in modes that do not promise to keep it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstore.replication.codes import Code
from kstore.replication.controller.cluster import BrokerChanged, PartitionChanged
from kstore.replication.leading import Leader, latest_offset
from kstore.replication.state import NO_LEADER, Sync
from kstore.testing.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from kstore.replication.controller.cluster import Changes, Cluster
    from kstore.replication.controller.commands import Command
    from kstore.replication.state import Assignment
    from kstore.testing.simulation.copies import Copy, Held, Step
    from kstore.testing.simulation.judge import Judge
    from kstore.testing.simulation.node import Node


@dataclass(slots=True)
class Truth:
    """What is known of one partition from above."""

    written: dict[tuple[int, int], Held] = field(default_factory=dict)
    """By (offset, epoch): everything that a leader ever wrote."""
    committed: dict[int, Held] = field(default_factory=dict)
    """By offset: everything below the highest high watermark that there ever was."""
    end: int = 0
    unclean_epoch: int = -1


def _begins_term(step: Step) -> bool:
    """Whether a leader's term begins: the one of an unclean election brings a high watermark of its own."""
    state, before = step.state, step.state_before
    return isinstance(state, Leader) and (
        not isinstance(before, Leader) or before.assignment.leader_epoch < state.assignment.leader_epoch
    )


class Agreement(Checker):
    """See the module."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge)
        self._truths: dict[str, Truth] = {}
        self.excused: set[str] = set()
        """Topics that may have to wait for an operator: replicas died in a mode that then knows of nobody whole."""

    def truth(self, key: str) -> Truth:
        """Of one partition."""
        found = self._truths.get(key)
        if found is None:
            found = self._truths[key] = Truth()
        return found

    # -- steps -----------------------------------------------------------------------------------------------

    def on_step(self, node: Node, step: Step) -> None:
        """A replica has taken an event."""
        copy, state = step.copy, step.state
        truth = self.truth(copy.key)
        for held in step.appended:
            self._check_written(truth, copy, held, isinstance(state, Leader))
        if state.assignment.leader_epoch < truth.unclean_epoch:
            return
        if isinstance(state, Leader) and copy.high_watermark < truth.end:
            self._check_end(truth, copy, state)
        if copy.high_watermark <= step.high_watermark_before and not _begins_term(step):
            return
        self._agree(truth, copy, copy.high_watermark, leads=isinstance(state, Leader))
        if isinstance(state, Leader):
            assignment = self.judge.cluster.assignment(copy.key)
            if assignment is not None and assignment.leader_epoch >= state.assignment.leader_epoch:
                self._check_members(truth, copy.key, assignment.isr, copy.high_watermark)

    def _check_end(self, truth: Truth, copy: Copy, state: Leader) -> None:
        """A leader's high watermark is below what is committed: it must not tell consumers that the log ends there."""
        code, end = latest_offset(state)
        assignment = self.judge.cluster.assignment(copy.key)
        if code is not Code.NONE or assignment is None or assignment.leader_epoch > state.assignment.leader_epoch:
            return
        if copy.is_known and not copy.is_damaged:
            self.broken("I8", f"{copy}: its leader would say that it ends at {end}, committed is {truth.end}")

    def _check_written(self, truth: Truth, copy: Copy, held: Held, leads: bool) -> None:
        place = held.base_offset, held.epoch
        known = truth.written.get(place)
        if known is None:
            if not leads:
                self.broken("I6", f"{copy} holds {held}, which no leader wrote")
            truth.written[place] = held
        elif known != held:
            self.broken("I6", f"{copy} holds {held}, but {known} was written there")

    def _agree(self, truth: Truth, copy: Copy, upto: int, *, leads: bool) -> None:
        """Everything in a copy below `upto` is committed: compare, and take note of what is new."""
        offset = copy.agreed_offset
        for held in copy.batches[copy.index_of(offset) :]:
            if copy.is_damaged and truth.written.get((held.base_offset, held.epoch)) != held:
                continue  # its header has rotted: who knows where it says that it ends
            if held.next_offset > upto:
                break
            if held.next_offset <= copy.log_start_offset:
                continue  # deleted, and only its file is still there: nobody can read it
            known = truth.committed.get(held.base_offset)
            if known is None:
                if not leads and not copy.is_damaged:
                    self.broken("I3", f"{copy}: HW {upto}, but no leader has committed {held}")
                if held.base_offset < truth.end:
                    self.broken("I5", f"{copy}: {held} lies where another batch is committed")
                truth.committed[held.base_offset] = held
                truth.end = max(truth.end, held.next_offset)
            elif known != held:
                self.broken("I5", f"{copy}: {held} was committed as {known}")
            offset = held.next_offset
        copy.agreed_offset = max(copy.agreed_offset, offset)

    def _check_members(self, truth: Truth, key: str, members: tuple[int, ...], upto: int) -> None:
        for member in members:
            self._check_holds(truth, self.judge.copy(member, key), upto, "I3", "is in sync")

    def _check_holds(self, truth: Truth, copy: Copy, upto: int, invariant: str, why: str) -> None:
        if not copy.is_known or copy.is_damaged or copy.log_start_offset >= upto:
            return
        if copy.log_end_offset < upto:
            self.broken(invariant, f"b{copy.node} {why}, but its {copy.key} ends at {copy.log_end_offset}, "
                                   f"below the committed {upto}")
        offset = copy.agreed_offset
        for held in copy.batches[copy.index_of(offset) :]:
            if held.base_offset >= upto:
                break
            known = truth.committed.get(held.base_offset)
            if known != held and held.next_offset > copy.log_start_offset:
                self.broken(invariant, f"b{copy.node} {why}, but its {copy.key} has {held}, committed is {known}")
            offset = held.next_offset
        copy.agreed_offset = max(offset, copy.agreed_offset)

    # -- what the controller decides ---------------------------------------------------------------------------

    def on_decided(self, command: Command, before: Cluster, after: Cluster, changes: Changes) -> None:
        """The controller has persisted changes."""
        for change in changes:
            if isinstance(change, BrokerChanged) and not change.fenced:
                node = self.judge.cluster.nodes[change.broker_id]
                if after.brokers[node.id].incarnation == node.incarnation:  # else that life ended before the loss
                    for copy in self.judge.copies.values():
                        copy.is_known = copy.is_known or copy.node == node.id
            elif isinstance(change, PartitionChanged):
                old = before.partitions.get((change.topic, change.index))
                if old is not None:
                    self._on_assignment(change.topic, old, change.assignment)

    def _on_assignment(self, key: str, old: Assignment, new: Assignment) -> None:
        truth = self.truth(key)
        if new.unclean_epoch > old.unclean_epoch:
            self._forgive(truth, self.judge.copy(new.leader, key), new.unclean_epoch)
            return
        if new.leader not in (NO_LEADER, old.leader):
            self._check_holds(truth, self.judge.copy(new.leader, key), truth.end, "I1", "was elected")
        joined = tuple(member for member in new.isr if member not in old.isr)
        self._check_members(truth, key, joined, truth.end)

    def _forgive(self, truth: Truth, leader: Copy, epoch: int) -> None:
        """An unclean election: what its leader does not hold is given up."""
        self.world.tell("judge", "forgives", f"{leader.key}: b{leader.node} leads uncleanly in e{epoch}")
        truth.unclean_epoch = epoch
        end = 0
        for held in leader.batches:
            if truth.committed.get(held.base_offset) != held:
                break
            end = held.next_offset
        if leader.batches and leader.batches[0].base_offset > 0:
            end = max(end, leader.batches[0].base_offset)
        truth.committed = {offset: held for offset, held in truth.committed.items() if offset < end}
        truth.end = min(truth.end, end)
        for copy in self.judge.copies.values():
            if copy.key == leader.key:
                copy.agreed_offset = min(copy.agreed_offset, end)
        self.judge.history.forgive(leader.key, epoch)

    # -- lives -----------------------------------------------------------------------------------------------

    def on_gone(self, node: Node) -> None:
        """A process ended; in modes that lean on the page cache it may come back as one that has lost something."""
        if self.judge.cluster.options.rules.sync is not Sync.ALL:
            self.excused.update(key for number, key in self.judge.copies if number == node.id)

    def on_power_loss(self, node: Node, copy: Copy) -> None:
        """A machine lost power: where the modes promise it, whoever is in sync loses nothing committed (I2)."""
        truth = self.truth(copy.key)
        if self.judge.cluster.options.rules.sync is not Sync.ALL:
            copy.is_known = False
            self.excused.add(copy.key)
            return
        copy.cut(copy.durable_offset)
        assignment = self.judge.cluster.assignment(copy.key)
        if assignment is not None and node.id in (*assignment.isr, *assignment.elr):
            state = copy.state
            if state is None or state.assignment.leader_epoch >= truth.unclean_epoch:
                self._check_holds(truth, copy, truth.end, "I2", "is in sync and lost power")

    def on_reread(self, node: Node, copy: Copy, before: list[Held], end_before: int) -> None:
        """A log was read back at a start: nothing in it is new, and nothing that must be there is missing."""
        truth = self.truth(copy.key)
        if copy.is_damaged:
            return
        for held in copy.batches:
            if truth.written.get((held.base_offset, held.epoch)) != held:
                self.broken("I6", f"{copy}: recovery found {held}, which no leader wrote there")
        if copy.is_known and copy.log_end_offset < end_before:
            self.broken("I21", f"{copy}: after recovery it ends at {copy.log_end_offset}, {end_before} was sure")
        if copy.is_known and before and copy.batches[-len(before):] != before:
            self._check_prefix(copy, before)

    def _check_prefix(self, copy: Copy, before: list[Held]) -> None:
        now = {held.base_offset: held for held in copy.batches}
        for held in before:
            found = now.get(held.base_offset)
            if found != held and held.base_offset >= copy.log_start_offset:
                self.broken("I21", f"{copy}: recovery made {found} of {held}")
