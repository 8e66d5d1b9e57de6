"""A controller under test: commands go in, and after each one its changes are replayed on a second copy.

So every test that drives a controller shows that a failover would lead to the same cluster, and that nothing was
changed by a refused command.
"""

from __future__ import annotations

from typing import Any

from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller import invariants, machine
from kstore.replication.controller.cluster import Changes, Cluster, TopicRules, Unclean, apply
from kstore.replication.controller.controller import Controller
from kstore.replication.state import Assignment

TOPIC = "t"


class Clusters:
    """The active controller, its standby, and the epochs that brokers were given."""

    checked = True

    def __init__(self, brokers: int = 3, racks: tuple[str | None, ...] = (None,)) -> None:
        self.state = Controller()
        self.standby = Cluster()
        self.now_ms = 0
        self.epochs: dict[int, int] = {}
        self.lives: dict[int, int] = {}
        self.changes: Changes = ()
        for broker_id in range(1, brokers + 1):
            self.start(broker_id, rack=racks[(broker_id - 1) % len(racks)])
            self.beat(broker_id)

    @property
    def cluster(self) -> Cluster:
        return self.state.cluster

    def do(self, command: cmd.Command) -> Any:
        before = self.state
        self.state, reply, self.changes = machine.step(before, command, self.now_ms)
        self.standby = apply(self.standby, self.changes)
        if not self.checked:
            return reply
        assert self.standby == self.cluster
        assert hash(self.standby) == hash(self.cluster)
        assert self.changes or self.cluster is before.cluster
        invariants.check_cluster(self.cluster)
        return reply

    def start(self, broker_id: int, previous_epoch: int = -1, rack: str | None = None) -> int:
        """A new life of a broker; fenced until it beats."""
        self.lives[broker_id] = self.lives.get(broker_id, 0) + 1
        command = cmd.RegisterBroker(broker_id, f"{broker_id}/{self.lives[broker_id]}", rack, previous_epoch)
        reply = self.do(command)
        assert reply.code is Code.NONE
        self.epochs[broker_id] = reply.broker_epoch
        return int(reply.broker_epoch)

    def beat(self, broker_id: int, **wants: bool) -> Any:
        return self.do(cmd.Heartbeat(broker_id, self.epochs[broker_id], **wants))

    def fence(self, *broker_ids: int) -> None:
        for broker_id in broker_ids:
            assert self.beat(broker_id, want_fence=True).fenced

    def topic(self, *replicas: int, min_isr: int = 1, unclean: Unclean = Unclean.NEVER, name: str = TOPIC) -> None:
        rules = TopicRules(min_isr, unclean)
        assert self.do(cmd.CreateTopic(name, rules=rules, assignments=(replicas,))).code is Code.NONE

    def partition(self, topic: str = TOPIC, index: int = 0) -> Assignment:
        return self.cluster.partitions[topic, index]

    def proposal(self, *isr: int, **other: Any) -> cmd.AlterPartition:
        """What the present leader would propose."""
        known = self.partition()
        fields: dict[str, Any] = {
            "broker_id": known.leader,
            "broker_epoch": self.epochs.get(known.leader, -1),
            "topic": TOPIC,
            "index": 0,
            "leader_epoch": known.leader_epoch,
            "partition_epoch": known.partition_epoch,
            "isr": tuple((member, self.epochs.get(member, -1)) for member in isr),
        }
        return cmd.AlterPartition(**{**fields, **other})

    def propose(self, *isr: int, **other: Any) -> Any:
        return self.do(self.proposal(*isr, **other))


def epochs(assignment: Assignment) -> tuple[int, int]:
    """(leader epoch, partition epoch)."""
    return assignment.leader_epoch, assignment.partition_epoch
