"""A follower of a partition: fetch what the leader has, and drop what the leader never had.

Owns the decisions of Kafka's AbstractFetcherThread for one partition: when to ask what, where the logs part, what an
answer may be believed. It must not know the log's bytes, a clock, or how requests travel. Called by `machine.step`.

Invariants
1. At most one request is under way; an answer with another number is ignored.
2. With `Sync.ALL` and `Sync.ACKS` a fetch offset is a promise: everything below it is on this replica's medium.
3. Nothing is appended from an epoch above the one that was fetched in (KAFKA-18723), nor out of order.
4. Truncation goes by epochs alone (KIP-101, KIP-279), and never below the high watermark, but after an unclean
   election that this log has not followed yet.
5. An answer that says where the logs part moves no high watermark (KAFKA-14704).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kstore import lineage
from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.effects import (
    AdvanceHighWatermark,
    AppendBatches,
    Effect,
    Halt,
    RaiseLogStart,
    RequestSync,
    SendReply,
    SendRequest,
    StartOver,
    Truncate,
)
from kstore.replication.state import NO_EPOCH, NO_LEADER, NO_OFFSET, Assignment, BatchInfo, Local, Rules, Sync
from kstore.replication.values import replace

Effects = tuple[Effect, ...]


class Phase(Enum):
    """What a follower is waiting for."""

    IDLE = "idle"
    """A leader: there is none, or this broker is no replica any more."""
    SYNCING = "syncing"
    """Its own fsync, before it may say how far it is."""
    FETCHING = "fetching"
    """The answer to a fetch."""
    PARTING = "parting"
    """The answer to where an epoch ends."""
    LOCATING = "locating"
    """The answer to where the leader's log lies, after a fetch out of range."""
    PAUSED = "paused"
    """The end of a pause after an answer that was an error."""
    HALTED = "halted"
    """Nothing: an invariant would have been broken, from which only a new assignment goes on; or the disk has failed,
    from which nothing does."""


@dataclass(frozen=True, slots=True)
class Follower:
    """The state of a following replica, and of one without any role."""

    id: int
    broker_epoch: int
    rules: Rules
    assignment: Assignment
    local: Local
    eligible: tuple[tuple[int, int], ...] = ()
    phase: Phase = Phase.IDLE
    number: int = 0
    """Of the newest request."""
    due_ms: int = 0
    """When the answer is overdue, or the pause ends."""
    parted: bool = False
    """Whether the log is known to be a prefix of the leader's: only then does a fetch without its epoch make sense."""
    leader_high_watermark: int = NO_OFFSET
    leader_log_start_offset: int = NO_OFFSET

    def next_deadline_ms(self) -> int | None:
        """When `Ticked` has something to do; None while only others can move this replica on."""
        waits = self.phase in (Phase.FETCHING, Phase.PARTING, Phase.LOCATING, Phase.PAUSED)
        return self.due_ms if waits else None

    @property
    def is_synced(self) -> bool:
        """Whether its log end may be told as a promise."""
        return self.rules.sync is Sync.NONE or self.local.durable_offset >= self.local.log_end_offset


# -- taking the role ---------------------------------------------------------------------------------------------


REQUESTS_OF_A_LIFE = 1 << 40
"""More than a broker can send in one life: a request every 30 microseconds for a year."""


def without_role(own: tuple[int, int], rules: Rules, local: Local) -> Follower:
    """A replica that has just started and was not told its role yet.

    Its requests have numbers that no earlier life has used, so that a late answer to one of those is not taken for its
    own.
    """
    nobody = Assignment(NO_LEADER, NO_EPOCH, -1, (), ())
    return Follower(*own, rules, nobody, local, number=max(own[1], 0) * REQUESTS_OF_A_LIFE)


def follow(
    own: tuple[int, int],
    rules: Rules,
    assignment: Assignment,
    local: Local,
    eligible: tuple[tuple[int, int], ...],
    number: int,
    now_ms: int,
) -> tuple[Follower, Effects]:
    """Begin to follow the leader of a new term; `number` is that of the last request of this broker's life."""
    state = Follower(*own, rules, assignment, local, eligible, number=number)
    if local.failed:
        return replace(state, phase=Phase.HALTED), ()
    effects: Effects = ()
    if not local.lineage and local.log_end_offset > local.high_watermark:
        # a log that knows no epochs cannot tell where it parts: only what is committed is surely the leader's
        state, effects = _cut(state, local.high_watermark)
    state, asked = _ask(state, now_ms)
    return state, effects + asked


