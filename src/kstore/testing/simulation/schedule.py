"""What is to happen in a run, drawn before it begins: a list of entries, each meaningful without the others.

Owns the kinds of entries, the ranges they are drawn from, and their text form. Doing them is `faults`'s. Called by
`run`, which draws a schedule from a seed, and by `shrink`, which leaves entries out.

Invariants
1. An entry carries everything that it needs: nothing is drawn when it is done, so that leaving it out changes no other.
2. Where an entry names a role (a leader, a follower), it means whoever has it when the entry is done.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from kstore.replication.state import Sync
from kstore.testing.simulation.options import Options

TRIGGERS = ("decides", "proposes", "truncates", "hears", "is registered", "acked", "takes over", "answers")
"""Lines of the story on which an entry may wait, so that faults meet the moments that matter."""


CUTS = ("halves", "alone", "alone", "one way in", "one way out", "ring", "pair", "flap", "no controller")
"""Shapes of a network that is cut; see `faults`."""


@dataclass(frozen=True)
class Entry:
    """One thing that is to happen."""

    at_ms: int
    """Since the end of the boot."""
    kind: str
    args: tuple[Any, ...] = ()
    trigger: str = ""
    """Waits, from `at_ms` on, for the first line of this kind about `args[0]`'s topic, where there is one."""

    def __str__(self) -> str:
        waits = f" on '{self.trigger}'" if self.trigger else ""
        return f"{self.at_ms / 1000:9.3f} s{waits}  {self.kind} {' '.join(map(str, self.args))}"


Who = str
"""A broker by number, or `leader`, `follower`, `member` (an in-sync follower), `outsider` of a topic."""


def draw(dice: random.Random, options: Options, minutes: float) -> list[Entry]:
    """A schedule of a whole run."""
    return sorted(_Draw(dice, options, int(minutes * 60_000)).entries(), key=lambda entry: entry.at_ms)


