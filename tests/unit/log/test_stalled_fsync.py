"""S28: a disk that takes its time over one fsync holds up those who wait for that fsync, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, new_partition, values

PATIENCE_S = 20


class StallingDisk(SimDisk):
    """A disk whose fsync of one path does not come back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.stalls_at = ""
        self.stalled, self.go = threading.Event(), threading.Event()

    def _stall(self, path: str) -> None:
        if self.stalls_at and path.endswith(self.stalls_at):
            self.stalled.set()
            assert self.go.wait(PATIENCE_S)

    def sync_node(self, node, path):
        self._stall(path)
        super().sync_node(node, path)

    def sync_dir(self, path):
        self._stall(path)
        super().sync_dir(path)


@contextmanager
def stalled(disk: StallingDisk, path: str, work) -> Iterator[None]:
    """While `work` hangs in the fsync of `path`, on another thread; it has ended afterwards."""
    disk.stalls_at = path
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        assert disk.stalled.wait(PATIENCE_S), f"nobody syncs {path}"
        yield
    finally:
        disk.go.set()
        worker.join(PATIENCE_S)
    assert not worker.is_alive()


def in_time(work):
    """What `work` returns; fails where it waits for the stalled disk."""
    found = []
    worker = threading.Thread(target=lambda: found.append(work()), daemon=True)
    worker.start()
    worker.join(PATIENCE_S / 4)
    assert found, "it waits for an fsync that is not its own"
    return found[0]


@pytest.fixture
def two():
    """A store on a stalling disk, its partition t-0 of small segments, and one of another topic."""
    disk = StallingDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300)
    store.create_topic("other")
    partition.append([b"a" * 200], timestamp_ms=NOW_MS)
    with store:
        yield disk, store, partition, store.partition("other", 0)


def goes_on(store, partition, other):
    """All that no fsync of `partition`'s has a say in."""
    assert in_time(lambda: other.append([b"x"], durable=True)).base_offset == 0
    assert in_time(lambda: other.flush()) is None
    assert in_time(lambda: store.partition("t", 0)) is partition
    end = partition.log_end_offset
    for i in range(3):  # over a roll
        assert in_time(lambda: partition.append([b"b" * 200], timestamp_ms=NOW_MS + 1)).base_offset == end + i
    for isolation in ("read_uncommitted", "read_committed"):
        assert in_time(lambda isolation=isolation: values(partition, isolation=isolation))[-1] == b"b" * 200
    assert in_time(lambda: partition.offset_for_timestamp(NOW_MS + 1)) == (end, NOW_MS + 1)


@pytest.mark.parametrize("path", ["/t-0/00000000000000000000.log", "/t-0/00000000000000000001.log", "/t-0"])
@pytest.mark.parametrize("work", ["durable append", "flush", "background"])
def test_a_stalled_fsync_of_one_partition_holds_up_no_other_and_no_reader(two, path, work):
    disk, store, partition, other = two
    partition.append([b"a" * 200], timestamp_ms=NOW_MS)
    works = {
        "durable append": lambda: partition.append([b"d"], timestamp_ms=NOW_MS, durable=True),
        "flush": partition.flush,
        "background": store.tick,
    }
    before = partition.recovery_point
    with stalled(disk, path, works[work]):
        goes_on(store, partition, other)
        assert in_time(lambda: sorted(store.topics())) == ["other", "t"]
        assert in_time(lambda: store.create_topic("third")).name == "third"
        assert partition.recovery_point == before, "counted as synced before it is"
    assert partition.recovery_point > before


def test_a_stalled_checkpoint_of_the_directory_holds_up_no_append_and_no_reader(two):
    disk, store, partition, other = two
    with stalled(disk, "/recovery-point-offset-checkpoint.tmp", store.flush):
        goes_on(store, partition, other)


def test_appends_that_wait_for_a_stalled_fsync_share_the_next_one(two):
    disk, _, partition, _ = two
    ends = []

    def append():
        ends.append(partition.append([b"d"], durable=True).next_offset)

    waiting = [threading.Thread(target=append, daemon=True) for _ in range(5)]
    with stalled(disk, "/t-0/00000000000000000000.log", partition.flush):
        end = partition.log_end_offset
        for thread in waiting:
            thread.start()
        while partition.log_end_offset < end + 5:
            pass
        assert ends == [], "acknowledged by a sync that began before"
    for thread in waiting:
        thread.join(PATIENCE_S)
    assert sorted(ends) == [end + i + 1 for i in range(5)]
