"""R10 and R13 of the fault catalogue: what a network may do, and bytes that are not what was sent.

Each scene names a rule that it stands for: without that rule in kstore it fails.
"""

from __future__ import annotations

import pytest

from kstore._native import batch as native
from kstore.replication.codes import Code
from kstore.testing.simulation.options import Options
from kstore.testing.simulation.scene import Scene
from kstore.testing.simulation.schedule import Entry

BOTH_WAYS = pytest.mark.parametrize("on_fetch", [True, False], ids=["by-fetch", "by-epoch-end"])
FAULT_S = 15


def busy(scene: Scene) -> None:
    """Clients of every kind, who go on whatever happens."""
    for made in (scene.producer(), scene.producer(idempotent=False), scene.producer(idempotent=False, acks=1)):
        made.produce(60, 400_000)
    scene.consumer()
    scene.consumer(follower_reads=True)
    scene.run(2)


def leader_moved(scene: Scene) -> bool:
    return scene.assignment.leader_epoch > 0


def isr_shrank(scene: Scene) -> bool:
    return len(scene.isr) < len(scene.assignment.replicas)


CUTS = {
    "alone": leader_moved,
    "one way out": leader_moved,
    "one way in": isr_shrank,
    "no controller": leader_moved,
    "ring": isr_shrank,
    "flap": isr_shrank,
}
"""What each shape of a cut leads to, so that a scene cannot miss it; all around the leader."""


@BOTH_WAYS
@pytest.mark.parametrize("shape", CUTS)
def test_r10_a_cut_network_loses_nothing_and_works_again_within_ten_seconds(shape, on_fetch):
    """The shapes of TigerBeetle's simulator and Jepsen's nemesis.

    Rule: `leader._shrink` gives up whom it does not hear.
    """
    options = Options(brokers=5 if shape == "ring" else 3)
    with Scene((1, 2, 3), options=options, truncate_on_fetch=on_fetch) as scene:
        busy(scene)
        lost_before = scene.cluster.network.lost
        seconds = 4 * FAULT_S if shape == "flap" else FAULT_S
        scene.faults.do(Entry(0, "cut", (scene.KEY, "leader", shape, 0, seconds * 1000)))
        scene.until(lambda: CUTS[shape](scene), f"the cut to matter: {CUTS[shape].__name__}", within_s=seconds)
        scene.run(FAULT_S)
        assert scene.cluster.network.lost > lost_before
        scene.finish()


STORMS = {
    "drop": {"drop": 0.3},
    "duplicate": {"duplicate": 0.5},
    "replay": {"replay": 0.5},
    "late": {"delay_mean_us": 400_000},
    "all": {"drop": 0.15, "duplicate": 0.3, "replay": 0.3, "delay_mean_us": 50_000},
}


@BOTH_WAYS
@pytest.mark.parametrize("storm", STORMS)
def test_r10_lost_late_and_repeated_messages_change_nothing(storm, on_fetch):
    """Requests and answers of epochs that are over come again while leaders change.

    Rules: `follower._on_fetched` takes an answer to its newest request alone, and asks again when none comes.
    """
    with Scene(truncate_on_fetch=on_fetch) as scene:
        busy(scene)
        network = scene.cluster.network
        scene.storm(**STORMS[storm])
        for leader in (2, 1, 3):
            scene.run(4)
            if scene.leader != leader and leader in scene.isr:
                scene.reassign(leader, *(broker for broker in (1, 2, 3) if broker != leader))
                scene.elect()
        scene.run(4)
        assert scene.assignment.leader_epoch > 0
        weather = STORMS[storm]
        assert network.lost > 50 or "drop" not in weather
        assert network.repeated > 50 or not weather.keys() & {"duplicate", "replay"}
        scene.finish()


def test_r10_a_fetch_that_arrives_late_takes_nothing_back():
    """A request of an hour ago says where a follower was, not where it is.

    Rule: `progress.is_newer`: within a life only a higher number counts.
    """
    with Scene() as scene:
        scene.write()
        scene.clog(3, 1, 4)
        waits = scene.produce(timeout_ms=20_000)
        scene.until(lambda: scene.end(3) == 2, "the record on broker 3")
        scene.until(lambda: scene.lines("asks", 3, "b1 t1 fetch 2"), "broker 3 to say so")
        leader = scene.replica(1)
        assert leader.state.progress(3).log_end_offset == 1, "it was not heard"
        scene.heal()
        scene.until(lambda: waits.code is not None, "broker 3 to ask again")
        assert (waits.code, scene.isr) == (Code.NONE, (1, 2, 3))
        scene.write(3)
        ahead = leader.state.progress(3)
        assert ahead.log_end_offset == scene.end(1) == 5
        scene.run(4)
        seen = leader.state.progress(3)
        assert (seen.log_end_offset, seen.number >= ahead.number) == (5, True)
        scene.finish()