def reassigned(state: Follower, assignment: Assignment, now_ms: int) -> tuple[Follower, Effects]:
    """Newer metadata of the same term: only being a replica at all may have changed."""
    was = state.id in state.assignment.replicas
    state = replace(state, assignment=assignment)
    if state.phase is Phase.HALTED:
        return state, ()
    if was != (state.id in assignment.replicas):
        return _ask(state, now_ms)
    return state, ()


# -- asking ------------------------------------------------------------------------------------------------------


def _ask(state: Follower, now_ms: int) -> tuple[Follower, Effects]:
    """The next request, or what has to come before it."""
    assignment, local = state.assignment, state.local
    if assignment.leader in (NO_LEADER, state.id) or state.id not in assignment.replicas:
        return replace(state, phase=Phase.IDLE), ()
    if not state.is_synced:
        return replace(state, phase=Phase.SYNCING), (RequestSync(local.log_end_offset),)
    if not state.rules.truncate_on_fetch and not state.parted and local.lineage:
        return _ask_epoch_end(state, local.latest_epoch, now_ms)
    number = state.number + 1
    request = ev.FetchRequest(
        state.id,
        state.broker_epoch,
        number,
        assignment.leader_epoch,
        local.log_end_offset,
        local.latest_epoch if state.rules.truncate_on_fetch else NO_EPOCH,
        local.log_start_offset,
    )
    return _sent(state, Phase.FETCHING, request, number, now_ms)


def _ask_epoch_end(state: Follower, epoch: int, now_ms: int) -> tuple[Follower, Effects]:
    number = state.number + 1
    request = ev.EpochEndRequest(state.id, number, state.assignment.leader_epoch, epoch)
    return _sent(state, Phase.PARTING, request, number, now_ms)


def _ask_offsets(state: Follower, now_ms: int) -> tuple[Follower, Effects]:
    number = state.number + 1
    request = ev.OffsetsRequest(state.id, number, state.assignment.leader_epoch)
    return _sent(state, Phase.LOCATING, request, number, now_ms)


def _sent(state: Follower, phase: Phase, request: ev.Request, number: int, now_ms: int) -> tuple[Follower, Effects]:
    due = now_ms + state.rules.fetch_timeout_ms
    return replace(state, phase=phase, number=number, due_ms=due), (SendRequest(state.assignment.leader, request),)


def _pause(state: Follower, now_ms: int) -> tuple[Follower, Effects]:
    return replace(state, phase=Phase.PAUSED, due_ms=now_ms + state.rules.fetch_backoff_ms), ()


def _halt(state: Follower, invariant: str, reason: str) -> tuple[Follower, Effects]:
    return replace(state, phase=Phase.HALTED), (Halt(invariant, reason),)


# -- fetching ----------------------------------------------------------------------------------------------------


def _on_fetched(state: Follower, event: ev.Fetched, now_ms: int) -> tuple[Follower, Effects]:
    reply = event.reply
    if state.phase is not Phase.FETCHING or reply.number != state.number:
        return state, ()
    if reply.code is Code.OFFSET_OUT_OF_RANGE:
        return _ask_offsets(state, now_ms)
    if reply.code is not Code.NONE or event.corrupt:
        return _pause(state, now_ms)
    if reply.diverging_epoch != NO_EPOCH:
        return _part(state, reply.diverging_epoch, reply.diverging_end_offset, now_ms)
    if not _in_order(state, event.batches):
        return _pause(state, now_ms)
    effects: Effects = ()
    if event.batches:
        if _begins_inside(state.local, event.batches[0]):
            state, effects = _start_over(state, state.local.log_end_offset, event.batches[0].base_offset)
        state = replace(state, local=_appended(state.local, event.batches))
        effects += (AppendBatches(event.batches),)
    state = replace(
        state,
        parted=True,
        leader_high_watermark=reply.high_watermark,
        leader_log_start_offset=reply.log_start_offset,
    )
    state, moved = _move_marks(state)
    state, asked = _ask(state, now_ms)
    return state, effects + moved + asked


