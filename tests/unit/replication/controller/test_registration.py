"""Registration, lives, sessions and shutdown: Kafka's ClusterControlManager and BrokerHeartbeatManager."""

from __future__ import annotations

import pytest

from kstore.replication.codes import Code
from kstore.replication.controller import commands as cmd
from kstore.replication.controller.cluster import BrokerChanged, PartitionChanged
from kstore.replication.controller.controller import activate
from kstore.replication.controller.registration import WHOLE_MAX
from support.clusters import Clusters, epochs


def register(clusters: Clusters, broker_id: int, incarnation: str, previous_epoch: int = -1) -> cmd.RegistrationAnswer:
    return clusters.do(cmd.RegisterBroker(broker_id, incarnation, None, previous_epoch))


# -- registration ------------------------------------------------------------------------------------------------


def test_every_new_life_has_a_higher_epoch():
    clusters = Clusters(brokers=2)
    assert clusters.epochs == {1: 0, 2: 1}
    clusters.fence(1)
    assert clusters.start(1) == 2
    clusters.do(cmd.UnregisterBroker(2))
    assert clusters.start(2) == 3, "also after its registration was forgotten"


def test_another_incarnation_is_refused_while_the_first_has_a_session():
    clusters = Clusters(brokers=1)
    clusters.now_ms = 9_000
    assert register(clusters, 1, "other").code is Code.DUPLICATE_BROKER_REGISTRATION
    clusters.now_ms = 9_001
    assert register(clusters, 1, "other") == cmd.RegistrationAnswer(Code.NONE, 1)


def test_another_incarnation_may_come_once_the_first_is_fenced_or_shutting_down():
    """KAFKA-19047 for the second."""
    clusters = Clusters(brokers=2)
    clusters.fence(1)
    assert register(clusters, 1, "other").code is Code.NONE
    clusters.topic(2)
    assert not clusters.beat(2, want_shut_down=True).should_shut_down
    assert register(clusters, 2, "other").code is Code.NONE
    assert not clusters.cluster.brokers[2].shutting_down
    assert clusters.cluster.brokers[2].fenced


def test_the_same_incarnation_keeps_its_epoch_and_how_it_stands():
    clusters = Clusters(brokers=1)
    clusters.topic(1)
    before = clusters.partition()
    reply = clusters.do(cmd.RegisterBroker(1, "1/1", "rack"))
    assert reply == cmd.RegistrationAnswer(Code.NONE, 0)
    assert clusters.cluster.brokers[1].is_active
    assert clusters.cluster.brokers[1].rack == "rack"
    assert clusters.partition() == before
    assert clusters.do(cmd.RegisterBroker(1, "1/1", "rack")) == reply
    assert clusters.changes == ()


def test_a_new_life_that_lost_nothing_stays_eligible_and_leads_again():
    """R7: fsync before ack, or a clean shutdown; the epoch of the last life says so (KIP-966)."""
    clusters = Clusters(brokers=1)
    clusters.topic(1)
    clusters.now_ms = 9_001
    clusters.start(1, previous_epoch=0)
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr) == (-1, (), (1,))
    clusters.beat(1)
    known = clusters.partition()
    assert (known.leader, known.isr, known.recovering) == (1, (1,), False)


@pytest.mark.parametrize("previous_epoch", [-1, 1, 7])
def test_a_new_life_that_may_have_lost_records_is_out_before_it_serves(previous_epoch):
    """KIP-966: it is in no ISR and no ELR. R6: it is not elected as if it were whole."""
    clusters = Clusters(brokers=2)
    clusters.topic(1)
    clusters.now_ms = 9_001
    clusters.beat(2)
    clusters.start(1, previous_epoch=previous_epoch)
    assert isinstance(clusters.changes[0], PartitionChanged), "first out of the ISR, then registered"
    assert (clusters.partition().isr, clusters.partition().elr) == ((), (1,))
    clusters.beat(1)
    assert [type(change) for change in clusters.changes] == [PartitionChanged, BrokerChanged], "out of the ELR first"
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr, known.last_known_elr) == (-1, (), (), (1,))


