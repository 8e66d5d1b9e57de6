"""Three machines together: the ordinary life of a partition, and the changes of roles."""

from __future__ import annotations

import pytest

from kstore.replication import events as ev
from kstore.replication.codes import Code
from kstore.replication.follower import Follower
from kstore.replication.leading import Leader
from kstore.replication.state import Rules, Sync
from support.replicas import BROKERS, Replicas, assignment


@pytest.mark.parametrize("sync", list(Sync))
@pytest.mark.parametrize("truncate_on_fetch", [True, False])
def test_an_append_is_acknowledged_once_all_in_sync_have_it(sync, truncate_on_fetch):
    replicas = Replicas(Rules(sync=sync, truncate_on_fetch=truncate_on_fetch))
    replicas.assign(assignment())
    token = replicas.produce(1, 3)
    assert replicas.acknowledged == []
    replicas.deliver()
    assert replicas.acknowledged == [(token, Code.NONE)]
    assert {s.local.high_watermark for s in replicas.states.values()} == {3}
    assert replicas.histories[1] == replicas.histories[2] == replicas.histories[3]


def test_acks_one_is_acknowledged_at_once_and_committed_later():
    replicas = Replicas()
    replicas.assign(assignment())
    token = replicas.produce(1, acks=1)
    assert replicas.acknowledged == [(token, Code.NONE)]
    assert replicas.states[1].local.high_watermark == 0


def test_roles_change_with_the_term_and_owed_answers_are_given():
    replicas = Replicas()
    replicas.assign(assignment())
    token = replicas.produce(1)
    assert isinstance(replicas.states[1], Leader)
    replicas.assign(assignment(leader=2, epoch=2, partition_epoch=1))
    assert replicas.acknowledged == [(token, Code.NOT_LEADER_OR_FOLLOWER)]
    assert isinstance(replicas.states[1], Follower)
    assert isinstance(replicas.states[2], Leader)


def test_a_tail_that_the_new_leader_never_had_is_cut():
    replicas = Replicas()
    replicas.assign(assignment())
    replicas.produce(1, 2)
    replicas.deliver()
    replicas.wires.clear()
    replicas.produce(1, 5)  # nobody fetches it
    replicas.assign(assignment(leader=2, epoch=2, partition_epoch=1))
    replicas.produce(2, 1)
    replicas.deliver()
    assert [s.local.log_end_offset for s in replicas.states.values()] == [3, 3, 3]
    assert replicas.histories[1] == replicas.histories[2] == replicas.histories[3]
    assert replicas.histories[1][-1].epoch == 2


@pytest.mark.parametrize("older", [assignment(epoch=1, partition_epoch=9), assignment(epoch=2, partition_epoch=4)])
def test_metadata_from_the_past_changes_nothing(older):
    replicas = Replicas()
    replicas.assign(assignment(leader=2, epoch=2, partition_epoch=4))
    before = dict(replicas.states)
    replicas.assign(older)
    assert replicas.states == before


def test_a_lagging_follower_leaves_the_isr_and_returns():
    replicas = Replicas()
    replicas.assign(assignment())
    token = replicas.produce(1)
    replicas.deliver(to=(1, 2))
    replicas.now_ms += 30_001
    replicas.step(1, ev.Ticked())
    assert replicas.proposals[0][1].isr == ((1, 11), (2, 12))
    smaller = replicas.answer()
    assert (token, Code.REQUEST_TIMED_OUT) in replicas.acknowledged
    assert replicas.states[1].local.high_watermark == 1
    replicas.assign(smaller)
    replicas.step(3, ev.Ticked())  # its fetch was lost: it asks again
    replicas.deliver()
    assert replicas.proposals[0][1].isr == ((1, 11), (2, 12), (3, 13))
    replicas.answer()
    assert replicas.states[1].assignment.isr == BROKERS
