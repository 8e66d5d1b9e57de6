"""The leader of a partition: who is in sync, how far the log is committed, who may be answered.

Owns the decisions of Kafka's Partition and Replica classes for the leading replica: follower progress, the high
watermark, ISR changes through the controller, waiting appends, answers to followers. It must not know the log's bytes,
a clock, or where the controller keeps its state. Called by `machine.step`.

Invariants
1. The high watermark never falls, and never passes what the maximal ISR (the ISR, and who is proposed for it) holds.
2. At most one proposal is under way; until its answer is known both its outcomes are reckoned with.
3. An append is acknowledged with acks=all only when it lies below the high watermark and, unless `Sync.NONE`, on the
   leader's medium.
4. A follower enters the ISR only once it has reached both the high watermark and the start of the leader's own epoch
   (KAFKA-7128), in its present life (KIP-903).
5. Once it has resigned, for damage or because its disk failed, a leader commits, acknowledges and proposes nothing more
   in its term, and says so again until the controller has heard it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kstore import lineage
from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.effects import (
    Acknowledge,
    AdvanceHighWatermark,
    AssignEpoch,
    Effect,
    ProposeIsr,
    RequestSync,
    Resign,
    SendReply,
)
from kstore.replication.leading import Leader, Proposal, Resignation, Waiting, check_epoch
from kstore.replication.progress import Progress
from kstore.replication.state import Assignment, Local, Rules, Sync
from kstore.replication.values import replace

Effects = tuple[Effect, ...]

FINAL_REFUSALS = frozenset({Code.INELIGIBLE_REPLICA, Code.INVALID_REQUEST})
"""The controller has not done it; but where it was sent twice, the other copy may still be taken."""
OVERTAKEN = frozenset(
    {Code.INVALID_UPDATE_VERSION, Code.FENCED_LEADER_EPOCH, Code.NEW_LEADER_ELECTED, Code.UNKNOWN_TOPIC_OR_PARTITION}
)
"""The controller knows more than this leader: its metadata decides, and until it comes nothing is asked."""
DISK_FAILED = "a write or an fsync of the log failed"


# -- taking and giving up the lead -------------------------------------------------------------------------------


def lead(
    own: tuple[int, int],
    rules: Rules,
    assignment: Assignment,
    local: Local,
    eligible: tuple[tuple[int, int], ...],
    number: int,
    now_ms: int,
) -> tuple[Leader, Effects]:
    """Begin a term; `own` is this broker's id and epoch. Nothing that an earlier term knew of followers counts."""
    start = local.log_end_offset
    local = replace(local, lineage=lineage.assigned(local.lineage, assignment.leader_epoch, start))
    followers = tuple(
        Progress(r, caught_up_ms=now_ms) if r in assignment.isr else Progress(r)
        for r in sorted(assignment.replicas)
        if r != own[0]
    )
    state = Leader(*own, rules, assignment, local, eligible, start, followers, number=number)
    effects: Effects = (AssignEpoch(assignment.leader_epoch, start),)
    if local.durable_offset < start and rules.sync is not Sync.NONE:
        effects += (RequestSync(start),)
    if local.failed:
        return _give_up(state, Code.KAFKA_STORAGE_ERROR, DISK_FAILED, now_ms)
    if local.damaged_offset >= 0:  # above the high watermark too: an earlier leader may have told consumers more
        state, given_up = _give_up(state, Code.NOT_LEADER_OR_FOLLOWER, _damage(local), now_ms)
        return state, effects + given_up
    if assignment.recovering:
        state, proposed = _propose(state, ((state.id, state.broker_epoch),), now_ms)
        return state, effects + proposed
    state, settled = settle(state, now_ms)
    return state, effects + settled


def resigned(state: Leader) -> Effects:
    """The answers that a leader owes when its term ends: whether those appends survive is the next leader's to know."""
    return tuple(Acknowledge(waiting.token, Code.NOT_LEADER_OR_FOLLOWER) for waiting in state.waiting)


def reassigned(state: Leader, assignment: Assignment, now_ms: int) -> tuple[Leader, Effects]:
    """Newer metadata of the same term: another ISR or other replicas. A proposal on the older one cannot win now."""
    known = {p.follower: p for p in state.followers}
    followers = tuple(known.get(r, Progress(r)) for r in sorted(assignment.replicas) if r != state.id)
    state = replace(state, assignment=assignment, followers=followers, proposal=None)
    if assignment.recovering and state.resignation is None:
        return _propose(state, ((state.id, state.broker_epoch),), now_ms)
    return settle(state, now_ms)