class _Draw:
    def __init__(self, dice: random.Random, options: Options, length_ms: int) -> None:
        self.dice = dice
        self.options = options
        self.length_ms = length_ms
        self.victim = dice.randrange(1, options.brokers + 1)
        """The one broker whose disk may lose or change what it had promised to keep: any other is a second copy."""
        self.allows_loss = options.rules.sync is Sync.ALL

    def entries(self) -> list[Entry]:
        """Client work, then faults in clusters: what comes close together interferes."""
        dice = self.dice
        found = [self._produce(dice.randrange(self.length_ms)) for _ in range(max(4, self.length_ms // 30_000))]
        intensity = dice.choice((0.4, 1.0, 1.0, 2.0))
        kinds = self._kinds()
        favourites = dice.sample(kinds, min(len(kinds), dice.choice((3, 6, len(kinds)))))
        for _ in range(max(1, int(self.length_ms / 60_000 * intensity))):
            start = dice.randrange(self.length_ms)
            found.append(self._produce(start, burst=True))
            for _ in range(dice.choice((1, 2, 3, 5))):
                at = min(self.length_ms - 1, start + int(dice.expovariate(1 / 4_000)))
                made = dice.choices(favourites, [weight for _, weight in favourites])[0][0](at)
                if dice.random() < 0.35:
                    made = Entry(made.at_ms, made.kind, made.args, dice.choice(TRIGGERS))
                found.append(made)
        return found

    def _kinds(self) -> list[tuple[Any, float]]:
        kinds: list[tuple[Any, float]] = [
            (self._kill, 6),
            (self._pause, 4),
            (self._cut, 8),
            (self._storm, 5),
            (self._clog, 2),
            (self._stop, 2),
            (self._elect, 4),
            (self._reassign, 3),
            (self._fail_over, 4),
            (self._disk_error, 2),
            (self._disk_full, 1.5),
            (self._disk_slow, 1.5),
            (self._clock, 1),
            (self._delete_records, 1.5),
            (self._power, 6),
        ]
        if self.allows_loss and self.options.rules.min_insync_replicas >= 2:
            kinds += [(self._flip, 2), (self._wipe, 1)]
        if self.allows_loss:
            kinds += [(self._power_all, 2)]
        if self.options.unclean:
            kinds += [(self._elect_uncleanly, 2)]
        return kinds

    # -- pieces --------------------------------------------------------------------------------------------------

    def _key(self) -> str:
        return self.dice.choice(self.options.keys)

    def _who(self) -> tuple[str, Who]:
        who = self.dice.choice(("leader", "leader", "follower", "member", str(self._broker())))
        return self._key(), who

    def _broker(self) -> int:
        return self.dice.randrange(1, self.options.brokers + 1)

    def _time(self, low_ms: int, high_ms: int) -> int:
        """A duration; short ones as likely as long ones, on a scale of powers."""
        return int(low_ms * (high_ms / low_ms) ** self.dice.random())

    def _produce(self, at: int, *, burst: bool = False) -> Entry:
        producer = self.dice.randrange(self.options.producers)
        count = self.dice.randrange(3, 12) if burst else self.dice.randrange(1, 6)
        gap = self._time(1, 200) if burst else self._time(10, 3_000)
        return Entry(at, "produce", (producer, count, gap))

    def _kill(self, at: int) -> Entry:
        return Entry(at, "kill", (*self._who(), self._time(100, 20_000)))

    def _power(self, at: int) -> Entry:
        if not self.allows_loss:
            return Entry(at, "power", (self._key(), str(self.victim), self._time(100, 20_000)))
        return Entry(at, "power", (*self._who(), self._time(100, 20_000)))

    def _power_all(self, at: int) -> Entry:
        return Entry(at, "power all", (self._time(100, 5_000), self._time(1, 5_000)))

    def _pause(self, at: int) -> Entry:
        return Entry(at, "pause", (*self._who(), self._time(50, 30_000)))

    def _stop(self, at: int) -> Entry:
        return Entry(at, "stop", (*self._who(), self._time(100, 20_000)))

    def _cut(self, at: int) -> Entry:
        shape = self.dice.choice(CUTS)
        return Entry(at, "cut", (*self._who(), shape, self.dice.randrange(2**16), self._time(100, 30_000)))

    def _storm(self, at: int) -> Entry:
        chance = self.dice.choice
        return Entry(at, "storm", (
            self._time(500, 40_000),
            chance((0, 0, 0.05, 0.15, 0.3)),
            chance((0, 0.05, 0.3)),
            chance((0, 0.1, 0.5)),
            chance((0.4, 5, 50, 400)),
            chance((0, 0, 0.05, 0.3)),
        ))  # fmt: skip

    def _clog(self, at: int) -> Entry:
        return Entry(at, "clog", (*self._who(), self.dice.choice(("in", "out")), self._time(100, 8_000)))

    def _elect(self, at: int) -> Entry:
        return Entry(at, "elect", (self._key(), self.dice.choice(("preferred", "balance"))))

    def _elect_uncleanly(self, at: int) -> Entry:
        return Entry(at, "elect", (self._key(), "unclean"))

    def _reassign(self, at: int) -> Entry:
        factor = self.options.replication_factor
        target = tuple(self.dice.sample(range(1, self.options.brokers + 1), factor))
        return Entry(at, "reassign", (self._key(), None if self.dice.random() < 0.15 else target))

    def _fail_over(self, at: int) -> Entry:
        how = self.dice.choice(("now", "now", "before answer", "before persisting"))
        return Entry(at, "controller", (how, self._time(50, 4_000)))

    def _disk_error(self, at: int) -> Entry:
        kind = self.dice.choice(("sync", "sync", "write", "read", "any"))
        times = self.dice.choice((1, 1, 3, 0))
        return Entry(at, "disk error", (*self._who(), kind, self.dice.randrange(4), times, self._time(100, 15_000)))

    def _disk_full(self, at: int) -> Entry:
        return Entry(at, "disk full", (*self._who(), self.dice.choice((0, 60, 400)), self._time(200, 20_000)))

    def _disk_slow(self, at: int) -> Entry:
        return Entry(at, "disk slow", (*self._who(), self._time(50, 15_000), self._time(500, 20_000)))

    def _clock(self, at: int) -> Entry:
        jump = self.dice.choice((-3_600_000, -1_000, 1_000, 60_000, 315_360_000_000))
        return Entry(at, "clock", (self._broker(), jump))

    def _flip(self, at: int) -> Entry:
        where = self.dice.choice(("below", "below", "above"))
        return Entry(at, "flip", (self._key(), str(self.victim), where, self.dice.randrange(2**32)))

    def _wipe(self, at: int) -> Entry:
        return Entry(at, "wipe", (self._key(), str(self.victim), self._time(100, 10_000)))

    def _delete_records(self, at: int) -> Entry:
        return Entry(at, "delete records", (self._key(), round(self.dice.random(), 3)))
