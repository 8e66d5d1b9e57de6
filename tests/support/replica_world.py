"""Three replicas of one partition on three directories, in one thread: what they say waits until a test delivers it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from kstore.config import StoreConfig
from kstore.log.disk import OsDisk
from kstore.replica import Replica
from kstore.replication.codes import Code
from kstore.replication.events import ProposalAnswered
from kstore.replication.state import Assignment, Rules
from kstore.store import Store

BROKERS = (1, 2, 3)
TOPIC = "t"


class World:
    """The surroundings of all three; the controller is the test."""

    def __init__(self, tmp_path, rules=None, config=None, disks=None):
        self.now_ms = 1_000
        self.rules = rules or Rules()
        self.under_way = deque()
        self.acknowledged = {}
        self.resigned = []
        self.proposals = deque()
        self.stores, self.replicas = {}, {}
        self.paths = {b: str(tmp_path / f"broker-{b}") for b in BROKERS}
        self.config = config or {}
        self.disks = disks or {b: OsDisk() for b in BROKERS}
        for broker in BROKERS:
            self.start(broker, broker_epoch=10 + broker)

    def start(self, broker, broker_epoch):
        store = Store(
            self.paths[broker], StoreConfig(), self.disks[broker], lambda: self.now_ms, background=False
        )
        if TOPIC not in store.topics():
            store.create_topic(TOPIC, 1, config=self.config, topic_id="AAAAAAAAAAAAAAAAAAAAAg")
        self.stores[broker] = store
        self.replicas[broker] = Replica(
            store.partition(TOPIC, 0),
            self,
            broker_id=broker,
            broker_epoch=broker_epoch,
            rules=self.rules,
            high_watermark=store.high_watermark(TOPIC, 0),
        )
        self.replicas[broker].brokers_changed(tuple((b, 10 + b) for b in BROKERS), self.now_ms)

    def close(self):
        for store in self.stores.values():
            store.close()

    # -- Surroundings --

    def send_request(self, replica, to, request):
        self.under_way.append((to, lambda target: target.on_request(request, self.now_ms)))

    def send_reply(self, replica, to, reply, data):
        copy = bytes(data)
        self.under_way.append((to, lambda target: target.on_reply(reply, copy, self.now_ms)))

    def propose(self, replica, proposal):
        self.proposals.append((replica.state.id, proposal))

    def resign(self, replica, resignation):
        self.resigned.append((replica.state.id, resignation))

    def request_sync(self, replica):
        self.under_way.append((replica.state.id, lambda target: target.sync(self.now_ms)))

    def acknowledge(self, replica, token, code):
        self.acknowledged[replica.state.id, token] = code

    # -- what a test says --

    def assign(self, assignment, to=BROKERS):
        for broker in to:
            self.replicas[broker].assign(assignment, self.now_ms)

    def deliver(self, to=BROKERS):
        """Everything that is under way, and what follows from it, until nobody has anything to say."""
        while self.under_way:
            broker, call = self.under_way.popleft()
            if broker in to:
                call(self.replicas[broker])

    def answer(self):
        broker, proposal = self.proposals.popleft()
        replica = self.replicas[broker]
        known = replica.state.assignment
        isr = tuple(member for member, _ in proposal.isr)
        newer = replace(known, isr=isr, partition_epoch=known.partition_epoch + 1, recovering=False)
        answer = ProposalAnswered(Code.NONE, proposal.leader_epoch, proposal.partition_epoch, newer)
        replica.on_proposal_answered(answer, self.now_ms)
        return newer

    def values(self, broker):
        partition = self.replicas[broker].partition
        return [r.value for r in partition.read_replica(partition.log_start_offset)]

    def logs(self):
        """The bytes of every replica's log."""
        return [
            b"".join(bytes(s.read(0, s.size_bytes)) for s in r.partition.segments) for r in self.replicas.values()
        ]


def assignment(leader=1, epoch=1, isr=BROKERS, partition_epoch=0, **more):
    return Assignment(leader, epoch, partition_epoch, BROKERS, tuple(isr), **more)