def _give_up(state: Leader, code: Code, reason: str, now_ms: int) -> tuple[Leader, Effects]:
    """Resign, and answer who waits: a retry finds the next leader."""
    owed = tuple(Acknowledge(waiting.token, code) for waiting in state.waiting)
    state = replace(state, waiting=(), resignation=Resignation(code, reason, now_ms))
    return state, (*owed, Resign(state.assignment.leader_epoch, reason))


def _damage(local: Local) -> str:
    return f"the log is damaged at offset {local.damaged_offset}"


# -- the high watermark, and who waits for it --------------------------------------------------------------------


def settle(state: Leader, now_ms: int) -> tuple[Leader, Effects]:
    """Advance the high watermark as far as it goes and answer the appends that it reaches."""
    effects: Effects = ()
    reached = _committed(state, now_ms)
    if reached > state.local.high_watermark:
        state = replace(state, local=replace(state.local, high_watermark=reached))
        effects = (AdvanceHighWatermark(reached),)
    if not state.waiting:
        return state, effects
    limit = state.local.high_watermark
    if state.rules.sync is not Sync.NONE:
        limit = min(limit, state.local.durable_offset)
    done = [w for w in state.waiting if w.next_offset <= limit]
    if not done:
        return state, effects
    enough = len(state.maximal_isr) >= state.min_isr
    code = Code.NONE if enough else Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND
    left = tuple(w for w in state.waiting if w.next_offset > limit)
    return replace(state, waiting=left), effects + tuple(Acknowledge(w.token, code) for w in done)


def _committed(state: Leader, now_ms: int) -> int:
    """How far the maximal ISR holds the log, and followers that are about to join it.

    Partition.maybeIncrementLeaderHW; below `min.insync.replicas` nothing is committed (KIP-966, strict min ISR).
    """
    if len(state.assignment.isr) < state.min_isr or state.resignation is not None:
        return state.local.high_watermark
    members = state.maximal_isr
    reached = state.own_offset
    for p in state.followers:
        if p.log_end_offset < reached and (p.follower in members or _about_to_join(state, p, now_ms)):
            reached = p.log_end_offset
    return reached


def _about_to_join(state: Leader, p: Progress, now_ms: int) -> bool:
    caught_up = p.is_caught_up(state.local.log_end_offset, now_ms, state.rules.lag_time_max_ms)
    return caught_up and _is_eligible(state, p)


def _is_eligible(state: Leader, p: Progress) -> bool:
    """Whether the controller would take this follower: alive, and in the life that its fetches come from (KIP-903)."""
    return (p.follower, p.broker_epoch) in state.eligible


# -- the ISR -----------------------------------------------------------------------------------------------------


def _propose(state: Leader, isr: tuple[tuple[int, int], ...], now_ms: int) -> tuple[Leader, Effects]:
    assignment = state.assignment
    proposal = Proposal(assignment.partition_epoch, isr, now_ms)
    effect = ProposeIsr(assignment.leader_epoch, assignment.partition_epoch, isr)
    return replace(state, proposal=proposal), (effect,)


def _withdraw(state: Leader, proposal: Proposal, now_ms: int) -> tuple[Leader, Effects]:
    """Propose the ISR as it is: that gives the partition a new epoch, which voids every copy of what was refused.

    Until then the refused members count as in sync. The copy that was refused may have met a broker that was not back
    yet, and a second one, sent after a timeout, find it there. Kafka takes the first answer for final, and relies on
    TCP for the rest.
    """
    if proposal.doubted:
        return state, ()
    state, asked = _propose(state, tuple(_member(state, r) for r in state.assignment.isr), now_ms)
    assert state.proposal is not None
    return replace(state, proposal=replace(state.proposal, doubted=proposal.members)), asked


def _member(state: Leader, replica: int) -> tuple[int, int]:
    if replica == state.id:
        return replica, state.broker_epoch
    p = state.progress(replica)
    return replica, -1 if p is None else p.broker_epoch


def _expand(state: Leader, p: Progress, now_ms: int) -> tuple[Leader, Effects]:
    """Propose a follower that has caught up (Partition.maybeExpandIsr)."""
    members = state.assignment.isr
    if state.proposal is not None or p.follower in members or state.assignment.recovering:
        return state, ()
    if state.resignation is not None:
        return state, ()
    needed = max(state.local.high_watermark, state.epoch_start_offset)
    if p.log_end_offset < needed or not _is_eligible(state, p):
        return state, ()
    wanted = sorted((*members, p.follower))
    return _propose(state, tuple(_member(state, r) for r in wanted), now_ms)


