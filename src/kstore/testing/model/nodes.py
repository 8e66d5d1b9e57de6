"""One replica in the model: the shipped machine, the log that its effects make, and every step it can take.

Owns what a runner owes the machine: effects performed in order, fsyncs ended, batches cut out of the log for an answer.
It must not know other replicas. Called by `world`, which asks for a step by the numbers of replica and input and is
given the same outcome for the same numbers: a local step is computed once, however many global states it occurs in.

Invariants
1. A record is the leader epoch that it was appended in; its place in the log is its offset.
2. The log is dense and starts at 0; the machine's `Local` agrees with it after every step.
3. Times are 0, long ago, or one tick ahead: what a deadline does is a step of its own, so time itself needs no state.
4. The number of a replica's newest request is 0, those of older ones count down: only their order means anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from kstore import lineage
from kstore.errors import InvariantError
from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import leading, machine
from kstore.replication.codes import Code
from kstore.replication.controller import messages
from kstore.replication.controller.commands import AlterPartition, ResignLeader
from kstore.replication.effects import Effect
from kstore.replication.follower import Follower, Phase
from kstore.replication.leading import Leader
from kstore.replication.progress import LONG_AGO_MS
from kstore.replication.state import Assignment, BatchInfo, Local
from kstore.testing.model.scope import NEVER_MS, Scope
from kstore.testing.model.table import Numbered

Log = tuple[int, ...]
"""The epoch of each record."""
PARTITION = ("t", 0)


class Node(NamedTuple):
    """A replica: its process and its disk."""

    state: machine.State
    log: Log


class Asked(NamedTuple):
    """A request under way."""

    to: int
    request: ev.Request


class Answered(NamedTuple):
    """An answer under way, with the records that it carries."""

    reply: ev.Reply
    records: Log
    offset: int
    """Of the first record."""
    epoch: int
    """The leader epoch of the request."""


Message = Asked | Answered


class Version(NamedTuple):
    """What the controller publishes."""

    assignment: Assignment
    eligible: tuple[tuple[int, int], ...]


class Called(NamedTuple):
    """A leader's command to the controller under way."""

    by: int
    command: AlterPartition | ResignLeader


class Returned(NamedTuple):
    """The controller's answer under way."""

    to: int
    event: ev.ProposalAnswered


Call = Called | Returned


@dataclass(slots=True)
class Outcome:
    """What a step of one replica comes to."""

    node: int
    answers: tuple[tuple[int, int], ...] = ()
    """Messages to followers: (broker id, number of the message)."""
    request: int = -1
    """The number of the message that asks its leader, -1 for none."""
    calls: tuple[int, ...] = ()
    acked: tuple[tuple[int, int], ...] = ()
    """Records acknowledged with acks=all: (offset, epoch)."""
    problem: str = ""
    """A broken invariant, empty for none."""


class Able(NamedTuple):
    """What a replica may do by itself."""

    append: bool
    sync: bool
    wakes: bool
    """Whether it waits for an answer or the end of a pause."""
    waits: bool
    """Whether it waits for an answer."""
    lagging: tuple[int, ...]
    """Followers that it may find too slow."""
    retry: bool
    has_heard: bool
    """Whether it knows anything of the metadata."""


