"""A small directory with every kind of file, and one harm of every kind that `verify` names."""

from __future__ import annotations

import kstore
from kstore._native import batch as native
from kstore.log import names
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, flip_byte, open_store

DIR = "/data/t-0"


def directory(disk=None, **config):
    """A closed directory of six batches of one record in three segments, and what an aborted producer left."""
    disk = disk or SimDisk()
    settings = {"internal.segment.bytes": 400, "index.interval.bytes": 0} | config
    with open_store(disk) as store:
        store.create_topic("t", config=settings)
        partition = store.partition("t", 0)
        sent = kstore.encode_batches(
            [b"aborted" * 9], timestamp_ms=NOW_MS, producer_id=9, producer_epoch=0, base_sequence=0, transactional=True
        )
        partition.append_batches(sent)
        partition.end_transaction(9, 0, commit=False, timestamp_ms=NOW_MS)
        expected = {0: b"aborted" * 9}
        for i in range(6):
            value = b"%d" % i * 100
            expected[partition.append([value], timestamp_ms=NOW_MS + i).base_offset] = value
    return disk, expected


def segments(disk):
    return [f"{DIR}/{name}" for name in disk.list(DIR) if name.endswith(".log")]


def batches(disk, path):
    return list(native.headers(disk.read_file(path)))


def _flip_batch(disk):
    path = segments(disk)[1]
    header = batches(disk, path)[1]
    flip_byte(disk, path, header.position + 70)
    return path, range(header.base_offset, header.next_offset)


def _flip_base_offset(disk):
    path = segments(disk)[1]
    header = batches(disk, path)[1]
    flip_byte(disk, path, header.position + 5)
    return path, range(header.base_offset, header.next_offset)


def _flip_epoch(disk):
    path = segments(disk)[0]
    flip_byte(disk, path, batches(disk, path)[1].position + 15, bit=2)
    return path, range(0)


def _tear(disk):
    path = segments(disk)[-1]
    disk.open_file(path).write_at(b"torn bytes", disk.size(path))
    return path, range(0)


def _lose_segment(disk):
    paths = segments(disk)
    first = batches(disk, paths[1])[0].base_offset
    for ending in (".log", ".index", ".timeindex"):
        disk.unlink(paths[1].replace(".log", ending))
    return paths[0], range(first, batches(disk, paths[2])[0].base_offset)


def _flip(ending, position=0):
    def harm(disk):
        path = next(f"{DIR}/{name}" for name in disk.list(DIR) if name.endswith(ending))
        flip_byte(disk, path, position)
        return path, range(0)

    return harm


def _lose(ending):
    def harm(disk):
        path = segments(disk)[0].replace(".log", ending)
        disk.unlink(path)
        return path, range(0)

    return harm


def _overwrite(path, data):
    def harm(disk):
        disk.unlink(path)
        disk.write_file(path, data)
        return path, range(0)

    return harm


DAMAGE = {
    "batch": _flip_batch,
    "base offset": _flip_base_offset,
    "leader epoch": _flip_epoch,
    "torn tail": _tear,
    "lost segment": _lose_segment,
    "offset index": _flip(".index", 7),
    "time index": _flip(".timeindex", 7),
    "lost offset index": _lose(".index"),
    "lost time index": _lose(".timeindex"),
    "transaction index": _flip(".txnindex", 1),
    "snapshot": _flip(".snapshot", 8),
    "leader epochs": _overwrite(f"{DIR}/{names.EPOCHS_FILE}", b"0\n9\n0 0\n"),
    "recovery points": _overwrite(f"/data/{names.RECOVERY_POINTS_FILE}", b"0\n1\nt zero 1\n"),
    "clean marker": _overwrite(f"/data/{names.CLEAN_SHUTDOWN_FILE}", b"nonsense"),
}
"""Each takes a disk, harms it, and returns the file and the offsets that are lost."""

KINDS = {
    "batch": "batch", "base offset": "batch", "leader epoch": "batch", "torn tail": "tail", "lost segment": "gap",
    "offset index": "index", "time index": "timeindex", "lost offset index": "index", "lost time index": "timeindex",
    "transaction index": "txnindex", "snapshot": "snapshot", "leader epochs": "epochs",
    "recovery points": "checkpoint", "clean marker": "checkpoint",
}  # fmt: skip


def damaged(name):
    """The directory with one harm: the disk, the harmed file, the offsets that are lost."""
    disk, _ = directory()
    path, lost = DAMAGE[name](disk)
    return disk, path, lost