def _in_order(state: Follower, batches: tuple[BatchInfo, ...]) -> bool:
    """Whether the batches continue the log, in epochs that do not fall and are not above the one fetched in.

    Offsets may leave gaps, as compaction does, but never go back.
    """
    end, epoch = state.local.log_end_offset, state.local.latest_epoch
    if batches and _begins_inside(state.local, batches[0]):
        end = batches[0].base_offset
    for batch in batches:
        if not end <= batch.base_offset < batch.next_offset or not epoch <= batch.epoch:
            return False
        if batch.epoch > state.assignment.leader_epoch:
            return False
        end, epoch = batch.next_offset, batch.epoch
    return True


def _begins_inside(local: Local, batch: BatchInfo) -> bool:
    """Whether the leader's log starts in the middle of a batch, as DeleteRecords may leave it (KAFKA-6975).

    Batches come whole: an empty log takes such a one, and starts inside of it too.
    """
    end = local.log_end_offset
    return local.log_start_offset == end and batch.base_offset < end < batch.next_offset


def _appended(local: Local, batches: tuple[BatchInfo, ...]) -> Local:
    epochs = local.lineage
    for batch in batches:
        if batch.epoch != lineage.latest_epoch(epochs):
            epochs = lineage.assigned(epochs, batch.epoch, max(batch.base_offset, local.log_start_offset))
    return replace(local, log_end_offset=batches[-1].next_offset, lineage=epochs)


def _move_marks(state: Follower) -> tuple[Follower, Effects]:
    """Take over the leader's high watermark and log start as far as this log reaches."""
    local = state.local
    own = local.log_end_offset if state.rules.sync is Sync.NONE else min(local.durable_offset, local.log_end_offset)
    effects: Effects = ()
    mark = min(state.leader_high_watermark, own)
    if mark > local.high_watermark:
        local = replace(local, high_watermark=mark)
        effects = (AdvanceHighWatermark(mark),)
    start = min(state.leader_log_start_offset, local.high_watermark)
    if start > local.log_start_offset:
        local = local.starting_at(start)
        effects += (RaiseLogStart(start),)
    return replace(state, local=local), effects


def _on_synced(state: Follower, event: ev.Synced, now_ms: int) -> tuple[Follower, Effects]:
    local = state.local
    if local.failed:
        return state, ()
    durable = min(max(local.durable_offset, event.offset), local.log_end_offset)
    state, moved = _move_marks(replace(state, local=replace(local, durable_offset=durable)))
    if state.phase is Phase.SYNCING and state.is_synced:
        state, asked = _ask(state, now_ms)
        return state, moved + asked
    return state, moved


# -- where the logs part -----------------------------------------------------------------------------------------


def _part(state: Follower, epoch: int, end_offset: int, now_ms: int) -> tuple[Follower, Effects]:
    """The leader's newest epoch that is not above our last one is `epoch`, and ends there at `end_offset`.

    Where we know that epoch, the logs agree up to the nearer end of it. Where we do not, our own epochs above it are
    the leader's no more, and the question comes again from our newest one below (KIP-279). Where all of ours are above
    it, it ends for us where our oldest begins: nothing that we hold is the leader's.
    """
    local = state.local
    known, own_end = lineage.end_offset_for(local.lineage, epoch, local.log_end_offset)
    if known == NO_EPOCH:
        target, done = end_offset, True
    elif known == epoch:
        target, done = min(own_end, end_offset), True
    else:
        target, done = own_end, False
    state, cut = _cut(state, min(target, local.log_end_offset))
    if state.phase is Phase.HALTED:
        return state, cut
    state = replace(state, parted=done)
    state, asked = _ask(state, now_ms)
    return state, cut + asked


def _cut(state: Follower, offset: int) -> tuple[Follower, Effects]:
    """Truncate to `offset`, which must not lie below the high watermark, unless an unclean election asks for it."""
    local, unclean = state.local, False
    if offset < local.high_watermark:
        unclean = state.assignment.unclean_epoch > local.latest_epoch
        if not unclean:
            reason = f"truncation to {offset}, below the high watermark {local.high_watermark}"
            return _halt(state, "I9", reason)
    if offset < local.log_start_offset:
        return _start_over(state, offset)
    cut = replace(
        local,
        log_end_offset=offset,
        durable_offset=min(local.durable_offset, offset),
        high_watermark=min(local.high_watermark, offset),
        lineage=lineage.ending_at(local.lineage, offset),
        damaged_offset=NO_OFFSET if local.damaged_offset >= offset else local.damaged_offset,
    )
    return replace(state, local=cut), (Truncate(offset, unclean),)


