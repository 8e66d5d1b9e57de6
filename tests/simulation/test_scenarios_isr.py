"""R5 to R8 of the fault catalogue: who counts as in sync, and what nobody is left to vouch for.

Each scene names a rule that it stands for: without that rule in `kstore.replication` it fails.
"""

from __future__ import annotations

from kstore.replication.codes import Code
from kstore.replication.state import Sync
from kstore.testing.simulation.scene import NO_LEADER, Scene


def test_r5_nobody_joins_before_it_has_reached_the_start_of_the_leaders_epoch():
    """KAFKA-7128: the high watermark of a new leader may lag behind what is committed.

    Rule: `leader._expand` asks for `epoch_start_offset` too, not for the high watermark alone.
    """
    with Scene((1, 2, 3, 4)) as scene:
        scene.write(2)
        scene.kill(4)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 4 to be missed")
        scene.cut(4, 1)
        scene.start(4)
        scene.until(lambda: scene.lines("asks", 4, "b1 t1 fetch 2"), "broker 4 to be back, and to hear of nobody")
        last = scene.produce()
        scene.until(lambda: scene.end(2) == scene.end(3) == 3, "the last record on brokers 2 and 3")
        scene.cut(1, 2, 3, ways="out")
        scene.until(lambda: last.code == Code.NONE, "its acknowledgement")
        scene.kill(1)
        scene.cut(3, 2, ways="out")
        scene.cut(2, 4, ways="out")
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        leader = scene.replica(2)
        scene.until(lambda: leader.state.progress(4).log_end_offset == 2, "broker 4 to ask the new leader")
        assert (scene.mark(2), leader.state.epoch_start_offset, scene.end(4)) == (2, 3, 2), "at its high watermark"
        scene.run(1)
        assert (scene.isr, leader.state.proposal) == ((2, 3), None)
        scene.heal()
        scene.until(lambda: scene.isr == (2, 3, 4), "broker 4 in sync")
        assert scene.end(4) == 3
        scene.finish()


def test_r5_a_follower_joins_only_in_the_life_that_has_caught_up():
    """KAFKA-15221, KIP-903: INELIGIBLE_REPLICA (107) for one that has lost its disk since its last fetch.

    Rule: `alter._may_join` holds the broker epoch of the proposal against the one that is registered.
    """
    with Scene(proposal_timeout_ms=60_000) as scene:
        scene.write()
        scene.kill(3)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
        scene.write(2)
        for controller in scene.controllers:
            scene.clog(1, controller, 12)
        scene.start(3)
        scene.until(lambda: scene.lines("proposes", 1, "isr 1,2,3"), "broker 1 to propose it")
        assert scene.end(3) == 3
        scene.wipe(3)
        scene.heal()  # what broker 1 has said already is on its way still
        cut = scene.cut(3, 1)
        scene.until(lambda: not is_active(scene, 3), "broker 3 to be fenced")
        scene.start(3)
        scene.until(lambda: is_active(scene, 3), "broker 3 to be back")
        assert (scene.end(3), scene.isr) == (0, (1, 2))
        scene.until(lambda: fates(scene, "isr 1,2,3"), "the late proposal's fate")
        assert fates(scene, "isr 1,2,3") == ["ineligible replica"]
        assert scene.isr == (1, 2)
        scene.heal(cut)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync")
        assert scene.log(3) == scene.log(1)
        scene.finish()


