"""No legal history is ever called damage: kstore, followers' holes and a Kafka that compacts, in one directory.

Whatever came before, every look at the directory (verify, a reader, the writer, repair) finds nothing wrong and every
record that is there. The other way round, a hole that nobody made is found as long as the topic is known to be dense.
"""

from __future__ import annotations

import random

import kstore
from kstore.inspect import repair
from kstore.log.special import append_as_follower
from kstore.store.trust import Trust
from kstore.testing.simdisk import SimDisk
from support import other_kafka
from support.damage import DIR
from support.stores import kill, open_store, power_off, readable

HISTORIES = 30
STEPS = 12
CONFIG = {"internal.segment.bytes": 500, "index.interval.bytes": 0}


class History:
    """One directory, what it must hold, and the store that has it open."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.disk = SimDisk(medium=True)
        self.expected: dict[int, bytes] = {}
        self.holes_may_be = False
        self.said: list[str] = []
        with open_store(self.disk) as store:
            policy = rng.choice(["delete", "delete", "compact"])
            store.create_topic("t", config=CONFIG | {"cleanup.policy": policy})
            self.holes_may_be = policy != "delete"
        self.open()

    def open(self) -> None:
        self.store = open_store(self.disk)
        self.log = self.store.partition("t", 0)

    def step(self) -> None:
        steps = [self.append, self.append, self.follow, self.policy, self.restart, self.kafka, self.power]
        step = self.rng.choice(steps)
        self.said.append(step.__name__)
        step()

    def append(self) -> None:
        for _ in range(self.rng.randrange(1, 5)):
            value = self.rng.randbytes(self.rng.randrange(1, 150))
            self.expected[self.log.append([value]).base_offset] = value

    def follow(self) -> None:
        skipped = self.rng.choice([0, 0, 1, 7])
        base = self.log.log_end_offset + skipped
        epoch = self.log.log.leader_epoch
        value = self.rng.randbytes(50)
        append_as_follower(self.log.log, kstore.encode_batches([value], base_offset=base, leader_epoch=epoch))
        self.expected[base] = value
        self.holes_may_be |= skipped > 0

    def policy(self) -> None:
        policy = self.rng.choice(["delete", "compact"])
        self.store.alter_topic("t", {"cleanup.policy": policy})
        self.holes_may_be |= policy != "delete"

    def stop(self) -> None:
        if self.rng.random() < 0.5:
            self.store.close()
        else:
            kill(self.store)

    def restart(self) -> None:
        self.stop()
        self.open()

    def power(self) -> None:
        self.store.flush()
        kill(self.store)
        self.disk = power_off(self.disk)
        self.open()

    def kafka(self) -> None:
        self.stop()
        sealed = [int(name.removesuffix(".log")) for name in self.disk.list(DIR) if name.endswith(".log")]
        gone = {o for o in self.expected if o < max(sealed) and self.rng.random() < 0.4}
        other_kafka.compact(self.disk, DIR, lambda offset: offset not in gone, empty=self.rng.random() < 0.3)
        other_kafka.leave(
            self.disk, how=self.rng.choice(["clean", "killed"]), cleaned=[("t", 0)] if self.rng.random() < 0.5 else ()
        )
        self.expected = {o: v for o, v in self.expected.items() if o not in gone}
        self.holes_may_be = True
        if self.rng.random() < 0.5:
            self.check_closed()
        self.open()

    def check(self) -> None:
        with open_store(self.disk, read_only=True) as reader:
            assert readable(reader.partition("t", 0)) == self.expected, self.said
        assert readable(self.log) == self.expected, self.said
        dense = Trust.read(self.disk, "/data").dense_id("t", 0) is not None
        assert not (dense and self.holes_may_be), self.said
        assert dense or self.holes_may_be, self.said

    def check_closed(self) -> None:
        assert kstore.verify("/data", disk=self.disk).findings == [], self.said
        assert repair("/data", disk=self.disk) == [], self.said


def test_no_history_is_called_damage(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(HISTORIES):
        history = History(rng)
        for _ in range(STEPS):
            history.step()
            history.check()
        history.store.close()
        history.check_closed()


def test_a_hole_that_nobody_made_is_found_where_offsets_are_dense(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(HISTORIES):
        history = History(rng)
        while len(history.log.segments) < 3:
            history.append()
        history.stop()
        bases = [int(name.removesuffix(".log")) for name in history.disk.list(DIR) if name.endswith(".log")]
        gone = rng.choice([o for o in history.expected if o < max(bases)])
        other_kafka.compact(history.disk, DIR, lambda offset, gone=gone: offset != gone)
        found = [f for f in kstore.verify("/data", disk=history.disk).findings if f.kind in ("batch", "gap")]
        assert [f.first_offset for f in found] == ([] if history.holes_may_be else [gone])
