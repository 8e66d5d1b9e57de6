"""What a leader knows: the state that `leader` steps, and the questions that change nothing.

Owns the derived notions (maximal ISR, effective minimum, what the own copy counts for) and the answers that a broker
gives from them: whether an append may be tried, how far a consumer may read, the low watermark. It must not know
events or effects. Called by `leader`, and by whoever runs it, to ask.

Invariants
1. `followers` holds every replica of the assignment but this one, by id, each once.
2. `waiting` is in the order of its offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

from kstore.replication.codes import Code
from kstore.replication.progress import LONG_AGO_MS, Progress
from kstore.replication.state import NO_OFFSET, Assignment, Local, Rules, Sync


@dataclass(frozen=True, slots=True)
class Proposal:
    """An ISR that the controller was asked for."""

    partition_epoch: int
    """The partition epoch that it builds on: the controller takes it only on top of that one."""
    isr: tuple[tuple[int, int], ...]
    sent_ms: int
    overtaken: bool = False
    """Refused because the controller is ahead: not asked again, kept until its metadata is here."""
    doubted: tuple[int, ...] = ()
    """Who was in a proposal that was refused before this one: a second copy of it may be under way still."""

    @property
    def members(self) -> tuple[int, ...]:
        """The ids."""
        return tuple(member for member, _ in self.isr)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An append with acks=all that is not acknowledged yet."""

    token: int
    next_offset: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Resignation:
    """That a leader has given up its term: until the next one it commits, acknowledges and proposes nothing."""

    code: Code
    """What producers hear meanwhile."""
    reason: str
    sent_ms: int
    """When the controller was last told; it is told again until its metadata shows that it knows."""


@dataclass(frozen=True, slots=True)
class Leader:
    """The state of a leading replica."""

    id: int
    broker_epoch: int
    rules: Rules
    assignment: Assignment
    local: Local
    eligible: tuple[tuple[int, int], ...]
    """Brokers that may be in an ISR, with their epochs; see `events.BrokersChanged`."""
    epoch_start_offset: int
    """Where the log ended when this leader's term began."""
    followers: tuple[Progress, ...] = ()
    """Every other replica, by id."""
    proposal: Proposal | None = None
    waiting: tuple[Waiting, ...] = ()
    """In the order of their offsets."""
    resignation: Resignation | None = None
    """Set once the lead was given up, for the rest of the term."""
    number: int = 0
    """Of the last request that this broker sent as a follower: its next one must be told apart from that."""
    ticked_ms: int = LONG_AGO_MS
    """When deadlines were last looked at: what was late by then has had its consequences."""

    @property
    def maximal_isr(self) -> frozenset[int]:
        """The ISR and whoever is proposed for it: what may be the ISR by now (Partition.maximalIsr)."""
        members = frozenset(self.assignment.isr)
        return members if self.proposal is None else members.union(self.proposal.members, self.proposal.doubted)

    @property
    def min_isr(self) -> int:
        """`min.insync.replicas`, but no more than there are replicas (Partition.effectiveMinIsr)."""
        return min(self.rules.min_insync_replicas, len(self.assignment.replicas))

    @property
    def own_offset(self) -> int:
        """What the leader's own copy counts for."""
        return self.local.durable_offset if self.rules.sync is Sync.ALL else self.local.log_end_offset

    def progress(self, follower: int) -> Progress | None:
        """One follower's."""
        return next((p for p in self.followers if p.follower == follower), None)

    def next_deadline_ms(self) -> int | None:
        """When `Ticked` has something to do, at the latest; None while nothing waits."""
        if self.resignation is not None:
            return self.resignation.sent_ms + self.rules.proposal_timeout_ms
        dues = [waiting.deadline_ms for waiting in self.waiting]
        if self.proposal is not None and not self.proposal.overtaken:
            dues.append(self.proposal.sent_ms + self.rules.proposal_timeout_ms)
        for p in self.followers:
            if p.log_end_offset != self.local.log_end_offset and p.caught_up_ms != LONG_AGO_MS:
                due = p.caught_up_ms + self.rules.lag_time_max_ms + 1
                may_leave = self.proposal is None and p.follower in self.assignment.isr
                if may_leave or due > self.ticked_ms:
                    dues.append(due)
        return min(dues, default=None)


# -- questions that change nothing -------------------------------------------------------------------------------


def refusal(state: Leader, acks: int) -> Code:
    """Why an append must not even be tried, or NONE: acks=all needs enough replicas first (R8)."""
    if state.resignation is not None:
        return state.resignation.code
    if acks == -1 and len(state.assignment.isr) < state.min_isr:
        return Code.NOT_ENOUGH_REPLICAS
    return Code.NONE


def latest_offset(state: Leader) -> tuple[Code, int]:
    """What ListOffsets says of the end: never less than an earlier leader has said (KIP-207, R9)."""
    if state.local.high_watermark < state.epoch_start_offset:
        return Code.OFFSET_NOT_AVAILABLE, NO_OFFSET
    return Code.NONE, state.local.high_watermark


def low_watermark(state: Leader) -> int:
    """The lowest log start of all live replicas: what DeleteRecords waits for (Partition.lowWatermarkIfLeader)."""
    alive = {broker for broker, _ in state.eligible}
    starts = [p.log_start_offset for p in state.followers if p.follower in alive]
    return min([state.local.log_start_offset, *starts])


def check_epoch(leader_epoch: int, state_epoch: int) -> Code:
    """A peer's leader epoch against ours (KIP-320): older is fenced, newer is not known here yet."""
    if leader_epoch < state_epoch:
        return Code.FENCED_LEADER_EPOCH
    return Code.UNKNOWN_LEADER_EPOCH if leader_epoch > state_epoch else Code.NONE