def test_r5_a_fetch_from_a_life_that_is_over_makes_nobody_a_candidate():
    """KAFKA-15221: what is late from a dead process proposes nothing, and holds nothing up.

    Rule: `leader._is_eligible` compares broker epochs before the controller has to.
    """
    with Scene() as scene:
        scene.write()
        scene.kill(3)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
        scene.clog(3, 1, 9)
        scene.start(3)
        scene.until(lambda: "t1" in scene.node(3).replicas, "broker 3 to ask, in a life that ends before it is heard")
        late = scene.node(3).epoch
        scene.kill(3)
        scene.until(lambda: not is_active(scene, 3), "broker 3 to be fenced")
        scene.cut(3, 1)
        scene.start(3)
        scene.until(lambda: is_active(scene, 3), "broker 3 to be back")
        leader = scene.replica(1)
        scene.until(lambda: leader.state.progress(3).broker_epoch == late, "what its earlier life has asked")
        assert leader.state.progress(3).log_end_offset == scene.end(1), "and it has all of the log"
        scene.run(1)
        assert fates(scene, "isr 1,2,3") == []
        scene.heal()
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync")
        assert set(fates(scene, "isr 1,2,3")) == {"ok"}
        scene.finish()


def test_r5_a_fetch_from_a_life_that_is_over_takes_nothing_from_the_next():
    """KAFKA-15221: the new life's question waits at the leader when the old one's arrives at last.

    Rule: `leader._on_fetch` refuses a broker epoch below the one that it knows of.
    """
    with Scene() as scene:
        scene.write()
        scene.run(3)
        scene.clog(3, 1, 12)
        asked = scene.lines("asks", 3, "b1")[-1]
        scene.until(lambda: scene.lines("asks", 3, "b1")[-1] != asked, "a question that will be late")
        late = scene.lines("asks", 3, "b1")[-1].detail.rsplit("#")[1]
        scene.kill(3)
        scene.heal()
        scene.until(lambda: not is_active(scene, 3), "broker 3 to be fenced")
        scene.start(3)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 to be back")
        scene.until(lambda: scene.lines("answers", 1, f"#{late} "), "the late question")
        assert scene.lines("answers", 1, f"#{late} ")[0].detail.endswith("not leader or follower")
        began_us = scene.world.now_us
        scene.write()
        assert scene.world.now_us - began_us < 1e6, "broker 3's own question was answered at once"
        scene.finish()


def test_r5_a_leader_of_an_earlier_life_changes_no_isr():
    """KIP-903: STALE_BROKER_EPOCH (77) for a proposal that its sender's process did not outlive.

    Rule: `alter.refusal` asks first whether the sender is in its present life.
    """
    with Scene((1, 2), min_insync_replicas=1, proposal_timeout_ms=60_000) as scene:
        scene.write()
        scene.kill(2)
        for controller in scene.controllers:
            scene.clog(1, controller, 14)
        scene.write(acks=1)
        scene.until(lambda: scene.lines("proposes", 1, "isr 1 "), "broker 1 to give broker 2 up")
        scene.heal()
        scene.kill(1)
        scene.until(lambda: not (is_active(scene, 1) or is_active(scene, 2)), "both to be fenced")
        scene.start(1, 2)
        scene.until(lambda: scene.isr == (1, 2) and scene.leads(1), "both to be back")
        before = scene.assignment
        scene.until(lambda: fates(scene, "e0 v0 isr 1"), "the late proposal's fate")
        assert fates(scene, "e0 v0 isr 1") == ["stale broker epoch"]
        assert scene.assignment == before
        scene.finish()


def is_active(scene, broker):
    """Whether the controller takes a broker for alive."""
    return scene.cluster.control.image.is_active(broker)


def fates(scene, proposal):
    """What the controller answered to a proposal, each time that it came."""
    return [told.detail.split(": ")[1] for told in scene.lines("AlterPartition", containing=f"{proposal}: ")]


def test_r6_the_last_one_in_sync_that_comes_back_shorter_is_not_elected():
    """KIP-966: who was in sync before it and commits were still possible is eligible, and nobody else.

    Rules: `eligible.eligible` leaves out who may have `lost` records, `election.elect` whoever is in neither list.
    """
    with Scene() as scene:
        scene.write()
        scene.kill(3)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
        kept = scene.write(3)
        scene.kill(2)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        assert scene.assignment.elr == (2,), "nothing is committed without it"
        scene.wipe(1)
        scene.start(1, 3)
        scene.until(lambda: is_active(scene, 1), "broker 1 to be back")
        scene.until(lambda: is_active(scene, 3), "broker 3 to be back")
        assert [scene.end(broker) for broker in (1, 2, 3)] == [0, 4, 1]
        scene.run(8)
        assert (scene.leader, scene.isr, scene.assignment.elr) == (NO_LEADER, (), (2,)), "it waits rather than forgets"
        assert scene.elect() != Code.NONE
        scene.start(2)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        assert scene.end(2) == 1 + len(kept)
        assert scene.assignment.unclean_epoch < 0
        scene.finish()


