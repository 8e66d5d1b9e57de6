"""What a leader knows of its followers: it is true, and only grows.

Verified after every step of a leader, within its term and within one life of a follower: the follower's log end that
it knows of never falls, nor does the number of the newest request (an old request that arrives late says nothing new);
a fetch counts only if the follower had heard of the leader's term when it sent it (KIP-320), and the batch before the
offset that it named lies in both logs; whoever is proposed for the ISR lives, as far as the leader has heard, in the
life that is proposed (KIP-903). Not verified: followers that have died meanwhile, have gone on to a later term, or have
rotted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.replication.leading import Leader
from kstore.testing.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from kstore.replication.progress import Progress
    from kstore.testing.simulation.copies import Copy, Held, Step
    from kstore.testing.simulation.node import Node


class KnownProgress(Checker):
    """See the module."""

    def on_step(self, node: Node, step: Step) -> None:
        """A replica has taken an event."""
        after, before = step.state, step.state_before
        if not isinstance(after, Leader) or not isinstance(before, Leader):
            return
        if after.assignment.leader_epoch != before.assignment.leader_epoch:
            return
        if after.followers is not before.followers:
            self._check_followers(step.copy, after, before)
        if after.proposal is not None and before.proposal is None:
            self._check_proposed(step.copy, after)

    def _check_followers(self, copy: Copy, after: Leader, before: Leader) -> None:
        for now in after.followers:
            was = before.progress(now.follower)
            if was is None or was is now:
                continue
            if was.broker_epoch != now.broker_epoch:
                if now.broker_epoch < was.broker_epoch:
                    self.broken("progress", f"{copy}: an earlier life of b{now.follower} counts: {was}, now {now}")
            elif now.log_end_offset < was.log_end_offset or now.number < was.number:
                self.broken("progress", f"{copy}: b{now.follower} fell back: {was}, now {now}")
            self._check_true(copy, after, now)

    def _check_true(self, copy: Copy, leader: Leader, p: Progress) -> None:
        """What has just been counted of one follower, against the follower itself."""
        node, theirs = self.judge.cluster.nodes[p.follower], self.judge.copy(p.follower, copy.key)
        replica = node.replicas.get(copy.key)
        if replica is None or node.epoch != p.broker_epoch or theirs.is_damaged or copy.is_damaged:
            return
        heard, term = replica.state.assignment.leader_epoch, leader.assignment.leader_epoch
        if heard < term:
            self.broken("progress", f"{copy} counts a fetch of b{p.follower}, which has only heard of e{heard}")
        if heard > term:
            return
        ours_held, theirs_held = _before(copy, p.log_end_offset), _before(theirs, p.log_end_offset)
        if theirs.log_end_offset < p.log_end_offset:
            self.broken("progress", f"{copy} counts {p}, but b{p.follower} ends at {theirs.log_end_offset}")
        if ours_held is not None and theirs_held is not None and ours_held != theirs_held:
            self.broken("progress", f"{copy} holds {ours_held} where b{p.follower} has {theirs_held}, and counts {p}")

    def _check_proposed(self, copy: Copy, leader: Leader) -> None:
        assert leader.proposal is not None
        for member, epoch in leader.proposal.isr:
            if member not in leader.assignment.isr and (member, epoch) not in leader.eligible:
                self.broken("progress", f"{copy} proposes b{member} in life {epoch}; alive are {leader.eligible}")


def _before(copy: Copy, offset: int) -> Held | None:
    """The batch before an offset; None where there is none, or where the log starts behind it."""
    index = copy.index_of(offset) - 1
    held = copy.batches[index] if index >= 0 else None
    return held if held is not None and held.next_offset > copy.log_start_offset else None
