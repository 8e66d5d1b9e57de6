"""A workload under way: a real store on a recording disk, and the promises that it has made so far.

Every step notes the promises in the trace before it starts and after it has returned, so that each crash state can be
checked against what held at that moment.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from kstore import Record, encode_batches
from kstore.store import Store
from kstore.testing.simdisk import SimDisk
from support.promises import NOTHING, History, Promise, Promises, Stored, clock, reopen

CODECS = (None, None, None, "gzip", "lz4", "snappy", "zstd")


class Run:
    """One run of one workload; the same seed does the same."""

    def __init__(
        self,
        seed: int,
        *,
        segment_bytes: int = 1200,
        config: dict[str, Any] | None = None,
        disk: SimDisk | None = None,
    ) -> None:
        """`disk` stands in for one that records everything, for suites that look at one state only."""
        self.dice = random.Random(seed)
        self.disk = SimDisk(record=True) if disk is None else disk
        self.topic_config = {
            "internal.segment.bytes": segment_bytes, "index.interval.bytes": 128, **(config or {})
        }
        self.promises = Promises()
        self.note()
        self.store: Store = reopen(self.disk)
        self.alive = True
        """False from the death of a process until its successor has opened the directory."""
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
        self.alive = False
        self.disk.kill()
        self.store = reopen(self.disk)
        self.alive = True

    def close(self) -> None:
        self.store.close()
        self._all_durable()

    def end(self, topic: str = "t", index: int = 0) -> int:
        return self.promises.partitions[topic, index].histories[0].high


class Follower:
    """A replica's partition: its high watermark is set from outside, and its tail may be cut, between two batches."""

    def __init__(self, run: Run, topic: str = "t", index: int = 0) -> None:
        self.run = run
        self.key = (topic, index)
        self.partition = run.store.partition(topic, index)
        self.partition.log.replicate_from(self.partition.log_start_offset)
        self._batch_ends = [0]

    def append(self, count: int = 1) -> None:
        self.run.append(*self.key, count=count)
        self._batch_ends.append(self.run.end(*self.key))

    def truncate(self, offset: int) -> None:
        """Cut at the end of the last batch that ends at or below `offset`."""
        self._batch_ends = [end for end in self._batch_ends if end <= offset]
        offset = self._batch_ends[-1]
        promise = self.run.promises.partitions[self.key]
        self.run._promise(self.key, promise.truncating(offset))
        self.partition.truncate_to(offset)
        self.run._promise(self.key, self.run.promises.partitions[self.key].truncated())

    def new_epoch(self) -> None:
        self.partition.log.leader_epoch += 1


class Replica(Follower):
    """A replica that leads and follows by turns: its own appends, a leader's batches, cuts of the tail and of all."""

    def __init__(self, run: Run, topic: str = "t", index: int = 0) -> None:
        super().__init__(run, topic, index)
        self.epoch = 0
        self.partition.follow(self.partition.log_start_offset)

    def lead(self) -> None:
        """Become leader of a newer epoch, which is noted before the first append."""
        self.epoch += 1
        self.partition.lead(self.epoch, self.run.end(*self.key))

    def follow(self) -> None:
        """Give the lead to another, in a newer epoch; what is above the log start may be cut."""
        self.epoch += 1
        self.partition.follow(self.partition.log_start_offset)

    def fetch(self, count: int = 1, base_offset: int | None = None) -> None:
        """Store a leader's batch; only the first of a log may begin below its end."""
        end = self.run.end(*self.key)
        base = end if base_offset is None else base_offset
        new = self.run.records(count)
        promise = self.run.promises.partitions[self.key]
        records = promise.histories[0].records
        records += [*[NOTHING] * (base - len(records)), *new]  # nothing, where the batch did not come that began below
        self.run._promise(self.key, promise.submit(base + count - end))
        data = encode_batches(
            [Record(value, key=key, timestamp_ms=at) for key, value, at in new],
            base_offset=base,
            leader_epoch=self.epoch,
            compression=self.run.dice.choice(CODECS),
        )
        self.partition.append_as_follower(data)
        self.run._promise(self.key, self.run.promises.partitions[self.key].store())
        self._batch_ends.append(self.run.end(*self.key))

    def start_over(self, offset: int, base_offset: int) -> None:
        """Drop everything and go on at `offset`; the first batch may begin at `base_offset`."""
        promise = self.run.promises.partitions[self.key]
        self.run._promise(self.key, promise.starting_over(offset, base_offset))
        self.partition.start_over(offset, base_offset)
        self.run._promise(self.key, self.run.promises.partitions[self.key].started_over())
        self._batch_ends = [offset]

    def restart(self, *, clean: bool) -> None:
        """A new process, as a follower."""
        if clean:
            self.run.reopen()
        else:
            self.run.kill()
        self.partition = self.run.store.partition(*self.key)
        self.follow()
