"""The shipped leader and follower machines under the shipped controller: what one asks, the other understands."""

from __future__ import annotations

import pytest

from kstore.replication import effects as do
from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.controller import messages
from kstore.replication.controller.cluster import Cluster
from kstore.replication.controller.controller import Controller
from kstore.replication.leading import Leader
from kstore.replication.state import Rules
from support.clusters import TOPIC, Clusters
from support.replicas import Replicas

KEY = TOPIC, 0


class Both:
    """Three replicas and their controller; what the controller changes is heard by `reach` at once."""

    def __init__(self, min_isr: int = 2) -> None:
        self.replicas = Replicas(Rules(min_insync_replicas=min_isr))
        self.clusters = Clusters(brokers=0)
        self.clusters.state = Controller(Cluster(next_broker_epoch=11))  # as `Replicas` numbers its brokers
        self.clusters.standby = self.clusters.cluster
        for broker_id in (1, 2, 3):
            self.clusters.start(broker_id)
            self.clusters.beat(broker_id)
        self.clusters.topic(1, 2, 3, min_isr=min_isr)
        self.tell()

    def tell(self, *reach: int) -> None:
        for broker_id in reach or (1, 2, 3):
            self.replicas.step(broker_id, messages.brokers_changed(self.clusters.cluster))
            self.replicas.step(broker_id, ev.Assigned(self.clusters.partition()))

    def settle(self, *reach: int) -> None:
        """Deliver everything between `reach`, proposals too."""
        reach = reach or (1, 2, 3)
        while True:
            self.replicas.deliver(reach)
            asked = [(b, p) for b, p in self.replicas.proposals if b in reach]
            self.replicas.proposals.clear()
            if not asked:
                return
            for broker_id, effect in asked:
                sender = broker_id, self.clusters.epochs[broker_id]
                reply = self.clusters.do(messages.alter_partition(sender, KEY, effect))
                self.replicas.step(broker_id, messages.answered(reply))
            self.tell(*reach)

    def late(self) -> None:
        """More than the lag limit passes."""
        self.replicas.now_ms += 30_001
        for broker_id in (1, 2, 3):
            self.replicas.step(broker_id, ev.Ticked())


def test_a_follower_that_lags_leaves_and_returns():
    both = Both()
    both.replicas.produce(1)
    both.settle(1, 2)
    both.late()
    both.settle(1, 2)
    assert both.clusters.partition().isr == (1, 2)
    assert isinstance(both.replicas.states[1], Leader)
    assert both.replicas.states[1].local.high_watermark == 1
    both.tell()
    both.late()
    both.settle()
    assert both.clusters.partition().isr == (1, 2, 3)
    assert both.replicas.states[1].assignment == both.clusters.partition()


def test_the_eligible_replica_leads_with_everything_committed():
    """R6: the ISR shrinks below the minimum; what is not committed may go, what is may not."""
    both = Both()
    first = both.replicas.produce(1)
    both.settle()
    assert both.replicas.acknowledged == [(first, Code.NONE)]
    both.clusters.fence(3, 2)
    both.tell(1)
    assert (both.clusters.partition().isr, both.clusters.partition().elr) == ((1,), (2,))
    both.replicas.produce(1, acks=1)
    both.settle(1)
    assert both.replicas.states[1].local.high_watermark == 1, "strict min ISR"
    both.clusters.fence(1)
    both.clusters.beat(2)
    both.clusters.beat(3)
    both.tell()
    both.settle()
    known = both.clusters.partition()
    assert (known.leader, known.isr, known.recovering) == (2, (2, 3), False)
    assert both.replicas.histories[2] == both.replicas.histories[3]
    assert both.replicas.states[2].local.high_watermark == 1


def test_a_damaged_leader_gives_its_partition_away():
    both = Both()
    both.replicas.produce(1, 2)
    both.settle()
    effects = both.replicas.step(1, ev.Damaged(0))
    (resign,) = [effect for effect in effects if isinstance(effect, do.Resign)]
    command = messages.resign_leader((1, both.clusters.epochs[1]), KEY, resign)
    assert both.clusters.do(command).code is Code.NONE
    both.tell()
    known = both.clusters.partition()
    assert (known.leader, known.isr, known.leader_epoch) == (2, (2, 3), 1)
    assert isinstance(both.replicas.states[2], Leader)


@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_answer_is_asked_for_again(lost):
    both = Both()
    both.replicas.produce(1)
    both.settle(1, 2)
    both.late()
    broker_id, effect = both.replicas.proposals.pop(0)
    command = messages.alter_partition((broker_id, 11), KEY, effect)
    reply = both.clusters.do(command)
    if lost:
        both.replicas.now_ms += both.replicas.rules.proposal_timeout_ms
        both.replicas.step(1, ev.Ticked())
        _, again = both.replicas.proposals.pop(0)
        assert again == effect
        reply = both.clusters.do(messages.alter_partition((broker_id, 11), KEY, again))
    both.replicas.step(1, messages.answered(reply))
    assert both.replicas.states[1].assignment.isr == (1, 2)
    assert both.replicas.states[1].proposal is None