def _shrink(state: Leader, now_ms: int) -> tuple[Leader, Effects]:
    """Propose the ISR without those that have lagged for too long (Partition.maybeShrinkIsr)."""
    end, lag = state.local.log_end_offset, state.rules.lag_time_max_ms
    late = {p.follower for p in state.followers if not p.is_caught_up(end, now_ms, lag)}
    kept = [r for r in state.assignment.isr if r not in late]
    if len(kept) == len(state.assignment.isr):
        return state, ()
    return _propose(state, tuple(_member(state, r) for r in kept), now_ms)


def _on_proposal_answered(state: Leader, event: ev.ProposalAnswered, now_ms: int) -> tuple[Leader, Effects]:
    proposal = state.proposal
    if (
        proposal is None
        or event.leader_epoch != state.assignment.leader_epoch
        or event.partition_epoch != proposal.partition_epoch
    ):
        return state, ()
    if event.code is Code.NONE and event.assignment is not None:
        newer = event.assignment
        if newer.leader_epoch == state.assignment.leader_epoch:
            return reassigned(state, newer, now_ms)
        return replace(state, proposal=replace(proposal, overtaken=True)), ()
    if event.code in FINAL_REFUSALS:
        return _withdraw(state, proposal, now_ms)
    if event.code in OVERTAKEN:
        return replace(state, proposal=replace(proposal, overtaken=True)), ()
    return state, ()


# -- followers ---------------------------------------------------------------------------------------------------


def _on_requested(state: Leader, event: ev.Requested, now_ms: int) -> tuple[Leader, Effects]:
    request = event.request
    if isinstance(request, ev.FetchRequest):
        return _on_fetch(state, request, now_ms)
    code = check_epoch(request.leader_epoch, state.assignment.leader_epoch)
    if code is Code.NONE and state.progress(request.follower) is None:
        code = Code.NOT_LEADER_OR_FOLLOWER
    local = state.local
    reply: ev.Reply
    if isinstance(request, ev.EpochEndRequest):
        reply = ev.EpochEndReply(state.id, request.number, code)
        if code is Code.NONE:
            epoch, end = lineage.end_offset_for(local.lineage, request.epoch, local.log_end_offset)
            reply = replace(reply, epoch=epoch, end_offset=end)
    else:
        reply = ev.OffsetsReply(state.id, request.number, code)
        if code is Code.NONE:
            reply = replace(reply, log_start_offset=local.log_start_offset, log_end_offset=local.log_end_offset)
    return state, (SendReply(request.follower, reply),)


def _on_fetch(state: Leader, request: ev.FetchRequest, now_ms: int) -> tuple[Leader, Effects]:
    code = check_epoch(request.leader_epoch, state.assignment.leader_epoch)
    known = state.progress(request.follower)
    if code is Code.NONE and (known is None or request.broker_epoch < known.broker_epoch):
        code = Code.NOT_LEADER_OR_FOLLOWER
    if code is Code.NONE and state.local.failed:
        code = Code.KAFKA_STORAGE_ERROR
    if code is not Code.NONE:
        return state, (SendReply(request.follower, ev.FetchReply(state.id, request.number, code)),)
    local = state.local
    parted = _parting(local, request)
    if parted is not None:
        epoch, end = parted
        if epoch < 0:
            reply = ev.FetchReply(state.id, request.number, Code.OFFSET_OUT_OF_RANGE)
            return state, (SendReply(request.follower, reply),)
        reply = ev.FetchReply(
            state.id, request.number, code, diverging_epoch=epoch, diverging_end_offset=end
        )
        return state, (SendReply(request.follower, reply),)
    if not local.log_start_offset <= request.offset <= local.log_end_offset:
        reply = ev.FetchReply(state.id, request.number, Code.OFFSET_OUT_OF_RANGE)
        return state, (SendReply(request.follower, reply),)
    assert known is not None
    effects: Effects = ()
    if known.is_newer(request):
        p = known.fetched(request, local.log_end_offset, now_ms)
        state = _with_progress(state, p)
        state, proposed = _expand(state, p, now_ms)
        state, settled = settle(state, now_ms)
        effects = settled + proposed
    local = state.local
    reply = ev.FetchReply(state.id, request.number, code, local.high_watermark, local.log_start_offset)
    return state, (*effects, SendReply(request.follower, reply, request.offset))


def _parting(local: Local, request: ev.FetchRequest) -> tuple[int, int] | None:
    """Where the follower's log parts from ours, as (our epoch, its end), or None where ours continues it (KIP-595).

    A last epoch that is above all of ours has no common point to name: that is out of range, with epoch -1.
    """
    asked = request.last_fetched_epoch
    if asked < 0:
        return None
    epoch, end = lineage.end_offset_for(local.lineage, asked, local.log_end_offset)
    return (epoch, end) if epoch < asked or end < request.offset else None


def _with_progress(state: Leader, p: Progress) -> Leader:
    followers = tuple(p if one.follower == p.follower else one for one in state.followers)
    return replace(state, followers=followers)