def test_r6_without_anybody_eligible_an_operator_must_ask_for_an_unclean_election():
    """KIP-966: with min.insync.replicas=1 the last one in sync may know what nobody else does.

    Rule: `election.elect` takes no one from outside the lists; `Unclean.NEVER` leaves it at that.
    """
    with Scene(min_insync_replicas=1) as scene:
        scene.write()
        scene.kill(2, 3)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        scene.write(3)
        assert scene.assignment.elr == ()
        scene.wipe(1)
        scene.start(1, 2, 3)
        for broker in (1, 2, 3):
            scene.until(lambda broker=broker: is_active(scene, broker), f"broker {broker}")
        scene.run(8)
        assert (scene.leader, scene.isr, scene.assignment.elr) == (NO_LEADER, (), ())
        assert [scene.end(broker) for broker in (1, 2, 3)] == [0, 1, 1]
        assert scene.elect("unclean") == Code.NONE
        scene.until(lambda: scene.leader != NO_LEADER and scene.leads(scene.leader), "somebody to lead")
        assert scene.assignment.unclean_epoch == scene.assignment.leader_epoch
        scene.write()
        scene.finish()


def test_r6_who_comes_back_after_an_unclean_election_follows_it_below_its_own_high_watermark():
    """KAFKA-19474: never right otherwise, and here the only way to agree again.

    Rule: `follower._cut` allows it to a log that has not followed the unclean epoch yet.
    """
    with Scene(min_insync_replicas=1) as scene:
        scene.write()
        scene.kill(2, 3)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        scene.write(3)
        assert scene.mark(1) == 4
        scene.stop(1)
        scene.start(2)
        scene.until(lambda: is_active(scene, 2), "broker 2 to be back")
        assert scene.leader == NO_LEADER
        assert scene.elect("unclean") == Code.NONE
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        scene.write()
        assert scene.log(2) == [(0, 1, 0), (1, 2, scene.assignment.leader_epoch)]
        scene.start(1)
        scene.until(lambda: scene.lines("truncates", 1, "from 4 to 1"), "broker 1 to give its records up")
        scene.until(lambda: scene.log(1) == scene.log(2), "equal logs")
        scene.finish()


def test_r7_who_may_have_lost_unsynced_records_leaves_the_lists_before_it_may_lead():
    """NATS #7567: with `Sync.NONE` a power loss takes what its machine had acknowledged as a member.

    Rule: `registration.unfenced` lets a life that does not vouch for an earlier one depart as `lost`.
    """
    with Scene(sync=Sync.NONE) as scene:
        scene.write()
        scene.kill(2)
        scene.until(lambda: scene.isr == (1, 3), "broker 2 to be missed")
        scene.write(5)
        scene.lose_power(3)
        scene.cut(1, 2, 3)
        scene.until(lambda: scene.isr == (1,), "broker 3 to be missed")
        assert scene.assignment.elr == (3,), "the controller knows of no loss yet"
        scene.start(3)
        assert scene.end(3) < 6, "power took records that broker 3 was counted for"
        assert scene.leader == 1
        scene.until(lambda: scene.assignment.elr == (), "broker 3 to leave the list")
        assert (scene.leader, scene.isr) == (1, (1,))
        scene.start(2)
        scene.stop(1)  # cleanly, or it would have to say the same
        scene.run(8)
        assert (scene.leader, scene.assignment.elr) == (NO_LEADER, (1,))
        scene.heal()
        scene.start(1)
        scene.until(lambda: scene.leads(1), "broker 1 to lead again")
        assert scene.end(1) == 6
        scene.finish()