class Nodes:
    """All replicas that occur in an exploration, by number, and their steps."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.rules = scope.rules()
        self.nodes: Numbered[Node] = Numbered()
        self.messages: Numbered[Message] = Numbered()
        self.calls: Numbered[Call] = Numbered()
        self.versions: Numbered[Version] = Numbered()
        self._able: dict[int, Able] = {}

    # -- making replicas -------------------------------------------------------------------------------------

    def started(self, broker: int, broker_epoch: int, log: Log, mark: int, epochs: lineage.Lineage) -> int:
        """A replica as its broker finds it at start, after recovery has fsynced what is there."""
        end = len(log)
        kept = lineage.ending_at(epochs, end)
        local = Local(0, end, end, min(mark, end), kept)
        return self.nodes.number(Node(_still(machine.start(broker, broker_epoch, self.rules, local)), log))

    def crashes(self, node: int) -> tuple[tuple[int, int], ...]:
        """What a crash may leave: (log end, high watermark) pairs."""
        local = self.nodes.values[node].state.local
        ends = {local.log_end_offset}
        if self.scope.power_loss:
            ends.add(min(local.durable_offset, local.log_end_offset))
        marks = {local.high_watermark, 0} if self.scope.stale_checkpoint else {local.high_watermark}
        return tuple(sorted({(end, min(mark, end)) for end in ends for mark in marks}, reverse=True))

    def able(self, node: int) -> Able:
        """What a replica may do by itself."""
        known = self._able.get(node)
        if known is None:
            known = self._able[node] = self._abilities(self.nodes.values[node].state)
        return known

    def _abilities(self, state: machine.State) -> Able:
        local = state.local
        unsynced = self.scope.slow_fsync and local.durable_offset < local.log_end_offset
        if isinstance(state, Follower):
            waits = state.phase in (Phase.FETCHING, Phase.PARTING, Phase.LOCATING)
            heard = state.assignment.partition_epoch >= 0
            return Able(False, unsynced, waits or state.phase is Phase.PAUSED, waits, (), False, heard)
        end = local.log_end_offset
        lagging = tuple(p.follower for p in state.followers if p.caught_up_ms == 0 and p.log_end_offset != end)
        return Able(
            leading.refusal(state, 1) is Code.NONE,
            unsynced,
            False,
            False,
            lagging,
            state.proposal is not None and not state.proposal.overtaken,
            True,
        )

    # -- steps -----------------------------------------------------------------------------------------------

    def append(self, node: int) -> Outcome:
        """A producer's record with acks=all, or with acks=1 where too few are in sync for that."""
        state, log = self.nodes.values[node]
        assert isinstance(state, Leader)
        end = len(log)
        acks = -1 if leading.refusal(state, -1) is Code.NONE else 1
        event = ev.Appended(end, end, end + 1, acks, NEVER_MS)
        return self._told(Node(state, (*log, state.assignment.leader_epoch)), (event,))

    def sync(self, node: int) -> Outcome:
        """The fsync that was asked for ends."""
        before = self.nodes.values[node]
        return self._told(before, (ev.Synced(len(before.log)),))

    def wake(self, node: int) -> Outcome:
        """An answer is overdue, or a pause ends; or a leader asks the controller again."""
        return self._told(self.nodes.values[node], (ev.Ticked(),), now_ms=1)

    def lag(self, node: int, follower: int) -> Outcome:
        """A leader finds that a follower was not caught up for longer than the limit, and looks at its ISR."""
        state, log = self.nodes.values[node]
        assert isinstance(state, Leader)
        late = tuple(
            replace(p, caught_up_ms=LONG_AGO_MS, fetched_ms=LONG_AGO_MS) if p.follower == follower else p
            for p in state.followers
        )
        return self._told(Node(replace(state, followers=late), log), (ev.Ticked(),))

    def hear(self, node: int, version: int) -> Outcome:
        """The controller's metadata arrives."""
        assignment, eligible = self.versions.values[version]
        return self._told(self.nodes.values[node], (ev.BrokersChanged(eligible), ev.Assigned(assignment)))

    def deliver(self, node: int, message: int) -> Outcome:
        """A request or an answer arrives."""
        before = self.nodes.values[node]
        said = self.messages.values[message]
        if isinstance(said, Asked):
            outcome = self._told(before, (ev.Requested(said.request),), asked=said.request)
            return self._fenced(before, said.request, outcome)
        reply, records, offset, epoch = said
        event: ev.Event
        if isinstance(reply, ev.FetchReply):
            batches = tuple(BatchInfo(o, o + 1, e) for o, e in enumerate(records, offset))
            event = ev.Fetched(reply, batches)
        elif isinstance(reply, ev.EpochEndReply):
            event = ev.EpochEndAnswered(reply)
        else:
            event = ev.OffsetsAnswered(reply)
        outcome = self._told(before, (event,))
        after = self.nodes.values[outcome.node]
        if after.log != before.log and not outcome.problem:
            if epoch != before.state.assignment.leader_epoch:
                outcome.problem = f"I15: an answer of epoch {epoch} changes a log that follows another"
            elif len(after.log) > len(before.log) and max(after.log[len(before.log) :]) > epoch:
                outcome.problem = f"I11: records of a later epoch than the fetch's, {epoch}, are appended"
        return outcome

    def _fenced(self, before: Node, request: ev.Request, outcome: Outcome) -> Outcome:
        leads = isinstance(before.state, Leader)
        if leads and request.leader_epoch < before.state.assignment.leader_epoch and not outcome.problem:
            codes = [self.messages.values[m].reply.code for _, m in outcome.answers]  # type: ignore[union-attr]
            if self.nodes.values[outcome.node] != before or Code.NONE in codes:
                outcome.problem = f"I15: a request of the fenced epoch {request.leader_epoch} is served"
        return outcome

    def answer(self, node: int, call: int) -> Outcome:
        """The controller's answer arrives."""
        returned = self.calls.values[call]
        assert isinstance(returned, Returned)
        return self._told(self.nodes.values[node], (returned.event,))

    # -- performing ------------------------------------------------------------------------------------------

    def _told(
        self, before: Node, events: tuple[ev.Event, ...], now_ms: int = 0, asked: ev.Request | None = None
    ) -> Outcome:
        acts = _Acts(self, before, asked)
        acts.waiting = all(not isinstance(event, ev.Appended) or event.acks == -1 for event in events)
        state = before.state
        queue = list(events)
        try:
            while queue:
                state, effects = machine.step(state, queue.pop(0), now_ms)
                for effect in effects:
                    if isinstance(effect, do.RequestSync):
                        if not self.scope.slow_fsync:
                            queue.append(ev.Synced(effect.offset))
                    else:
                        acts.perform(state, effect)
        except InvariantError as broken:
            acts.problem = str(broken)
        state = _still(state)
        node = Node(state, acts.log)
        return Outcome(
            self.nodes.number(node),
            tuple(acts.answers),
            acts.request,
            tuple(acts.calls),
            tuple(acts.acked),
            acts.problem or _problem(node, before),
        )