def test_an_unclean_start_leaves_the_elr_too():
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=3)
    clusters.fence(3)
    assert clusters.partition().elr == (3,)
    clusters.start(3, previous_epoch=clusters.epochs[3])
    assert clusters.partition().elr == (3,)
    clusters.start(3)
    assert clusters.partition().elr == (3,)
    clusters.beat(3)
    assert clusters.partition().elr == ()
    assert clusters.partition().isr == (1, 2)


def test_a_life_that_never_was_unfenced_costs_the_next_one_nothing():
    """Its process died before it had its answer, or was long dead when its registration came."""
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=3)
    clusters.fence(3)
    known = clusters.epochs[3]
    register(clusters, 3, "died before it had its answer", known)
    registered = register(clusters, 3, "has its answer", known).broker_epoch
    register(clusters, 3, "died long ago, its registration was on the way", known)
    assert clusters.partition().elr == (3,)
    register(clusters, 3, "knows only of itself", registered)
    assert clusters.partition().elr == (3,)


def test_a_registration_may_come_however_late():
    """Whatever it says: its process does not live to be unfenced."""
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=3)
    clusters.fence(3)
    first = clusters.epochs[3]
    clusters.start(3, previous_epoch=first)
    clusters.beat(3)
    clusters.fence(3)
    for incarnation, previous_epoch in (("first", -1), ("second", first), ("third", 7)):
        register(clusters, 3, incarnation, previous_epoch)
    clusters.start(3, previous_epoch=clusters.epochs[3])
    clusters.beat(3)
    assert clusters.partition().elr == (3,)


@pytest.mark.parametrize("previous", ["before the last that was unfenced", "none", "one that was not whole"])
def test_a_life_that_lacks_something_is_out(previous):
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=3)
    clusters.fence(3)
    first = clusters.epochs[3]
    clusters.start(3, previous_epoch=first)
    clusters.beat(3)
    clusters.fence(3)
    not_whole = register(clusters, 3, "with an empty disk").broker_epoch
    known = {"before the last that was unfenced": first, "none": -1, "one that was not whole": not_whole}
    clusters.start(3, previous_epoch=known[previous])
    clusters.beat(3)
    assert clusters.partition().elr == ()


def test_of_lives_that_never_were_unfenced_not_all_are_kept():
    clusters = Clusters()
    clusters.topic(1, 2, 3, min_isr=3)
    clusters.fence(3)
    first = clusters.epochs[3]
    for life in range(100):
        last = register(clusters, 3, f"crashes {life}", first if life % 2 else clusters.epochs[3]).broker_epoch
    whole = clusters.cluster.brokers[3].whole
    assert (whole[0], whole[-1], len(whole)) == (first, last, WHOLE_MAX + 1)
    clusters.start(3, previous_epoch=last)
    clusters.beat(3)
    assert clusters.partition().elr == (3,)
    assert clusters.cluster.brokers[3].whole == (clusters.epochs[3],)


def test_a_broker_that_was_forgotten_comes_back_as_a_stranger():
    clusters = Clusters(brokers=1)
    clusters.topic(1)
    clusters.do(cmd.UnregisterBroker(1))
    assert (clusters.partition().isr, clusters.partition().elr) == ((), ())
    assert clusters.do(cmd.UnregisterBroker(1)).code is Code.BROKER_ID_NOT_REGISTERED
    clusters.start(1, previous_epoch=0)
    clusters.beat(1)
    assert clusters.partition().leader == -1


# -- heartbeats and sessions -------------------------------------------------------------------------------------


def test_a_heartbeat_of_another_life_is_refused():
    clusters = Clusters(brokers=1)
    for broker_id, epoch in ((1, 1), (1, -1), (2, 0)):
        assert clusters.do(cmd.Heartbeat(broker_id, epoch)).code is Code.STALE_BROKER_EPOCH


def test_a_refused_heartbeat_keeps_no_session_alive():
    clusters = Clusters(brokers=1)
    clusters.now_ms = 9_001
    clusters.do(cmd.Heartbeat(1, 1))
    clusters.do(cmd.ExpireSessions())
    assert clusters.cluster.brokers[1].fenced