def test_r7_when_all_lose_power_at_once_nothing_acknowledged_is_lost():
    """The Redpanda fsync experiment, on ourselves: acks=all with the default `Sync.ALL`.

    Rules: `leading.own_offset` and `follower.is_synced` count what is on the medium, and nothing else.
    """
    lost = 0
    for seed in range(1, 9):
        with Scene(seed=seed) as scene:
            kept = scene.write(4, timeout_ms=10_000)
            for broker in (1, 2, 3):
                scene.slow_disk(broker, 2)
            waits = scene.produce(timeout_ms=60_000)
            scene.until(lambda scene=scene: scene.end(2) == scene.end(3) == 5, "the record in everybody's cache")
            assert waits.code is None, "nobody has it on its medium"
            scene.lose_power(1, 2, 3)
            scene.start(1, 2, 3)
            ends = [scene.end(broker) for broker in (1, 2, 3)]
            assert min(ends) >= len(kept)
            lost += sum(end < 5 for end in ends)
            scene.finish()
    assert lost, "power took nothing at all, of eight times three machines"


def test_r7_consumers_see_nothing_that_the_leaders_own_power_supply_can_take():
    """The high watermark promises as much as an acknowledgement does (I2), for which all members must have it.

    Rule: `leading.own_offset` counts the leader's own copy by what is on its medium.
    """
    with Scene() as scene:
        scene.write()
        scene.slow_disk(1, 60)
        waits = scene.produce(timeout_ms=60_000)
        leader = scene.replica(1)
        scene.until(lambda: leader.state.progress(2).log_end_offset == 2, "broker 2 to say that it has it")
        scene.until(lambda: leader.state.progress(3).log_end_offset == 2, "broker 3 to say that it has it")
        assert (waits.code, scene.mark(1), scene.fetch(1, 1).data) == (None, 1, b"")
        scene.lose_power(1)
        scene.start(1)
        scene.finish()


def test_r8_too_few_in_sync_refuse_before_they_append():
    """KIP-966: NOT_ENOUGH_REPLICAS (19), and what acks=1 stores all the same is committed by nobody.

    Rules: `leading.refusal` before the append; `leader._committed` stands still below min.insync.replicas.
    """
    with Scene() as scene:
        scene.write()
        scene.kill(2, 3)
        waits = scene.produce(timeout_ms=30_000)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        scene.until(lambda: scene.leads(1) and scene.replica(1).state.assignment.isr == (1,), "broker 1 to hear it")
        refused = scene.produce()
        scene.until(lambda: refused.code is not None, "the answer")
        assert (refused.code, scene.end(1)) == (Code.NOT_ENOUGH_REPLICAS, 2)
        scene.write(acks=1)
        scene.run(5)
        assert (scene.end(1), scene.mark(1), waits.code) == (3, 1, None)
        assert scene.fetch(1, 1).data == b""
        scene.start(2)
        scene.until(lambda: waits.code is not None, "enough replicas again")
        assert (waits.code, scene.mark(1)) == (Code.NONE, 3)
        scene.finish()


def test_r8_too_few_in_sync_say_so_after_an_append():
    """NOT_ENOUGH_REPLICAS_AFTER_APPEND (20): committed by a whole ISR, which is too small when the answer is due.

    Rule: `leader.settle` looks at the maximal ISR once more.
    """
    with Scene(sync=Sync.ACKS) as scene:
        scene.write()
        scene.slow_disk(1, 20)
        waits = scene.produce(timeout_ms=60_000)
        scene.until(lambda: scene.mark(1) == 2, "both followers to have it on their media")
        assert waits.code is None, "the leader has it in its cache"
        scene.kill(2, 3)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        assert waits.code is None
        scene.until(lambda: waits.code is not None, "the leader's fsync", within_s=30)
        assert waits.code == Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        scene.start(2, 3)
        scene.finish()
