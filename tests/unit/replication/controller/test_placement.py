"""Placement over racks, against the numbers of Kafka's StripedReplicaPlacerTest where the draws are Java's."""

from __future__ import annotations

from collections import Counter

import pytest

from kstore.errors import InvalidReplicationFactor
from kstore.replication.controller.placement import Draw, Place, Racks, draws, place


def java_draws() -> Draw:
    """java.util.Random.nextInt(bound) over the generator of Kafka's MockRandom."""
    state = 17

    def bits() -> int:
        nonlocal state
        state = (state * 2862933555777941757 + 3037000493) % 2**64
        return state >> 33

    def draw(bound: int) -> int:
        drawn = bits()
        if bound & (bound - 1) == 0:
            return (bound * drawn) >> 31
        while drawn - drawn % bound + bound - 1 >= 2**31:
            drawn = bits()
        return drawn % bound

    return draw


def racks(**given: str) -> list[Place]:
    """Brokers by rack, as in `racks(a="1 2 3!")`: 3 is fenced. The rack `_` is none."""
    return [
        Place(int(broker.rstrip("!")), None if rack == "_" else rack, broker.endswith("!"))
        for rack, brokers in given.items()
        for broker in brokers.split()
    ]


@pytest.mark.parametrize(
    ("given", "factor", "expected"),
    [
        # testAvoidFencedReplicaIfPossibleOnSingleRack
        (
            racks(_="3 1! 0 4 2"),
            4,
            [(3, 4, 0, 2), (4, 0, 2, 3), (0, 2, 3, 4), (2, 3, 4, 0), (0, 4, 3, 2)],
        ),
        # testPlacementOnFencedReplicaOnSingleRack
        (racks(_="3 1! 2"), 3, [(3, 2, 1), (2, 3, 1), (3, 2, 1), (2, 3, 1)]),
        # testMultiPartitionTopicPlacementOnSingleUnfencedBroker
        (racks(_="0 1!"), 1, [(0,), (0,), (0,)]),
        # testSuccessfulPlacement
        (racks(_="0 3 2 1"), 3, [(2, 3, 0), (3, 0, 1), (0, 1, 2), (1, 2, 3), (1, 0, 2)]),
        # testRackListWithMultipleRacks
        (racks(r1="11 10", r3="30 31", r2="21 20!"), 4, [(11, 21, 31, 10), (21, 30, 10, 20), (31, 11, 21, 30)]),
        # testRackListWithInvalidRacks
        (
            racks(r1="11 10", r3="30! 31!", r2="20! 21!", r4="41 40!"),
            4,
            [(41, 11, 21, 30), (10, 20, 31, 41), (41, 21, 30, 11)],
        ),
    ],
)
def test_as_kafka_places(given, factor, expected):
    assert place(given, len(expected), factor, java_draws()) == tuple(expected)


def test_the_same_distribution_as_kafka():
    """testEvenDistribution."""
    counts = Counter(place(racks(_="0 1 2 3"), 200, 2, java_draws()))
    assert counts == {
        (0, 1): 14, (0, 2): 22, (0, 3): 14, (1, 0): 17, (1, 2): 17, (1, 3): 16,
        (2, 0): 13, (2, 1): 17, (2, 3): 20, (3, 0): 20, (3, 1): 19, (3, 2): 11,
    }  # fmt: skip


def test_the_stripes_of_the_first_round():
    given = racks(a="0 1 2", b="10 11 12", c="20 21 22")
    assert place(given, 3, 3, lambda bound: 0) == ((0, 10, 20), (11, 21, 1), (22, 2, 12))


@pytest.mark.parametrize(
    ("given", "factor", "reason"),
    [
        (racks(_="1 2"), 3, "only 2 brokers are registered"),
        (racks(_="1 2"), 0, "it must be positive"),
        (racks(_="1 2"), -1, "it must be positive"),
        (racks(a="1!", b="2!"), 1, "all brokers are fenced"),
        ([], 1, "only 0 brokers are registered"),
    ],
)
def test_what_cannot_be_had(given, factor, reason):
    with pytest.raises(InvalidReplicationFactor, match=reason) as caught:
        place(given, 1, factor, draws(0))
    assert caught.value.error_code == 38


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 6])
def test_racks_are_used_up_before_one_is_used_twice(factor, seed):
    given = racks(a="1 2 3", b="4 5!", c="6")
    rack_of = {broker.broker_id: broker.rack for broker in given}
    placing = Racks(given, draws(seed))
    for _ in range(500):
        replicas = placing.place(factor)
        assert len(set(replicas)) == factor
        assert replicas[0] != 5, "a fenced broker never comes first"
        used = Counter(rack_of[r] for r in replicas)
        assert len(used) == min(factor, 3)
        if factor <= 3:
            assert set(used.values()) == {1}


def test_brokers_lead_about_equally_often(seed):
    counts = Counter(replicas[0] for replicas in place(racks(a="1 2", b="3 4", c="5 6"), 6_000, 3, draws(seed)))
    assert all(900 < count < 1_100 for count in counts.values()), counts


def test_a_seed_places_alike():
    given = racks(a="1 2 3", b="4 5", c="6 7")
    assert place(given, 50, 3, draws(5)) == place(given, 50, 3, draws(5))
    assert place(given, 50, 3, draws(5)) != place(given, 50, 3, draws(6))
    assert place(given, 50, 3, draws(5)) == place(reversed(given), 50, 3, draws(5)), "however brokers are listed"