# -- the rest ----------------------------------------------------------------------------------------------------


def _on_appended(state: Leader, event: ev.Appended, now_ms: int) -> tuple[Leader, Effects]:
    local = state.local
    state = replace(
        state, local=replace(local, log_end_offset=max(local.log_end_offset, event.next_offset))
    )
    if state.resignation is not None:
        return state, (Acknowledge(event.token, state.resignation.code),) if event.acks else ()
    effects: Effects = ()
    if event.acks == -1:
        waiting = Waiting(event.token, event.next_offset, event.deadline_ms)
        state = replace(state, waiting=(*state.waiting, waiting))
    elif event.acks == 1:
        effects = (Acknowledge(event.token, Code.NONE),)
    rules = state.rules
    wanted = rules.sync is Sync.ALL or (rules.sync is Sync.ACKS and event.acks == -1)
    if wanted and local.durable_offset < event.next_offset:
        effects += (RequestSync(event.next_offset),)
    state, settled = settle(state, now_ms)
    return state, effects + settled


def _on_synced(state: Leader, event: ev.Synced, now_ms: int) -> tuple[Leader, Effects]:
    local = state.local
    if local.failed:
        return state, ()
    durable = min(max(local.durable_offset, event.offset), local.log_end_offset)
    return settle(replace(state, local=replace(local, durable_offset=durable)), now_ms)


def _on_brokers_changed(state: Leader, event: ev.BrokersChanged, now_ms: int) -> tuple[Leader, Effects]:
    """Who was not eligible when it fetched last may be now, and its next fetch is parked: propose it."""
    state, effects = settle(replace(state, eligible=event.eligible), now_ms)
    for p in state.followers:
        if now_ms - p.fetched_ms <= state.rules.lag_time_max_ms:
            state, proposed = _expand(state, p, now_ms)
            effects += proposed
    return state, effects


def _on_log_start_raised(state: Leader, event: ev.LogStartRaised, now_ms: int) -> tuple[Leader, Effects]:
    return replace(state, local=state.local.starting_at(event.log_start_offset)), ()


def _on_damaged(state: Leader, event: ev.Damaged, now_ms: int) -> tuple[Leader, Effects]:
    local = state.local
    if not local.log_start_offset <= event.offset < local.log_end_offset:
        return state, ()
    if 0 <= local.damaged_offset <= event.offset:
        return state, ()
    local = replace(local, damaged_offset=event.offset)
    state = replace(state, local=local)
    if state.resignation is not None:
        return state, ()
    return _give_up(state, Code.NOT_LEADER_OR_FOLLOWER, _damage(local), now_ms)


def _on_disk_failed(state: Leader, event: ev.DiskFailed, now_ms: int) -> tuple[Leader, Effects]:
    if state.local.failed:
        return state, ()
    state = replace(state, local=replace(state.local, failed=True))
    return _give_up(state, Code.KAFKA_STORAGE_ERROR, DISK_FAILED, now_ms)


def _on_ticked(state: Leader, event: ev.Ticked, now_ms: int) -> tuple[Leader, Effects]:
    given_up = state.resignation
    if given_up is not None:
        if now_ms - given_up.sent_ms < state.rules.proposal_timeout_ms:
            return state, ()
        return _give_up(state, given_up.code, given_up.reason, now_ms)
    late = tuple(Acknowledge(w.token, Code.REQUEST_TIMED_OUT) for w in state.waiting if w.deadline_ms <= now_ms)
    if late:
        state = replace(state, waiting=tuple(w for w in state.waiting if w.deadline_ms > now_ms))
    proposed: Effects = ()
    proposal = state.proposal
    if proposal is None:
        state, proposed = _shrink(state, now_ms)
    elif not proposal.overtaken and now_ms - proposal.sent_ms >= state.rules.proposal_timeout_ms:
        _, proposed = _propose(state, proposal.isr, now_ms)
        state = replace(state, proposal=replace(proposal, sent_ms=now_ms))
    state, settled = settle(replace(state, ticked_ms=now_ms), now_ms)
    return state, late + proposed + settled


HANDLERS: dict[type, Callable[[Leader, Any, int], tuple[Leader, Effects]]] = {
    ev.Appended: _on_appended,
    ev.Synced: _on_synced,
    ev.Requested: _on_requested,
    ev.ProposalAnswered: _on_proposal_answered,
    ev.BrokersChanged: _on_brokers_changed,
    ev.LogStartRaised: _on_log_start_raised,
    ev.Damaged: _on_damaged,
    ev.DiskFailed: _on_disk_failed,
    ev.Ticked: _on_ticked,
}
"""What a leader does at each event; an event that is not here is not a leader's and is ignored."""
