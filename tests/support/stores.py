"""Stores on simulated disks, for tests of the core: a clock that stands, no background thread, any call may fail.

`kill` is the death of the process (the page cache lives on); `power_off` is the worst that a power loss may leave.
"""

from __future__ import annotations

from collections import Counter

from kstore.config import StoreConfig
from kstore.errors import CorruptionError
from kstore.store import Store
from kstore.testing.operations import Image
from kstore.testing.simdisk import SimDisk

ROOT = "/data"
NOW_MS = 1_700_000_000_000


class Clock:
    """A wall clock that moves when it is told to."""

    def __init__(self, now_ms=NOW_MS):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


def open_store(disk, *, root=ROOT, config=None, clock=None, **options):
    return Store(root, StoreConfig.parse(config), disk, clock or Clock(), background=False, **options)


def new_partition(disk=None, *, clock=None, topic="t", **config):
    """A store on `disk` with one topic of one partition; config keys with `_` for `.`."""
    store = open_store(disk if disk is not None else SimDisk(), clock=clock)
    store.create_topic(topic, config={key.replace("_", "."): value for key, value in config.items()})
    return store, store.partition(topic, 0)


def kill(store):
    """The end of a killed process: nothing more is written, the lock is free, the page cache stays."""
    if store._ticker is not None:
        store._ticker.stop()
    for partition in store._partitions.values():
        partition.close(clean=False)
    store._closed = True
    store._release()


def power_off(disk):
    """A disk that holds what is on the medium of `SimDisk(medium=True)` if nothing unsynced has arrived."""
    names = disk.medium.names.safe
    contents = {number: content.oldest() for number, content in disk.medium.contents.items()}
    return SimDisk(Image({n: dict(inner) for n, inner in names.items()}, contents), medium=True)


def values(partition, offset=None, *, isolation="read_uncommitted", max_bytes=1 << 20):
    """Every value from `offset` (the log start) on."""
    offset = partition.log_start_offset if offset is None else offset
    found = []
    while batches := partition.read(offset, isolation=isolation, max_bytes=max_bytes):
        found += [record.value for record in batches.records(from_offset=offset)]
        offset = batches.next_offset
    return found


def readable(partition):
    """Every offset that can be read and its value, around damage."""
    offset, found = partition.log_start_offset, {}
    while True:
        try:
            batches = partition.read(offset)
            if not batches:
                return found
            for record in batches.records(from_offset=offset):
                found[record.offset] = record.value
                offset = record.offset + 1
            offset = batches.next_offset
        except CorruptionError as damage:
            if damage.next_offset <= offset:
                raise AssertionError(f"it does not say where to read on from {offset}") from damage
            offset = damage.next_offset


def count_calls(disk):
    """A counter of (kind, path) that fills as calls of `disk` are made."""
    counted = Counter()
    disk.faults.on_call = lambda kind, path: counted.update([(kind, path)])
    return counted


def flip_byte(disk, path, position, bit=0):
    """Change one bit of a file, in the cache and on the medium."""
    disk.flip_bit(path, position * 8 + bit)
