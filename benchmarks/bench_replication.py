"""What replication costs: appends through replicas against plain appends of the same batches, in one process.

All brokers share this machine's cores and its disk, so three replicas do three times the work here: a ratio of a third
is what the copies alone cost. On the wall clock, for followers and fsyncs have threads of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import kstore
from benchmarks.support import samples
from benchmarks.support.bench import CONFIG, Bench
from kstore.cluster.controlling import monotonic_ms
from kstore.cluster.local import LocalBroker, LocalCluster
from kstore.replica import Replica
from kstore.replication.codes import Code

BATCHES = 48
"""Batches of 64 KiB a lap, 3 MiB: in flight at once, as a few producers with five requests each have them."""
TOPIC = "t"


class Producer:
    """Appends a lap's batches at the leaders and waits for the last acknowledgement."""

    def __init__(self, cluster: LocalCluster, partitions: int, batch: bytes, acks: int) -> None:
        self.batch = batch
        self.acks = acks
        self.leaders = [
            cluster.wait_for_leader(TOPIC, index).replicas[TOPIC, index] for index in range(partitions)
        ]
        self._done = threading.Semaphore(0)
        for broker in cluster.brokers.values():
            self._listen(broker)

    def _listen(self, broker: LocalBroker) -> None:
        def acknowledge(replica: Replica, token: int, code: Code) -> None:
            if code is not Code.NONE:
                raise RuntimeError(f"an append was refused: {code.name}")
            self._done.release()

        broker.acknowledge = acknowledge  # type: ignore[method-assign]

    def lap(self) -> None:
        now_ms = monotonic_ms()
        for number in range(BATCHES):
            leader = self.leaders[number % len(self.leaders)]
            leader.append_batches(self.batch, acks=self.acks, now_ms=now_ms)
        for _ in range(BATCHES):
            self._done.acquire()


def _plain(store: kstore.Store, partitions: int, batch: bytes, *, durable: bool) -> Callable[[], None]:
    logs = [store.partition(TOPIC, index) for index in range(partitions)]

    def lap() -> None:
        for number in range(BATCHES):
            logs[number % partitions].append_batches(batch)
        if durable:
            for log in logs:
                log.flush()

    return lap


def bench_replication(bench: Bench) -> None:
    """Appends with acks=1 and acks=all through 1 to 3 replicas of 1 to 6 partitions, against plain ones."""
    batch = kstore.encode_batches(samples.values(600, 100), timestamp_ms=samples.TIMESTAMP_MS)
    for partitions in (1, 6) if bench.quick else (1, 3, 6):
        for acks, word in ((1, "acks=1"), (-1, "acks=all")):
            _compare(bench, partitions, acks, word, batch)


def _compare(bench: Bench, partitions: int, acks: int, word: str, batch: bytes) -> None:
    with bench.place() as directory, ExitStack() as stack:
        store = stack.enter_context(kstore.open(f"{directory}/plain", config=CONFIG))
        store.create_topic(TOPIC, partitions)
        race = bench.race(wall=True)
        names = []
        for replicas in (1, 2, 3):
            paths = [f"{directory}/{replicas}-{broker}" for broker in range(replicas)]
            cluster = stack.enter_context(LocalCluster(paths, config=CONFIG, session_timeout_ms=60_000))
            cluster.create_topic(TOPIC, partitions, replicas)
            names.append((replicas, f"{replicas} replicas"))
            race.add(names[-1][1], Producer(cluster, partitions, batch, acks).lap, units=BATCHES)
        against = "plain append" if acks == 1 else "plain append, flushed"
        race.add(against, _plain(store, partitions, batch, durable=acks != 1), units=BATCHES)
        note = bench.quiet()
        result = race.run()
    for replicas, name in names:
        what = f"{word}, {partitions} partitions, {replicas} replicas"
        bench.speed(
            "R3", what, result, against, None, name=name, unit="batch", unit_bytes=len(batch), note=note
        )