class _Acts:
    """Performs the effects of one step."""

    def __init__(self, nodes: Nodes, before: Node, asked: ev.Request | None) -> None:
        self._nodes = nodes
        self._asked = asked
        self.log = before.log
        self.answers: list[tuple[int, int]] = []
        self.request = -1
        self.waiting = True
        """Whether what is acknowledged was appended with acks=all."""
        self.calls: list[int] = []
        self.acked: list[tuple[int, int]] = []
        self.problem = ""

    def perform(self, state: machine.State, effect: Effect) -> None:
        """Do what an effect says; those that a log needs no deed for do nothing."""
        if isinstance(effect, do.AppendBatches):
            if effect.batches[0].base_offset != len(self.log):
                self.problem = f"I6: records {effect.batches[0].base_offset} and on follow {len(self.log)}"
            self.log += tuple(batch.epoch for batch in effect.batches)
        elif isinstance(effect, do.Truncate | do.StartOver):
            self.log = self.log[: effect.offset]
        elif isinstance(effect, do.SendRequest):
            request = replace(effect.request, number=0)
            self.request = self._nodes.messages.number(Asked(effect.to, request))
        elif isinstance(effect, do.SendReply):
            self._reply(effect)
        elif isinstance(effect, do.Acknowledge):
            if effect.code is Code.NONE and self.waiting:
                self.acked.append((effect.token, self.log[effect.token]))
        elif isinstance(effect, do.ProposeIsr):
            command = messages.alter_partition((state.id, state.broker_epoch), PARTITION, effect)
            self.calls.append(self._nodes.calls.number(Called(state.id, command)))
        elif isinstance(effect, do.Resign):
            resign = messages.resign_leader((state.id, state.broker_epoch), PARTITION, effect)
            self.calls.append(self._nodes.calls.number(Called(state.id, resign)))
        elif isinstance(effect, do.Halt):
            self.problem = f"{effect.invariant}: {effect.reason}"

    def _reply(self, effect: do.SendReply) -> None:
        assert self._asked is not None
        records: Log = ()
        if effect.read_offset >= 0:
            records = self.log[effect.read_offset :]
        answer = Answered(effect.reply, records, effect.read_offset, self._asked.leader_epoch)
        self.answers.append((effect.to, self._nodes.messages.number(answer)))


def _still(state: machine.State) -> machine.State:
    """The state at time 0, its newest request under number 0: what differs only in these is the same."""
    if isinstance(state, Follower):
        due = 0 if state.next_deadline_ms() is None else 1
        return state if (state.number, state.due_ms) == (0, due) else replace(state, number=0, due_ms=due)
    proposal = state.proposal
    if proposal is not None and proposal.sent_ms:
        proposal = replace(proposal, sent_ms=0)
    return replace(state, number=0, ticked_ms=LONG_AGO_MS, proposal=proposal)


def _problem(after: Node, before: Node) -> str:
    """What must hold of one replica and is not the machine's to see: that the log is what `Local` says."""
    local = after.state.local
    if local.log_end_offset != len(after.log):
        return f"I10: the log ends at {len(after.log)}, the machine believes {local.log_end_offset}"
    for offset, epoch in enumerate(after.log):
        if lineage.epoch_for_offset(local.lineage, offset) != epoch:
            return f"I10: record {offset} is of epoch {epoch}, the lineage is {local.lineage}"
    if local.high_watermark < before.state.local.high_watermark:
        return f"I7: the high watermark fell to {local.high_watermark}"
    mark = before.state.local.high_watermark
    if after.log[:mark] != before.log[:mark]:
        return f"I9: records below the high watermark {mark} are gone"
    return ""
