"""One replica at a time, as a bare machine: put into a role, told what happens, asked what it wants.

Broker n lives in broker epoch 10 + n, replica 1 leads unless a test says otherwise, and the time stands still unless a
test moves it. Nothing is performed: a test reads the effects and says what came of them by the next event.
"""

from __future__ import annotations

from dataclasses import replace

from kstore.lineage import EpochEntry
from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication import machine
from kstore.replication.codes import Code
from kstore.replication.follower import Follower
from kstore.replication.leading import Leader
from kstore.replication.state import BatchInfo, Local, Rules, Sync
from support.replicas import BROKERS, assignment

ELIGIBLE = tuple((b, 10 + b) for b in BROKERS)
NOW_MS = 1_000


def lineage(*pairs):
    return tuple(EpochEntry(*pair) for pair in pairs)


def local(end=0, mark=0, epochs=((1, 0),), start=0, durable=None, **more):
    """A log; whole and durable unless said otherwise."""
    epochs = lineage(*epochs) if end else ()
    return Local(start, end, end if durable is None else durable, mark, epochs, **more)


class Role:
    """A machine, its time, and the effects of the last event."""

    def __init__(self, broker=1, rules=None, log=None, given=None, eligible=ELIGIBLE, now_ms=NOW_MS):
        self.now_ms = now_ms
        self.tokens = 0
        self.numbers = dict.fromkeys(BROKERS, 0)
        self.state = machine.start(broker, 10 + broker, rules or Rules(), log or Local())
        self.effects = ()
        self.tell(ev.BrokersChanged(eligible))
        self.tell(ev.Assigned(given or assignment(epoch=5)))

    def tell(self, event, after_ms=0):
        """What `event` makes the machine ask for."""
        self.now_ms += after_ms
        self.state, self.effects = machine.step(self.state, event, self.now_ms)
        return self.effects

    def asked(self, kind):
        """The effects of one kind that the last event had."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def ignores(self, event, after_ms=0):
        """Whether an event changes nothing and asks for nothing."""
        before = self.state
        return self.tell(event, after_ms) == () and self.state == before

    @property
    def local(self):
        return self.state.local

    @property
    def mark(self):
        return self.state.local.high_watermark

    @property
    def acknowledged(self):
        """Tokens and codes that the last event had answered."""
        return [(effect.token, effect.code) for effect in self.asked(do.Acknowledge)]


class Leading(Role):
    """Replica 1 as the leader of epoch 5, its log empty unless a test says otherwise."""

    state: Leader

    def append(self, count=1, acks=-1, timeout_ms=5_000, synced=True):
        """Append and, with it, fsync; the token."""
        self.tokens += 1
        end = self.local.log_end_offset
        appended = ev.Appended(self.tokens, end, end + count, acks, self.now_ms + timeout_ms)
        effects = self.tell(appended)
        if synced and self.asked(do.RequestSync):
            self.tell(ev.Synced(end + count))
            self.effects = effects + self.effects
        return self.tokens

    def request(self, follower, offset, **more):
        """A fetch of a follower that has everything below `offset` and agrees with this leader on it."""
        self.numbers[follower] += 1
        given = {
            "follower": follower,
            "broker_epoch": 10 + follower,
            "number": self.numbers[follower],
            "leader_epoch": self.state.assignment.leader_epoch,
            "offset": offset,
            "last_fetched_epoch": -1,
            "log_start_offset": 0,
        }
        return ev.FetchRequest(**(given | more))

    def fetch(self, follower, offset, after_ms=0, **more):
        """Let a follower fetch; what it is answered."""
        self.tell(ev.Requested(self.request(follower, offset, **more)), after_ms)
        (sent,) = self.asked(do.SendReply)
        assert sent.to == follower
        return sent.reply

    def answer(self, code=Code.NONE, newer=None):
        """Let the controller answer the proposal under way, by doing what it asks where `code` is NONE."""
        proposal, known = self.state.proposal, self.state.assignment
        if code is Code.NONE and newer is None:
            newer = replace(known, isr=proposal.members, partition_epoch=known.partition_epoch + 1, recovering=False)
        return self.tell(ev.ProposalAnswered(code, known.leader_epoch, proposal.partition_epoch, newer))


class Following(Role):
    """Replica 2, which follows replica 1 in epoch 5."""

    state: Follower

    def __init__(self, log=None, rules=None, given=None, **more):
        super().__init__(2, rules, log, given, **more)

    @property
    def request(self):
        """What the last event had it ask its leader."""
        (sent,) = self.asked(do.SendRequest)
        return sent.request

    def fetched(self, *batches, corrupt=False, number=None, code=Code.NONE, mark=-1, start=0, parts=(-1, -1)):
        """Let the leader answer the fetch under way; a batch is (base, next, epoch)."""
        number = self.state.number if number is None else number
        reply = ev.FetchReply(1, number, code, mark, start, *parts)
        return self.tell(ev.Fetched(reply, tuple(BatchInfo(*batch) for batch in batches), corrupt))

    def told_end(self, epoch, end, code=Code.NONE):
        """Let the leader answer where an epoch ends."""
        return self.tell(ev.EpochEndAnswered(ev.EpochEndReply(1, self.state.number, code, epoch, end)))

    def told_offsets(self, start, end, code=Code.NONE):
        """Let the leader answer where its log lies."""
        return self.tell(ev.OffsetsAnswered(ev.OffsetsReply(1, self.state.number, code, start, end)))


def unsynced():
    """Kafka's own rules: nothing waits for an fsync."""
    return Rules(sync=Sync.NONE)
