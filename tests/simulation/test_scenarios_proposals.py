"""Proposals and their answers, late, lost and out of order: the ISR that a leader knows of may not be the one there is.

R3 and R5 of the fault catalogue, where seeds seldom meet them. Each scene names a rule: without it, it fails.
"""

from __future__ import annotations

from kstore.replication.codes import Code
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.scene import Scene


def fates(scene, proposal):
    """What the controller answered to a proposal, each time that it came."""
    return [told.detail.split(": ")[1] for told in scene.lines("AlterPartition", containing=f"{proposal}: ")]


def is_active(scene, broker):
    """Whether the controller takes a broker for alive."""
    return scene.cluster.control.image.is_active(broker)


def without(scene, broker):
    """Leave a follower behind that goes on telling the controller that it lives; a number for `heal`."""
    cut = scene.cut(broker, 1)
    scene.write(acks=1, to=1)
    scene.until(lambda: broker not in scene.isr, f"broker {broker} to be given up")
    return cut


def test_r5_who_was_proposed_counts_until_the_answer_is_known():
    """KAFKA-13207: the controller may have taken a proposal of which the leader has had no answer.

    Rule: `leader._committed` waits for the maximal ISR, not for the ISR that the leader knows of.
    """
    with Scene() as scene:
        scene.write()
        scene.heal(without(scene, 3))
        scene.until(lambda: scene.lines("proposes", 1, "isr 1,2,3"), "broker 1 to propose it")
        scene.cut(1, *scene.controllers, ways="in")
        scene.until(lambda: scene.isr == (1, 2, 3), "the controller to take broker 3 in")
        leader = scene.replica(1)
        assert (leader.state.assignment.isr, leader.state.maximal_isr) == ((1, 2), {1, 2, 3}), "broker 1 has not heard"
        scene.cut(3, 1)
        waits = scene.produce(timeout_ms=20_000)
        scene.until(lambda: leader.state.progress(2).log_end_offset == 3, "broker 2 to have the record")
        lag_ms = scene.options.rules.lag_time_max_ms
        scene.run(lag_ms / 1000 + 1)
        assert not leader.state.progress(3).is_caught_up(3, scene.node(1).now_ms, lag_ms)
        assert (waits.code, scene.mark(1), scene.isr) == (None, 2, (1, 2, 3))
        scene.heal()
        scene.until(lambda: waits.code is not None, "the acknowledgement")
        assert waits.code == Code.NONE
        scene.finish()


def test_r5_a_copy_of_a_refused_proposal_changes_nothing_when_it_comes():
    """KIP-497, KIP-841: refused while the broker was fenced, it would be taken now that it is not.

    Rules: `leader._withdraw` voids what was refused; `alter.refusal` takes nothing on an older partition epoch, and
    `alter._may_join` nobody who is fenced.
    """
    with Scene(proposal_timeout_ms=500) as scene:
        scene.write()
        cut = without(scene, 3)
        unheard = scene.cut(1, *scene.controllers, ways="in")
        fenced = scene.cut(3, *scene.controllers)
        scene.until(lambda: not is_active(scene, 3), "broker 3 to be fenced, which broker 1 does not hear")
        scene.heal(cut)
        scene.until(lambda: scene.lines("proposes", 1, "isr 1,2,3"), "broker 1 to propose it")
        scene.heal(unheard)
        scene.cut(3, 1)
        for controller in scene.controllers:
            scene.clog(controller, 1, 0.8)  # for its answer
            scene.clog(1, controller, 12)  # for the copy: the proposal itself is under way
        copies = len(scene.lines("proposes", 1, "isr 1,2,3"))
        scene.until(lambda: len(scene.lines("proposes", 1, "isr 1,2,3")) > copies, "a copy of it")
        for controller in scene.controllers:
            scene.clog(1, controller, 0)
        assert fates(scene, "isr 1,2,3") == ["ineligible replica"], "the copy is still to come"
        scene.run(scene.options.rules.lag_time_max_ms / 1000)
        scene.heal(fenced)
        scene.until(lambda: is_active(scene, 3), "broker 3 to be back, in the same life")
        (kept,) = scene.write()
        assert scene.end(3) == 2 == kept.offset, "which broker 3 lacks"
        scene.until(lambda: len(fates(scene, "isr 1,2,3")) == 2, "the copy to come")
        assert fates(scene, "isr 1,2,3")[1] == "invalid update version"
        assert scene.isr == (1, 2)
        scene.heal()
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync")
        scene.finish()


def test_r5_an_answer_to_an_older_proposal_settles_no_newer_one():
    """KAFKA-13207: the newer one is lost, and must be sent again whatever comes for the older.

    Rule: `leader._on_proposal_answered` compares partition epochs.
    """
    with Scene(options=Options(session_timeout_ms=60_000), proposal_timeout_ms=500) as scene:
        scene.write()
        scene.cut(1, *scene.controllers, ways="in")
        scene.cut(3, 1)
        scene.write(acks=1, to=1)
        scene.until(lambda: scene.isr == (1, 2), "broker 3 to be given up, which broker 1 does not hear")
        for controller in scene.controllers:
            scene.clog(1, controller, 14)
        copies = len(scene.lines("proposes", 1, "isr 1,2 on v0"))
        scene.until(lambda: len(scene.lines("proposes", 1, "isr 1,2 on v0")) > copies, "a copy of the proposal")
        scene.heal()
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync again")
        cut = scene.cut(3, 1)
        scene.write(acks=1, to=1)
        dumb = scene.cut(1, *scene.controllers, ways="out")
        scene.until(lambda: scene.lines("proposes", 1, "isr 1,2 on v2"), "broker 3 to be given up once more, unheard")
        taken = len(fates(scene, "e0 v0 isr 1,2"))
        scene.until(lambda: len(fates(scene, "e0 v0 isr 1,2")) > taken, "the copy to come", within_s=20)
        assert fates(scene, "e0 v0 isr 1,2")[-1] == "invalid update version"
        scene.run(1)
        assert scene.isr == (1, 2, 3)
        scene.heal(dumb)
        scene.until(lambda: scene.isr == (1, 2), "broker 1 to ask again")
        scene.heal(cut)
        scene.finish()


def test_r3_metadata_that_is_older_than_an_answer_takes_nothing_back(monkeypatch):
    """KAFKA-9144's kin: what a leader has heard in answers is newer than what its broker hears of all.

    Rule: `machine._on_assigned` goes by leader epoch and partition epoch.
    """
    with Scene() as scene:
        scene.write()
        control, node = scene.cluster.control, scene.node(1)
        push = control.push
        monkeypatch.setattr(control, "push", lambda name: None if name == "b1" else push(name))
        scene.heal(without(scene, 3))
        without_it = control.index
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 3 in sync again")
        leader = scene.replica(1)
        scene.until(lambda: leader.state.assignment.isr == (1, 2, 3), "broker 1 to have its answer")
        assert node.index < without_it < control.index, "and to know of neither change otherwise"
        scene.cut(3, 1)
        node.on_metadata(without_it)
        waits = scene.produce(timeout_ms=20_000)
        scene.until(lambda: leader.state.progress(2).log_end_offset == 3, "broker 2 to have the record")
        assert leader.state.assignment.isr == (1, 2, 3), "broker 3 counts, and lacks it"
        assert (waits.code, scene.mark(1)) == (None, 2)
        monkeypatch.undo()
        scene.heal()
        scene.until(lambda: waits.code is not None, "the acknowledgement")
        scene.finish()
