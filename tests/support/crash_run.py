"""A workload under way: a real store on a recording disk, and the promises that it has made so far.

Every step notes the promises in the trace before it starts and after it has returned, so that each crash state can be
checked against what held at that moment.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from kstore.store import Store
from kstore.testing.simdisk import SimDisk
from support.promises import History, Promise, Promises, Stored, clock, reopen

CODECS = (None, None, None, "gzip", "lz4", "snappy", "zstd")


class Run:
    """One run of one workload; the same seed does the same."""

    def __init__(self, seed: int, *, segment_bytes: int = 1200, config: dict[str, Any] | None = None) -> None:
        self.dice = random.Random(seed)
        self.disk = SimDisk(record=True)
        self.topic_config = {
            "internal.segment.bytes": segment_bytes, "index.interval.bytes": 128, **(config or {})
        }
        self.promises = Promises()
        self.note()
        self.store: Store = reopen(self.disk)
        self._written = 0
        self._timestamp_ms = clock()

    # -- what is promised ---------------------------------------------------------------------------------------

    def note(self) -> None:
        self.disk.note(self.promises)

    def _promise(self, key: tuple[str, int], promise: Promise) -> None:
        self.promises = replace(self.promises, partitions={**self.promises.partitions, key: promise})
        self.note()

    # -- steps --------------------------------------------------------------------------------------------------

    def create(self, topic: str, partitions: int = 1) -> None:
        topic_id = f"{topic:A<22}"[:21] + "A"
        fresh = {(topic, i): Promise((History([], 0, 0, 0),)) for i in range(partitions)}
        self.promises = replace(
            self.promises,
            partitions={**self.promises.partitions, **fresh},
            possible=self.promises.possible | {topic},
        )
        self.note()
        self.store.create_topic(topic, partitions, config=self.topic_config, topic_id=topic_id)
        self.promises = replace(self.promises, certain=self.promises.certain | {topic})
        self.note()

    def delete(self, topic: str) -> None:
        self.promises = replace(self.promises, certain=self.promises.certain - {topic})
        self.note()
        self.store.delete_topic(topic)
        self.promises = replace(
            self.promises,
            possible=self.promises.possible - {topic},
            partitions={key: p for key, p in self.promises.partitions.items() if key[0] != topic},
        )
        self.note()

    def records(self, count: int, size: int | None = None) -> list[Stored]:
        made = []
        for _ in range(count):
            self._written += 1
            self._timestamp_ms += self.dice.choice((0, 1, 5, -3, 1000))
            length = self.dice.choice((0, 3, 20, 90)) if size is None else size
            value = b"%d:" % self._written + self.dice.randbytes(length)
            made.append((self.dice.choice((None, b"", b"key")), value, self._timestamp_ms))
        return made

    def append(
        self, topic: str = "t", index: int = 0, *, count: int = 1, durable: bool = False, size: int | None = None
    ) -> None:
        from kstore import Record

        new = self.records(count, size)
        key = (topic, index)
        promise = self.promises.partitions[key]
        promise.histories[0].records.extend(new)
        self._promise(key, promise.submit(count))
        self.store.partition(topic, index).append(
            [Record(value, key=k, timestamp_ms=at) for k, value, at in new],
            durable=durable,
            compression=self.dice.choice(CODECS),
        )
        self._promise(key, self.promises.partitions[key].store(durable))

    def flush_partition(self, topic: str = "t", index: int = 0) -> None:
        self.store.partition(topic, index).flush()
        self._promise((topic, index), self.promises.partitions[topic, index].flush())

    def flush(self) -> None:
        self.store.flush()
        self._all_durable()

    def _all_durable(self) -> None:
        flushed = {key: promise.flush() for key, promise in self.promises.partitions.items()}
        self.promises = replace(self.promises, partitions=flushed)
        self.note()

    def delete_records(self, offset: int, topic: str = "t", index: int = 0) -> None:
        key = (topic, index)
        self._promise(key, self.promises.partitions[key].starting(offset))
        self.store.partition(topic, index).delete_records(offset)
        self._promise(key, self.promises.partitions[key].started(offset))

    def reopen(self) -> None:
        """A clean stop and a new start."""
        self.store.close()
        self._all_durable()
        self.store = reopen(self.disk)

    def kill(self) -> None:
        """The process dies, the machine does not: a new process recovers over the same page cache."""
        self.disk.kill()
        self.store = reopen(self.disk)

    def close(self) -> None:
        self.store.close()
        self._all_durable()

    def end(self, topic: str = "t", index: int = 0) -> int:
        return self.promises.partitions[topic, index].histories[0].high


class Follower:
    """A replica's partition: its high watermark is set from outside, and its tail may be cut."""

    def __init__(self, run: Run, topic: str = "t", index: int = 0) -> None:
        self.run = run
        self.key = (topic, index)
        self.partition = run.store.partition(topic, index)
        self.partition.log.replicate_from(self.partition.log_start_offset)

    def append(self, count: int = 1) -> None:
        self.run.append(*self.key, count=count)

    def truncate(self, offset: int) -> None:
        promise = self.run.promises.partitions[self.key]
        self.run._promise(self.key, promise.truncating(offset))
        self.partition.truncate_to(offset)
        self.run._promise(self.key, self.run.promises.partitions[self.key].truncated())

    def new_epoch(self) -> None:
        self.partition.log.leader_epoch += 1