def test_a_broker_is_unfenced_once_it_has_seen_its_registration():
    clusters = Clusters(brokers=0)
    clusters.start(1)
    assert clusters.beat(1, caught_up=False) == cmd.HeartbeatAnswer(Code.NONE, fenced=True)
    assert clusters.beat(1, want_fence=True) == cmd.HeartbeatAnswer(Code.NONE, fenced=True)
    assert clusters.beat(1) == cmd.HeartbeatAnswer(Code.NONE, fenced=False)


def test_silence_fences_and_a_heartbeat_brings_back():
    clusters = Clusters()
    clusters.topic(1, 2, 3)
    clusters.now_ms = 5_000
    clusters.beat(2)
    assert clusters.state.next_expiry_ms() == 9_001
    clusters.now_ms = 9_000
    clusters.do(cmd.ExpireSessions())
    assert clusters.changes == ()
    clusters.now_ms = 9_001
    clusters.do(cmd.ExpireSessions())
    known = clusters.partition()
    assert (known.leader, known.isr) == (2, (2,))
    assert [b.fenced for b in clusters.cluster.brokers.values()] == [True, False, True]
    clusters.beat(1)
    assert clusters.partition() == known, "back, but the leader decides who is in sync"
    assert clusters.cluster.eligible() == ((1, 0), (2, 1))


def test_the_longest_silent_is_fenced_first_and_its_effect_is_seen():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2)
    clusters.now_ms = 10
    clusters.beat(1)
    clusters.now_ms = 20_000
    clusters.do(cmd.ExpireSessions())
    fenced = [c.broker_id for c in clusters.changes if isinstance(c, BrokerChanged)]
    assert fenced == [2, 1]
    assert clusters.partition().elr == (1,), "2 had left an ISR that was large enough"


def test_a_controller_that_takes_over_gives_everybody_a_session():
    clusters = Clusters(brokers=2)
    clusters.fence(2)
    clusters.now_ms = 100_000
    clusters.state = activate(clusters.standby, clusters.now_ms)
    assert clusters.state.next_expiry_ms() == 109_001
    clusters.do(cmd.ExpireSessions())
    assert clusters.changes == ()


# -- controlled shutdown -----------------------------------------------------------------------------------------


def test_controlled_shutdown_moves_the_leaders_then_lets_go():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2)
    assert clusters.beat(1, want_shut_down=True) == cmd.HeartbeatAnswer(Code.NONE, fenced=False)
    known = clusters.partition()
    assert (known.leader, known.isr, epochs(known)) == (2, (2,), (1, 1))
    assert clusters.cluster.eligible() == ((2, 1),)
    assert clusters.beat(1, want_shut_down=True) == cmd.HeartbeatAnswer(Code.NONE, fenced=True, should_shut_down=True)
    assert clusters.beat(1, want_shut_down=True) == cmd.HeartbeatAnswer(Code.NONE, fenced=True, should_shut_down=True)


def test_a_broker_that_leads_nothing_stops_at_once():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2)
    assert clusters.beat(2, want_shut_down=True).should_shut_down
    assert clusters.partition().isr == (1,)


def test_the_last_in_sync_that_shuts_down_is_eligible():
    clusters = Clusters(brokers=1)
    clusters.topic(1)
    clusters.beat(1, want_shut_down=True)
    known = clusters.partition()
    assert (known.leader, known.isr, known.elr, known.last_known_elr) == (-1, (), (1,), (1,))


def test_a_broker_that_shuts_down_cannot_be_in_sync_or_lead():
    clusters = Clusters(brokers=2)
    clusters.topic(1, 2)
    clusters.topic(2, 1, name="other")
    clusters.beat(1, want_shut_down=True)
    clusters.fence(2)
    assert clusters.partition().leader == -1
    assert clusters.partition("other").leader == -1


def test_fencing_ends_controlled_shutdown():
    clusters = Clusters(brokers=1)
    clusters.topic(1)
    clusters.beat(1, want_shut_down=True)
    clusters.now_ms = 20_000
    clusters.do(cmd.ExpireSessions())
    broker = clusters.cluster.brokers[1]
    assert (broker.fenced, broker.shutting_down) == (True, False)