def _start_over(state: Follower, offset: int, base_offset: int = NO_OFFSET) -> tuple[Follower, Effects]:
    """Drop everything: the leader's log shares no offset with this one. Start, marks and producers move together."""
    return replace(state, local=Local(offset, offset, offset, offset)), (StartOver(offset, base_offset),)


def _on_epoch_end(state: Follower, event: ev.EpochEndAnswered, now_ms: int) -> tuple[Follower, Effects]:
    reply = event.reply
    if state.phase is not Phase.PARTING or reply.number != state.number:
        return state, ()
    if reply.code is not Code.NONE:
        return _pause(state, now_ms)
    if reply.end_offset == NO_OFFSET:  # the leader knows no epoch up to ours: only what is committed is shared
        state, cut = _cut(replace(state, parted=True), state.local.high_watermark)
        state, asked = _ask(state, now_ms)
        return state, cut + asked
    return _part(state, reply.epoch, reply.end_offset, now_ms)


def _on_offsets(state: Follower, event: ev.OffsetsAnswered, now_ms: int) -> tuple[Follower, Effects]:
    """After a fetch out of range (AbstractFetcherThread.fetchOffsetAndTruncate)."""
    reply = event.reply
    if state.phase is not Phase.LOCATING or reply.number != state.number:
        return state, ()
    if reply.code is not Code.NONE:
        return _pause(state, now_ms)
    end = state.local.log_end_offset
    if reply.log_start_offset > end:
        state, changed = _start_over(state, reply.log_start_offset)
    elif reply.log_end_offset < end:
        state, changed = _cut(state, reply.log_end_offset)
        if state.phase is Phase.HALTED:
            return state, changed
    else:
        return _pause(state, now_ms)
    state, asked = _ask(state, now_ms)
    return state, changed + asked


# -- the rest ----------------------------------------------------------------------------------------------------


def _on_requested(state: Follower, event: ev.Requested, now_ms: int) -> tuple[Follower, Effects]:
    """A replica that does not lead answers so; who asked looks for the leader."""
    reply = ev.refused(state.id, event.request, Code.NOT_LEADER_OR_FOLLOWER)
    return state, (SendReply(event.request.follower, reply),)


def _on_ticked(state: Follower, event: ev.Ticked, now_ms: int) -> tuple[Follower, Effects]:
    due = state.next_deadline_ms()
    return _ask(state, now_ms) if due is not None and due <= now_ms else (state, ())


def _on_brokers_changed(state: Follower, event: ev.BrokersChanged, now_ms: int) -> tuple[Follower, Effects]:
    return replace(state, eligible=event.eligible), ()


def _on_log_start_raised(state: Follower, event: ev.LogStartRaised, now_ms: int) -> tuple[Follower, Effects]:
    return replace(state, local=state.local.starting_at(event.log_start_offset)), ()


def _on_damaged(state: Follower, event: ev.Damaged, now_ms: int) -> tuple[Follower, Effects]:
    local = state.local
    if not local.log_start_offset <= event.offset < local.log_end_offset:
        return state, ()
    first = event.offset if local.damaged_offset < 0 else min(local.damaged_offset, event.offset)
    return replace(state, local=replace(local, damaged_offset=first)), ()


def _on_disk_failed(state: Follower, event: ev.DiskFailed, now_ms: int) -> tuple[Follower, Effects]:
    return replace(state, phase=Phase.HALTED, local=replace(state.local, failed=True)), ()


HANDLERS: dict[type, Callable[[Follower, Any, int], tuple[Follower, Effects]]] = {
    ev.Fetched: _on_fetched,
    ev.EpochEndAnswered: _on_epoch_end,
    ev.OffsetsAnswered: _on_offsets,
    ev.Synced: _on_synced,
    ev.Requested: _on_requested,
    ev.Ticked: _on_ticked,
    ev.BrokersChanged: _on_brokers_changed,
    ev.LogStartRaised: _on_log_start_raised,
    ev.Damaged: _on_damaged,
    ev.DiskFailed: _on_disk_failed,
}
"""What a follower does at each event; an event that is not here is not a follower's and is ignored."""
