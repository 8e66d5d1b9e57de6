"""The network: who reaches whom, how late, how often.

Owns delays, losses, duplicates, replays, clogged links and cuts between named places. It must not know what a message
means: it calls what it was given, later, or not at all, or twice. What a message carries is fixed when it is sent.
Called by brokers, controllers and clients; changed by the faults of a schedule.

Invariants
1. Every directed link draws from its own source of chance: a message more on one link changes no other.
2. Where nothing is wrong, every message arrives once, in no particular order.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kstore.testing.simulation.world import Call, World

_log = math.log

REPLAYED_FROM = 32
"""How many of a link's messages a replay chooses from."""


@dataclass(slots=True)
class Weather:
    """How messages fare; probabilities from 0 to 1, times in microseconds."""

    delay_min_us: int = 100
    delay_mean_us: int = 400
    drop: float = 0.0
    duplicate: float = 0.0
    replay: float = 0.0
    """How often an old message of the same link comes again beside a new one."""
    corrupt: float = 0.0
    """How often the bytes that a message carries are damaged on the way."""


class Link:
    """One direction between two places."""

    __slots__ = ("clogged_until_us", "dice", "old")

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.old: deque[tuple[Call, tuple[Any, ...]]] = deque(maxlen=REPLAYED_FROM)
        self.clogged_until_us = 0


class Network:
    """All links."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather()
        self.sent = 0
        self.lost = 0
        """Messages that never arrived."""
        self.repeated = 0
        """Copies that arrived beside, or long after, their originals."""
        self.harmed = 0
        """Messages whose bytes arrived damaged."""
        self.harm: Callable[[bytes], bytes] | None = None
        """What a script does to the bytes of every answer to a fetch, until all is healed."""
        self._links: dict[tuple[str, str], Link] = {}
        self._cuts: dict[int, frozenset[tuple[str, str]]] = {}
        self._next_cut = 0

    def link(self, source: str, target: str) -> Link:
        """One direction between two places."""
        found = self._links.get((source, target))
        if found is None:
            found = self._links[source, target] = Link(self.world.dice(f"link {source} {target}"))
        return found

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, source: str, target: str, call: Call, *args: Any, once: bool = False) -> None:
        """Have `call(*args)` happen at `target`, if the network lets it; `once` for what a connection never repeats."""
        self.sent += 1
        link = self._links.get((source, target)) or self.link(source, target)
        weather, dice = self.weather, link.dice
        if (weather.drop and dice.random() < weather.drop) or (self._cuts and self.is_cut(source, target)):
            self.lost += 1
            return
        self._deliver_later(link, call, args)
        if once:
            return
        if weather.duplicate and dice.random() < weather.duplicate:
            self.repeated += 1
            self._deliver_later(link, call, args)
        if weather.replay:
            if link.old and dice.random() < weather.replay:
                self.repeated += 1
                self._deliver_later(link, *link.old[dice.randrange(len(link.old))])
            link.old.append((call, args))

    def _deliver_later(self, link: Link, call: Call, args: tuple[Any, ...]) -> None:
        weather, world = self.weather, self.world
        delay = weather.delay_min_us - int(weather.delay_mean_us * _log(1.0 - link.dice.random()))
        if link.clogged_until_us > world.now_us:
            delay += link.clogged_until_us - world.now_us
        world.after(delay, call, *args)

    def damaged(self, source: str, target: str, data: bytes, spared: frozenset[int]) -> bytes:
        """Bytes as they arrive: now and then with a bit flipped, cut short, or with a foreign beginning.

        `spared` are the bytes that nothing but TCP protects: a flip there would be believed.
        """
        if self.harm is not None:
            arrives = self.harm(data)
        elif not self.weather.corrupt or not data:
            return data
        else:
            arrives = self._rotten(self.link(source, target).dice, data, spared)
        self.harmed += arrives != data
        return arrives

    def _rotten(self, dice: random.Random, data: bytes, spared: frozenset[int]) -> bytes:
        if dice.random() >= self.weather.corrupt:
            return data
        way = dice.randrange(3)
        if way == 0:
            bit = dice.randrange(len(data) * 8)
            if bit // 8 in spared:
                return data
            own = bytearray(data)
            own[bit // 8] ^= 1 << bit % 8
            return bytes(own)
        if way == 1:
            return data[: dice.randrange(len(data))]
        return data[dice.randrange(1, len(data) + 1) :]

    # -- what is wrong -------------------------------------------------------------------------------------------

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets through in this direction."""
        return any((source, target) in cut for cut in self._cuts.values())

    def cut(self, pairs: frozenset[tuple[str, str]]) -> int:
        """Let nothing through in these directions; returns a number for `heal`."""
        self._next_cut += 1
        self._cuts[self._next_cut] = pairs
        return self._next_cut

    def heal(self, number: int) -> None:
        """End one cut."""
        self._cuts.pop(number, None)

    def heal_all(self) -> None:
        """Nothing is wrong any more; what is on its way stays there."""
        self._cuts.clear()
        self.weather, self.harm = Weather(), None
        for link in self._links.values():
            link.clogged_until_us = 0
            link.old.clear()

    def clog(self, source: str, target: str, duration_us: int) -> None:
        """Hold back what is sent in this direction until then."""
        self.link(source, target).clogged_until_us = self.world.now_us + duration_us
