"""What the judge must not call broken: it knows what no replication could have kept, and what a log's owner gave up.

That it does notice what is broken, the scenarios, the planted bugs and the random runs show.
"""

from __future__ import annotations

import errno

from kstore.replication.codes import Code
from kstore.replication.controller.cluster import Unclean
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.scene import Scene

LAST_OFFSET_AT = 23
"""Where a batch has the offset of its last record, as a delta (docs/FORMAT.md)."""


def test_a_registration_from_before_a_loss_does_not_vouch_for_the_disk() -> None:
    """It was on the way when the machine burned; what counts is that the controller hears of a life after that."""
    with Scene((1, 2, 3)) as scene:
        scene.write(3)
        scene.kill(3)
        scene.start(3)
        for controller in scene.controllers:
            scene.clog(3, controller, 8)
        scene.run(3)
        late = scene.node(3).incarnation
        scene.wipe(3)
        scene.until(
            lambda: any("ok" in told.detail for told in scene.lines("RegisterBroker", containing=late)),
            "the registration of the dead life to be taken",
        )
        scene.start(3)
        scene.finish()


def test_an_unclean_leader_brings_its_own_high_watermark() -> None:
    """An empty log was elected before, so that nothing counted as committed any more; then a full one was."""
    with Scene((1, 2, 3), options=Options(unclean=Unclean.ANY), min_insync_replicas=1) as scene:
        scene.write(3)
        scene.stop(2)
        scene.wipe(3)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        scene.wipe(1)
        scene.start(1)
        scene.until(lambda: scene.leads(1), "the empty broker 1 to lead")
        scene.kill(1)
        scene.start(2)
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        assert (scene.end(2), scene.mark(2)) == (3, 3)
        scene.start(3)
        scene.until(lambda: scene.end(3) == 3 and scene.mark(3) == 3, "broker 3 to follow")
        scene.finish()


def test_what_a_leader_acknowledges_after_it_was_given_up_need_not_be_kept() -> None:
    with Scene((1, 2), options=Options(unclean=Unclean.ANY), min_insync_replicas=1) as scene:
        scene.write()
        scene.kill(2)
        scene.until(lambda: scene.isr == (1,), "broker 1 to be alone")
        scene.cut(1, *scene.others(1))
        scene.start(2)
        scene.until(lambda: scene.leads(2), "broker 2 to lead uncleanly")
        assert scene.leads(1) is False
        lost = scene.produce(to=1)
        scene.until(lambda: lost.code is not None, "broker 1's answer")
        assert lost.code == Code.NONE, "it does not know of any other leader"
        scene.write()
        scene.finish()


def test_a_truncation_that_fails_on_the_way_may_be_found_done() -> None:
    with Scene((1, 2, 3)) as scene:
        scene.write()
        scene.cut(1, *scene.others(1))
        scene.produce(acks=1)
        scene.until(lambda: scene.end(1) == 2, "a record that only broker 1 has")
        scene.until(lambda: scene.leads(2), "broker 2 to lead")
        scene.node(1).disk.faults.plant(errno.EIO, kinds={"unlink"}, path_ends=(".index",))
        scene.heal()
        scene.until(lambda: not scene.node(1).running, "broker 1 to give up")
        assert scene.lines("disk failed", 1, "truncate")
        scene.finish()


def test_a_rotten_header_of_a_leader_hides_nothing_behind_it() -> None:
    """Its claim on offsets is not believed: what the leader commits behind it is committed."""
    with Scene((1, 2, 3), options=Options(segment_bytes=1500)) as scene:
        scene.write(40)
        assert len(scene.replica(2).partition.log.view.segments) > 1, "a recovery does not look at the first one"
        segment = scene.replica(2).partition.log.view.segment_at(1)
        scene.copy(2).is_damaged = True
        scene.node(2).disk.flip_bit(segment.path, (segment.locate(1) + LAST_OFFSET_AT + 2) * 8)
        scene.kill(2)
        scene.until(lambda: scene.isr == (1, 3), "broker 2 to be missed")
        scene.start(2)
        scene.until(lambda: scene.isr == (1, 2, 3), "broker 2 to be in sync again")
        scene.lead_by(2)
        scene.write()
        scene.finish()
