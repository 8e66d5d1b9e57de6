"""Where the replicas of new partitions go: striped over racks, then over brokers.

Owns the rules of Kafka's StripedReplicaPlacer: no two replicas on one broker, racks in turn, brokers of a rack in turn,
fenced brokers last and never first in the list. It must not know topics. Called by `topics`. The caller gives the
numbers that decide where the stripes begin: `draws(seed)`, or anything else that answers a bound with a number below
it.

Invariants
1. The first replica is not fenced; no broker comes twice.
2. While there are racks without a replica and with a broker left, no rack has two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from typing import Any, NamedTuple

from kstore.errors import InvalidReplicationFactor

Draw = Callable[[int], int]
"""Given a bound, a number from 0 up to it (exclusive)."""

_MASK = 2**64 - 1


class Place(NamedTuple):
    """A broker that may hold replicas (Kafka's UsableBroker)."""

    broker_id: int
    rack: str | None
    fenced: bool


def draws(seed: int) -> Draw:
    """Numbers that look random and follow from the seed alone (splitmix64)."""
    state = seed & _MASK

    def draw(bound: int) -> int:
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) % bound

    return draw


def place(places: Iterable[Place], partitions: int, replication_factor: int, draw: Draw) -> tuple[tuple[int, ...], ...]:
    """The replicas of each partition, in order of preference; raises `InvalidReplicationFactor`."""
    racks = Racks(places, draw)
    return tuple(racks.place(replication_factor) for _ in range(partitions))


class _Ring:
    """Brokers in turn: each round begins one further than the last (BrokerList)."""

    def __init__(self) -> None:
        self.brokers: list[int] = []
        self._offset = 0
        self._index = 0
        self._round = 0

    def begin(self, draw: Draw) -> None:
        if self.brokers:
            self.brokers.sort()
            self._offset = draw(len(self.brokers))

    def next(self, round_number: int) -> int | None:
        """The next broker of this round, None when all had their turn."""
        count = len(self.brokers)
        if not count:
            return None
        if self._round != round_number:
            self._round, self._index = round_number, 0
            self._offset = (self._offset + 1) % count
        if self._index >= count:
            return None
        self._index += 1
        return self.brokers[(self._index - 1 + self._offset) % count]


class _Rack:
    def __init__(self) -> None:
        self.unfenced = _Ring()
        self.fenced = _Ring()

    def next(self, round_number: int) -> int | None:
        """The next broker, an unfenced one while there are any."""
        found = self.unfenced.next(round_number)
        return self.fenced.next(round_number) if found is None else found


class Racks:
    """The racks of a cluster while partitions are placed on them (RackList)."""

    def __init__(self, places: Iterable[Place], draw: Draw) -> None:
        self._draw = draw
        racks: dict[str | None, _Rack] = {}
        self.broker_count = 0
        self.unfenced_count = 0
        for broker in places:
            rack = racks.setdefault(broker.rack, _Rack())
            (rack.fenced if broker.fenced else rack.unfenced).brokers.append(broker.broker_id)
            self.broker_count += 1
            self.unfenced_count += not broker.fenced
        # brokers without a rack share the one that comes first
        self._by_name = [racks[name] for name in sorted(racks, key=lambda name: (name is not None, name or ""))]
        self._racks = list(self._by_name)
        for rack in self._by_name:
            rack.fenced.begin(draw)
            rack.unfenced.begin(draw)
        self._offset = draw(len(self._racks)) if self._racks else 0
        self._round = 0

    def place(self, replication_factor: int) -> tuple[int, ...]:
        """The replicas of the next partition."""
        self._check(replication_factor)
        if self._round == self.unfenced_count and self.unfenced_count > 1:
            # every broker was first once: go on in another order, lest the same replica sets come again
            self._shuffle()
            self._round = 0
        racks, count = self._racks, len(self._racks)
        first = self._offset % count
        leader = racks[first].unfenced.next(self._round)
        while leader is None:
            first = (first + 1) % count
            leader = racks[first].unfenced.next(self._round)
        chosen = [leader]
        skipped: int | None = first
        index = self._offset % count
        while len(chosen) < replication_factor:
            found = None
            if index == skipped:
                skipped = None  # the leader's rack had its turn already, in this first time around
            else:
                found = racks[index].next(self._round)
            index = (index + 1) % count
            if found is not None:
                chosen.append(found)
        self._round += 1
        self._offset = self._offset % count + 1
        return tuple(chosen)

    def _check(self, replication_factor: int) -> None:
        if replication_factor <= 0:
            raise InvalidReplicationFactor(replication_factor, "it must be positive")
        if replication_factor > self.broker_count:
            raise InvalidReplicationFactor(replication_factor, f"only {self.broker_count} brokers are registered")
        if not self.unfenced_count:
            raise InvalidReplicationFactor(replication_factor, "all brokers are fenced")

    def _shuffle(self) -> None:
        _shuffle(self._racks, self._draw)
        for rack in self._by_name:
            _shuffle(rack.fenced.brokers, self._draw)
            _shuffle(rack.unfenced.brokers, self._draw)


def _shuffle(items: MutableSequence[Any], draw: Draw) -> None:
    for last in range(len(items) - 1, 0, -1):
        other = draw(last + 1)
        items[last], items[other] = items[other], items[last]
