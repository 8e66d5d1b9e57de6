"""Three replicas of one partition as bare machines: no log, no network; a test says what is delivered and when.

Effects on the log are taken as done at once, requests and answers wait in `wires` until a test delivers them, and the
controller is the test. Payloads are only offsets and epochs: `histories` holds, for each replica, what a log would.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import machine
from kstore.replication.codes import Code
from kstore.replication.state import Assignment, BatchInfo, Local, Rules

BROKERS = (1, 2, 3)


@dataclass
class Replicas:
    """The machines, what they have asked for, and the time."""

    rules: Rules = field(default_factory=Rules)
    now_ms: int = 1_000
    states: dict = field(default_factory=dict)
    histories: dict = field(default_factory=dict)
    wires: deque = field(default_factory=deque)
    proposals: list = field(default_factory=list)
    acknowledged: list = field(default_factory=list)
    others: list = field(default_factory=list)
    tokens: int = 0

    def __post_init__(self):
        for broker in BROKERS:
            self.states[broker] = machine.start(broker, 10 + broker, self.rules, Local())
            self.histories[broker] = []
            self.step(broker, ev.BrokersChanged(tuple((b, 10 + b) for b in BROKERS)))

    def step(self, broker, event, batches=()):
        state, effects = machine.step(self.states[broker], event, self.now_ms)
        self.states[broker] = state
        for effect in effects:
            self._perform(broker, effect)
        return effects

    def _perform(self, broker, effect):
        history = self.histories[broker]
        match effect:
            case do.AppendBatches(batches):
                history.extend(batches)
            case do.Truncate(offset):
                history[:] = [batch for batch in history if batch.next_offset <= offset]
            case do.StartOver():
                history.clear()
            case do.RequestSync(offset):
                self.step(broker, ev.Synced(offset))
            case do.SendRequest(to, request):
                self.wires.append((to, request))
            case do.SendReply(to, reply, read_offset):
                sent = tuple(b for b in history if b.base_offset >= read_offset) if read_offset >= 0 else ()
                self.wires.append((to, (reply, sent)))
            case do.ProposeIsr():
                self.proposals.append((broker, effect))
            case do.Acknowledge(token, code):
                self.acknowledged.append((token, code))
            case do.AssignEpoch() | do.AdvanceHighWatermark() | do.RaiseLogStart():
                pass
            case _:
                self.others.append((broker, effect))

    # -- what a test says --

    def assign(self, assignment, to=BROKERS):
        for broker in to:
            self.step(broker, ev.Assigned(assignment))

    def produce(self, broker, count=1, acks=-1, timeout_ms=5_000):
        self.tokens += 1
        state = self.states[broker]
        base = state.local.log_end_offset
        self.histories[broker].append(BatchInfo(base, base + count, state.assignment.leader_epoch))
        self.step(broker, ev.Appended(self.tokens, base, base + count, acks, self.now_ms + timeout_ms))
        return self.tokens

    def deliver(self, to=BROKERS):
        """Deliver what is under way, and what follows from it, until only fetches that find nothing new go round."""
        quiet = 0
        while self.wires and quiet < 4 * len(BROKERS):
            before = self._seen()
            target, message = self.wires.popleft()
            if target in to:
                self._receive(target, message)
            quiet = quiet + 1 if self._seen() == before else 0

    def _seen(self):
        """Everything but the numbers of requests."""
        progress = [p.log_end_offset for s in self.states.values() for p in getattr(s, "followers", ())]
        return [s.local for s in self.states.values()], progress, len(self.proposals), len(self.acknowledged)

    def _receive(self, target, message):
        if isinstance(message, tuple):
            reply, batches = message
            match reply:
                case ev.FetchReply():
                    self.step(target, ev.Fetched(reply, batches))
                case ev.EpochEndReply():
                    self.step(target, ev.EpochEndAnswered(reply))
                case ev.OffsetsReply():
                    self.step(target, ev.OffsetsAnswered(reply))
        else:
            self.step(target, ev.Requested(message))

    def answer(self, code=Code.NONE):
        """Let the controller answer the oldest proposal; returns the assignment that holds then."""
        broker, proposal = self.proposals.pop(0)
        known = self.states[broker].assignment
        newer = None
        if code is Code.NONE:
            isr = tuple(member for member, _ in proposal.isr)
            newer = replace(known, isr=isr, partition_epoch=known.partition_epoch + 1, recovering=False)
        self.step(broker, ev.ProposalAnswered(code, proposal.leader_epoch, proposal.partition_epoch, newer))
        return newer


def assignment(leader=1, epoch=1, isr=(1, 2, 3), partition_epoch=0, **more):
    return Assignment(leader, epoch, partition_epoch, BROKERS, tuple(isr), **more)
