"""Every single bit of a directory flipped, one at a time: nothing wrong is ever read, nothing whole is ever lost.

The directory has three segments and everything beside them. After each flip it is opened as its owner would, every
record is read, and each record that comes back must be the one that was written. A flip inside a batch may cost that
batch, loudly, and no other; a flip anywhere else costs nothing. In sealed segments `verify` must see every flip.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import kstore
from kstore._native import batch as native
from kstore.config import StoreConfig
from kstore.log import names
from kstore.store import Store
from kstore.testing.operations import Image
from kstore.testing.simdisk import SimDisk

ROOT = "/data"
STEP = int(os.environ.get("KSTORE_FLIP_STEP", "1"))
"""Every STEP-th bit; 1 is all of them."""


class Made(NamedTuple):
    image: Image
    records: dict[int, tuple[bytes | None, bytes | None]]
    batches: dict[str, list[tuple[int, int, int, int]]]
    """By file: position, end, base offset and next offset of each batch."""


def open_store(disk: SimDisk, *, read_only: bool = False) -> Store:
    return Store(ROOT, StoreConfig(), disk, lambda: 1_000_000, background=False, read_only=read_only)


@functools.cache
def made() -> Made:
    disk = SimDisk()
    with open_store(disk) as store:
        store.create_topic("t", config={"internal.segment.bytes": 700, "index.interval.bytes": 100})
        partition = store.partition("t", 0)
        records: dict[int, tuple[bytes | None, bytes | None]] = {}
        i = 0
        while len(partition.segments) < 3 or partition.segments[-1].size_bytes < 500:
            batch = [(b"k%d" % (i + j), b"value-%d" % (i + j)) for j in range(3)]
            done = partition.append(batch, timestamp_ms=1000 + 7 * i, compression="gzip" if i % 2 else None)
            records.update({done.base_offset + j: pair for j, pair in enumerate(batch)})
            i += 3
        buffer = kstore.encode_batches([b"idem"], timestamp_ms=5000, producer_id=9, producer_epoch=0, base_sequence=0)
        records[partition.append_batches(buffer).base_offset] = (None, b"idem")
    files = disk.image().files()
    batches = {
        path: [(h.position, h.position + h.size_bytes, h.base_offset, h.next_offset) for h in native.headers(data)]
        for path, data in files.items()
        if path.endswith(".log")
    }
    return Made(disk.image(), records, batches)


def read_all(partition: kstore.Partition) -> Iterator[tuple[int, tuple[bytes | None, bytes | None]]]:
    offset, stuck = partition.log_start_offset, -1
    while True:
        try:
            batches = partition.read(offset)
            if not batches:
                return
            for record in batches.records(from_offset=offset):
                yield record.offset, (record.key, record.value)
                offset = record.offset + 1
            offset = batches.next_offset
        except kstore.CorruptionError as damage:
            assert damage.next_offset > stuck, f"{damage} does not say where to read on from {offset}"
            offset = stuck = damage.next_offset


def flipped(image: Image, path: str, bit: int) -> SimDisk:
    disk = SimDisk(image)
    disk.flip_bit(path, bit)
    return disk


def files_like(*endings: str) -> list[str]:
    return sorted(path for path in made().image.files() if path.endswith(endings))


LOGS = [0, 1, 2]


@pytest.mark.parametrize("index", LOGS)
def test_a_flip_in_a_log_costs_its_batch_alone_and_loudly(index: int) -> None:
    path = files_like(".log")[index]
    image, records, batches = made()
    for bit in range(0, 8 * len(image.files()[path]), STEP):
        hit = next(b for b in batches[path] if b[0] <= bit // 8 < b[1])
        with open_store(flipped(image, path, bit), read_only=True) as store:
            got = dict(read_all(store.partition("t", 0)))
        wrong = {offset: pair for offset, pair in got.items() if records.get(offset) != pair}
        assert not wrong, f"bit {bit} of {path}: read {wrong} in silence"
        lost = [offset for offset in records if offset not in got and not hit[2] <= offset < hit[3]]
        assert not lost, f"bit {bit} of {path}, batch {hit}: lost {lost} too"


@pytest.mark.parametrize("read_only", [True, False])
def test_a_flip_anywhere_else_costs_no_record(read_only: bool) -> None:
    image, records, _ = made()
    for path in sorted(image.files()):
        if path.endswith(".log"):
            continue
        step = STEP if read_only else STEP * 5
        for bit in range(0, 8 * len(image.files()[path]), step):
            disk = flipped(image, path, bit)
            with open_store(disk, read_only=read_only) as store:
                partition = store.partition("t", 0)
                got = dict(read_all(partition))
                by_time = partition.offset_for_timestamp(1050)
            assert got == records, f"bit {bit} of {path}: {records.items() ^ got.items()}"
            assert by_time == (9, 1063), f"bit {bit} of {path}"


def test_verify_sees_every_flip_in_a_sealed_segment() -> None:
    image = made().image
    sealed = files_like(".log")[:2]
    for log in sealed:
        for path in (log, log.replace(".log", ".index"), log.replace(".log", ".timeindex")):
            for bit in range(0, 8 * len(image.files()[path]), STEP):
                report = kstore.verify(ROOT, disk=flipped(image, path, bit))
                assert report.findings, f"bit {bit} of {path} was not seen"


def test_verify_finds_nothing_in_the_directory_as_it_was_left() -> None:
    assert kstore.verify(ROOT, disk=SimDisk(made().image)).findings == []


@pytest.mark.parametrize("name", [names.RECOVERY_POINTS_FILE, names.CLEAN_SHUTDOWN_FILE, names.TWIN_FILE])
def test_a_cut_of_a_root_file_costs_no_record(name: str) -> None:
    image, records, _ = made()
    path = f"{ROOT}/{name}"
    for size in range(len(image.files()[path])):
        disk = SimDisk(image)
        disk.open_file(path).truncate(size)
        with open_store(disk) as store:
            assert dict(read_all(store.partition("t", 0))) == records
