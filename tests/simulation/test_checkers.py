"""Every checker of the simulator, shown something bad that was made by hand: it must end the run by the right promise.

A cluster that is well is stepped once more with one thing wrong. What stays unnoticed here would stay unnoticed in a
thousand seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from kstore.lineage import EpochEntry
from kstore.records import encode_batches
from kstore.replication.controller.cluster import PartitionChanged
from kstore.replication.controller.commands import AlterPartition
from kstore.replication.leading import Proposal
from kstore.replication.values import replace
from kstore.testing.simulation.checkers import liveness, recovery
from kstore.testing.simulation.checkers.base import Violation
from kstore.testing.simulation.clients import Sent
from kstore.testing.simulation.copies import Held, Step
from kstore.testing.simulation.invariants import PROMISES
from kstore.testing.simulation.scene import NO_LEADER, Scene

KEY = Scene.KEY
BAD: list[tuple[str, Callable[..., None]]] = []


def breaks(invariant: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The decorated function does something bad to a scene, which must break this promise."""

    def note(does: Callable[..., None]) -> Callable[..., None]:
        BAD.append((invariant, does))
        return does

    return note


@pytest.fixture
def scene():
    with Scene() as made:
        made.write(3)
        made.until(lambda: all(made.mark(broker) == 3 for broker in (1, 2, 3)), "three committed records on all")
        yield made


def step(scene: Scene, broker: int = 1, **wrong: object) -> None:
    """One more step of a replica that changes nothing, but for what is `wrong`: fields of `Step`."""
    copy = scene.copy(broker)
    state = wrong.pop("state", scene.replica(broker).state)
    made = Step(copy, state, state, (), copy.log_end_offset, copy.high_watermark, copy.log_start_offset)
    made = made._replace(**wrong)
    for checker in scene.cluster.judge.checkers:
        checker.on_step(scene.node(broker), made)


def decide(scene: Scene, command: object = None, **new: object) -> None:
    """The controller has persisted another assignment."""
    image, old = scene.cluster.control.image, scene.assignment
    fresh = {"partition_epoch": old.partition_epoch + 1} | new
    change = PartitionChanged(KEY, 0, replace(old, **fresh))
    for checker in scene.cluster.judge.checkers:
        checker.on_decided(command, image, image, (change,))


def held(offset: int, epoch: int = 0, crc: int = 7) -> Held:
    return Held(offset, offset + 1, epoch, crc)


# -- one replica by itself ---------------------------------------------------------------------------------------


@breaks("I7")
def the_machine_believes_another_log_end(scene):
    state = scene.replica(1).state
    step(scene, state=replace(state, local=replace(state.local, log_end_offset=9)))


@breaks("I7")
def consumers_may_read_past_the_high_watermark(scene):
    copy, state = scene.copy(1), scene.replica(1).state
    copy.view = SimpleNamespace(log_start_offset=0, last_stable_offset=3, high_watermark=2, log_end_offset=3)
    step(scene, state=replace(state, local=replace(state.local, high_watermark=2)))


@breaks("I7")
def a_high_watermark_falls(scene):
    scene.copy(1).high_watermark = 2
    step(scene, high_watermark_before=3)


@breaks("I7")
def a_log_start_falls(scene):
    step(scene, log_start_before=1)


@breaks("I9")
def a_log_is_cut_below_its_high_watermark(scene):
    copy = scene.copy(2)
    copy.cut(2)
    copy.high_watermark = 2
    step(scene, 2, high_watermark_before=3, end_before=3)


@breaks("I6")
def a_leaders_log_gets_shorter(scene):
    step(scene, end_before=4)


@breaks("I6")
def a_batch_leaves_a_hole(scene):
    step(scene, appended=(held(5),))


@breaks("I10")
def a_batch_carries_an_epoch_that_the_lineage_does_not_name(scene):
    step(scene, appended=(held(3, epoch=1),))


@breaks("I10")
def the_log_has_not_noted_what_the_machine_knows(scene):
    state = scene.replica(2).state
    entries = (*state.local.lineage, EpochEntry(1, 3))
    step(scene, 2, state=replace(state, local=replace(state.local, lineage=entries)))