@BOTH_WAYS
def test_r10_an_answer_that_is_lost_is_asked_for_again(on_fetch):
    """A follower whose question or answer the network swallows is not stuck.

    Rule: `follower._on_ticked` asks again when an answer is overdue.
    """
    with Scene(truncate_on_fetch=on_fetch) as scene:
        scene.write()
        scene.storm(drop=1.0)
        scene.until(lambda: scene.cluster.network.lost > 0 and scene.lines("asks", 3), "a question to be lost", 20)
        scene.run(2.5)
        asked = len(scene.lines("asks", 3))
        scene.heal()
        scene.until(lambda: len(scene.lines("asks", 3)) > asked, "broker 3 to ask again")
        scene.write(2, timeout_ms=10_000)
        assert scene.isr == (1, 2, 3)
        scene.finish()


# -- R13 ---------------------------------------------------------------------------------------------------------


def test_r13_a_follower_takes_nothing_from_a_corrupt_answer_and_goes_on_asking():
    """KAFKA-4384: one bad answer used to end the fetcher thread.

    Rule: `fetched.parse` reports what fails its check, `follower._on_fetched` pauses and asks again.
    """
    with Scene() as scene:
        scene.write()
        scene.storm(corrupt=1.0)
        waits = scene.produce(timeout_ms=60_000)
        scene.until(lambda: scene.cluster.network.harmed >= 6, "corrupt answers")
        asked = len(scene.lines("asks", 2)), len(scene.lines("asks", 3))
        scene.run(1)
        assert (waits.code, scene.end(2), scene.end(3)) == (None, 1, 1)
        assert (len(scene.lines("asks", 2)), len(scene.lines("asks", 3))) > asked
        scene.heal()
        scene.until(lambda: waits.code is not None, "the acknowledgement")
        assert (waits.code, scene.isr) == (Code.NONE, (1, 2, 3))
        scene.finish()


def batches_of(data):
    """An answer's batches, each as its bytes."""
    return [data[header.position : header.position + header.size_bytes] for header in native.headers(data)]


def one_missing(data):
    """The first of several batches is not there."""
    return b"".join(batches_of(data)[1:]) if len(batches_of(data)) > 1 else data


def one_twice(data):
    """The first batch comes again behind the others."""
    return b"".join([*batches_of(data), *batches_of(data)[:1]])


def backwards(data):
    """The last batch comes first."""
    return b"".join(reversed(batches_of(data)))


def another_epoch(data):
    """Every batch says that it is from an epoch that has not begun; no checksum covers that."""
    pieces = [bytearray(piece) for piece in batches_of(data)]
    for piece in pieces:
        piece[12:16] = (999).to_bytes(4, "big")
    return b"".join(pieces)


@pytest.mark.parametrize("harm", [one_twice, backwards, another_epoch])
def test_r13_whole_batches_in_a_wrong_place_are_not_appended(harm):
    """Misframed: every checksum fits, and still it is not what continues the log.

    Rule: `follower._in_order`.
    """
    with Scene() as scene:
        scene.write()
        scene.pause(3)
        attempts = [scene.produce(timeout_ms=60_000) for _ in range(3)]
        scene.until(lambda: scene.end(1) == scene.end(2) == 4, "three records more")
        scene.mangle(harm)
        scene.resume(3)
        scene.until(lambda: scene.cluster.network.harmed >= 3, "misframed answers")
        assert scene.end(3) == 2, "one record was on its way before"
        scene.heal()
        scene.until(lambda: all(attempt.code == Code.NONE for attempt in attempts), "the acknowledgements")
        scene.until(lambda: scene.log(3) == scene.log(1), "equal logs")
        scene.finish()


def test_r13_a_hole_that_one_answer_has_is_not_believed():
    """No checksum covers a batch's base offset: one bit on the way would tear a hole for good.

    Rule: `fetched.Doubts` asks again before it believes one.
    """
    with Scene() as scene:
        scene.write()
        scene.pause(3)
        attempts = [scene.produce(timeout_ms=60_000) for _ in range(3)]
        scene.until(lambda: scene.end(1) == scene.end(2) == 4, "three records more")
        scene.mangle(one_missing)
        scene.resume(3)
        scene.until(lambda: scene.cluster.network.harmed >= 1, "an answer with a hole")
        scene.heal()
        scene.until(lambda: all(attempt.code == Code.NONE for attempt in attempts), "the acknowledgements")
        scene.until(lambda: scene.log(3) == scene.log(1), "equal logs")
        scene.finish()