@breaks("I11")
def a_batch_is_from_an_epoch_to_come(scene):
    state = scene.replica(2).state
    entries = (EpochEntry(0, 0), EpochEntry(5, 3))
    derived = SimpleNamespace(epochs=SimpleNamespace(entries=entries))
    log = SimpleNamespace(derived=derived)
    scene.node(2).replicas[KEY] = SimpleNamespace(partition=SimpleNamespace(log=log), state=state)
    step(scene, 2, state=replace(state, local=replace(state.local, lineage=entries)), appended=(held(3, epoch=5),))


# -- what replicas agree on --------------------------------------------------------------------------------------


@breaks("I6")
def a_follower_holds_what_no_leader_wrote(scene):
    step(scene, 2, appended=(held(3),))


@breaks("I6")
def an_offset_in_an_epoch_has_two_values(scene):
    step(scene, 1, appended=(held(3, crc=7),))
    step(scene, 2, appended=(held(3, crc=8),))


@breaks("I3")
def a_follower_calls_committed_what_no_leader_has(scene):
    copy = scene.copy(2)
    copy.batches.append(held(3))
    copy.high_watermark = copy.log_end_offset = 4
    scene.cluster.judge.agreement.on_step(scene.node(2), _risen(scene, 2))


@breaks("I3")
def a_member_of_the_isr_lacks_what_is_committed(scene):
    scene.copy(3).cut(2)
    scene.cluster.judge.agreement.on_step(scene.node(1), _risen(scene, 1))


@breaks("I5")
def two_batches_are_committed_at_one_offset(scene):
    copy = scene.copy(2)
    copy.batches[1], copy.agreed_offset = held(1), 0
    scene.cluster.judge.agreement.on_step(scene.node(2), _risen(scene, 2))


def _risen(scene: Scene, broker: int) -> Step:
    """A step with which the high watermark has risen from 0."""
    state = scene.replica(broker).state
    return Step(scene.copy(broker), state, state, (), 0, 0, 0)


@breaks("I8")
def a_leader_would_tell_of_an_earlier_end(scene):
    state = scene.replica(1).state
    copy = scene.copy(1)
    copy.high_watermark = 2
    late = replace(state, epoch_start_offset=0, local=replace(state.local, high_watermark=2))
    scene.cluster.judge.agreement.on_step(scene.node(1), Step(copy, late, late, (), 3, 2, 0))


@breaks("I1")
def who_lacks_what_is_committed_is_elected(scene):
    scene.copy(2).cut(2)
    decide(scene, leader=2, leader_epoch=1, isr=(2, 3))


@breaks("I3")
def who_lacks_what_is_committed_joins_the_isr(scene):
    scene.kill(3)
    scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
    scene.copy(3).cut(1)
    decide(scene, isr=(1, 2, 3))


@breaks("I2")
def power_takes_what_is_committed(scene):
    copy = scene.copy(3)
    copy.durable_offset = 2
    scene.cluster.judge.agreement.on_power_loss(scene.node(3), copy)


@breaks("I6")
def recovery_finds_what_nobody_wrote(scene):
    copy = scene.copy(3)
    copy.batches = [*copy.batches, held(3)]
    scene.cluster.judge.agreement.on_reread(scene.node(3), copy, list(copy.batches), 3)


@breaks("I21")
def recovery_cuts_what_was_sure(scene):
    copy = scene.copy(3)
    before = list(copy.batches)
    copy.cut(2)
    scene.cluster.judge.agreement.on_reread(scene.node(3), copy, before, 3)


@breaks("I21")
def recovery_loses_a_batch_in_the_middle(scene):
    copy = scene.copy(3)
    before = list(copy.batches)
    del copy.batches[1]
    scene.cluster.judge.agreement.on_reread(scene.node(3), copy, before, 3)


# -- who leads ---------------------------------------------------------------------------------------------------


@breaks("I4")
def a_broker_leads_that_was_not_named(scene):
    state = scene.replica(1).state
    step(scene, state=replace(state, assignment=replace(state.assignment, leader=2)))


@breaks("I4")
def two_leaders_share_an_epoch(scene):
    decide(scene, leader=2)


@breaks("I4")
def a_leader_is_not_in_its_isr(scene):
    decide(scene, isr=(2, 3))


@breaks("I4")
def who_is_fenced_joins_the_isr(scene):
    scene.kill(3)
    scene.until(lambda: scene.isr == (1, 2), "broker 3 to be missed")
    command = AlterPartition(1, scene.node(1).epoch, KEY, 0, 0, 1, ((1, 0), (2, 0), (3, 0)))
    decide(scene, command, isr=(1, 2, 3))


@breaks("I15")
def a_leader_epoch_falls(scene):
    decide(scene, leader_epoch=-1, leader=NO_LEADER)


@breaks("I15")
def a_fenced_leader_changes_the_isr(scene):
    command = AlterPartition(2, scene.node(2).epoch, KEY, 0, 0, 0, ((1, 0), (2, 0)))
    decide(scene, command, isr=(1, 2))


@breaks("progress")
def a_leader_forgets_how_far_a_follower_is(scene):
    state = scene.replica(1).state
    back = tuple(replace(one, log_end_offset=1) for one in state.followers)
    step(scene, state=replace(state, followers=back), state_before=state)


@breaks("progress")
def an_earlier_life_of_a_follower_counts(scene):
    state = scene.replica(1).state
    back = tuple(replace(one, broker_epoch=one.broker_epoch - 1) for one in state.followers)
    step(scene, state=replace(state, followers=back), state_before=state)


@breaks("progress")
def a_fetch_counts_of_a_follower_that_has_not_heard_of_the_term(scene):
    state = scene.replica(1).state
    before = replace(state, assignment=replace(state.assignment, leader_epoch=1))
    after = replace(before, followers=tuple(replace(one, number=one.number + 1) for one in state.followers))
    scene.cluster.judge.checkers[3].on_step(scene.node(1), Step(scene.copy(1), after, before, (), 3, 3, 0))


@breaks("progress")
def a_fetch_counts_that_names_what_the_follower_does_not_hold(scene):
    state = scene.replica(1).state
    scene.copy(2).batches[2] = held(2)
    after = replace(state, followers=tuple(replace(one, number=one.number + 1) for one in state.followers))
    step(scene, state=after, state_before=state)


@breaks("progress")
def a_fetch_counts_from_beyond_the_followers_end(scene):
    state = scene.replica(1).state
    scene.copy(2).cut(2)
    after = replace(state, followers=tuple(replace(one, number=one.number + 1) for one in state.followers))
    step(scene, state=after, state_before=state)


@breaks("progress")
def a_dead_life_is_proposed(scene):
    state = scene.replica(1).state
    shrunk = replace(state, assignment=replace(state.assignment, isr=(1, 2)))
    step(scene, state=replace(shrunk, proposal=Proposal(0, ((1, 0), (2, 0), (3, 99)), 0)), state_before=shrunk)


# -- media, recovery, the machine's own word ---------------------------------------------------------------------


def acknowledge(scene: Scene, offset: int, acks: int) -> None:
    """Broker 1 says to a producer that what it stored at `offset` is safe."""
    appended = SimpleNamespace(base_offset=offset, next_offset=offset + 1)
    scene.cluster.judge.acknowledged(scene.node(1), KEY, scene.replica(1), appended, acks)


@breaks("I21")
def what_is_acknowledged_is_on_too_few_media(scene):
    for broker in (1, 2, 3):
        scene.slow_disk(broker, 60)
    scene.produce(timeout_ms=60_000)
    scene.until(lambda: scene.end(2) == scene.end(3) == 4, "a record in everybody's cache")
    acknowledge(scene, 3, acks=-1)


@breaks("I22")
def a_disk_that_has_failed_acknowledges(scene):
    scene.node(1).store.health.failure = OSError("planted")
    acknowledge(scene, 0, acks=1)


@breaks("I18")
def a_second_recovery_changes_a_file(scene, monkeypatch):
    class Restless:
        def __init__(self, directory, config, disk, *_, **__):
            size = len(disk.files().get("/restless", b""))
            disk.write_file_atomic("/restless", b"x" * (size + 1))

    monkeypatch.setattr(recovery, "Store", Restless)
    monkeypatch.setattr(recovery, "SHARE", 1.0)
    scene.kill(3)
    scene.start(3)


@breaks("halt")
def a_replica_finds_itself_broken(scene):
    scene.cluster.judge._halted(scene.node(1), KEY, "no idea: what happened")


@breaks("I9")
def a_replica_names_the_promise_that_it_would_break(scene):
    scene.cluster.judge._halted(scene.node(1), KEY, "I9: truncation to 1, below the high watermark 3")


# -- progress ----------------------------------------------------------------------------------------------------


@breaks("I23")
def a_deadline_passes_and_nothing_is_done(scene):
    replica = scene.replica(2)
    stuck = SimpleNamespace(next_deadline_ms=0, state=replica.state)
    scene.node(2).replicas[KEY] = stuck
    scene.cluster.judge.ticked(scene.node(2), KEY, stuck)


@breaks("I23")
def nobody_leads_after_the_boot(scene):
    scene.kill(1, 2, 3)
    scene.until(lambda: scene.leader == NO_LEADER, "nobody to lead", within_s=30)
    liveness.check_boot(scene.cluster)


@breaks("I23")
def nothing_is_committed_any_more(scene):
    scene.cut(1, *scene.others(1), *scene.controllers)
    scene.cut(2, *scene.others(2), *scene.controllers)
    liveness.check(scene.cluster)


@breaks("I23")
def a_follower_never_comes_back(scene):
    scene.kill(3)
    liveness.check(scene.cluster)


@breaks("I5")
def logs_differ_at_rest(scene):
    scene.copy(3).batches[1] = held(1)
    liveness.check(scene.cluster)


# -- what clients did and saw ------------------------------------------------------------------------------------


def consume(scene: Scene, offset: int, position: int, value: bytes = b"s1:0:0", timestamp_ms: int = 1) -> None:
    """A consumer at `position` is given one batch at `offset`."""
    header = SimpleNamespace(base_offset=offset, next_offset=offset + 1, leader_epoch=0, crc=timestamp_ms, records=1)
    scene.cluster.judge.history.consumed("r1", KEY, position, header, encode_batches([value]))


@breaks("I17")
def a_consumer_meets_a_gap(scene):
    consume(scene, 2, position=1)


@breaks("I17")
def an_offset_changes_what_it_holds(scene):
    consume(scene, 1, position=1, timestamp_ms=1)
    consume(scene, 1, position=1, timestamp_ms=2)


@breaks("I17")
def a_consumer_never_sees_the_end(scene):
    scene.cluster.judge.history.check_consumed("r1", KEY, 2, 3)


@breaks("I26")
def a_consumer_gets_what_nobody_sent(scene):
    consume(scene, 1, position=1, value=b"s1:99:0")


@breaks("I8")
def the_end_of_the_log_goes_back(scene):
    history = scene.cluster.judge.history
    history.end_seen("r1", KEY, 3, 0)
    history.end_seen("r1", KEY, 2, 1)


def judge(scene: Scene, *numbers: int, producer: str = "s1", acked: int = 3, epoch: int = -1) -> None:
    """Hold a log of these batches of one producer, each of one record, against what it sent."""
    history = scene.cluster.judge.history
    history.sends[KEY] = {producer: [Sent(producer, n, 1, -1, epoch, acked=True, base_offset=n) for n in range(acked)]}
    history.judge_log(KEY, [encode_batches([f"{producer}:{number}:0".encode()]) for number in numbers], 0)


@breaks("I1")
def an_acknowledged_batch_is_not_in_the_log(scene):
    judge(scene, 0, 2)


@breaks("I12")
def an_idempotent_batch_is_there_twice(scene):
    judge(scene, 0, 1, 1, 2, epoch=0)


@breaks("I12")
def idempotent_batches_are_out_of_order(scene):
    judge(scene, 0, 2, 1, epoch=0)


# -- all of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("invariant", "does"), BAD, ids=[f"{i}-{does.__name__}" for i, does in BAD])
def test_something_bad_ends_the_run_by_its_promise(invariant, does, scene, monkeypatch):
    more = {"monkeypatch": monkeypatch} if "monkeypatch" in does.__code__.co_varnames else {}
    with pytest.raises(Violation) as broken:
        does(scene, **more)
    assert broken.value.invariant == invariant, broken.value
    assert scene.world.story[-1].what == "BROKEN"


def test_nothing_bad_ends_nothing(scene):
    """The hand-made steps break promises by what is wrong with them, not by being made by hand."""
    for broker in (1, 2, 3):
        step(scene, broker)
    decide(scene)
    consume(scene, 0, position=0)
    judge(scene, 0, 1, 2, epoch=0)
    judge(scene, 0, 1, 1, 2)  # a producer that is not idempotent may
    scene.cluster.judge.history.check_consumed("r1", KEY, 3, 3)


def test_every_promise_has_something_bad_to_notice():
    assert {invariant for invariant, _ in BAD} | {"error"} == set(PROMISES)  # `error`: see test_command
