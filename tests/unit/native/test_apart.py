"""Large batches that a client sent behind each other are one append, uncopied, and stored as if each had come alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import kstore
from kstore._native.repeats import Run
from kstore._native.stream import FrameReader
from kstore.errors import InvalidBatch, StorageError
from kstore.log.disk import OsDisk
from support.alike import CORRELATION, frame, patterns
from support.short_writes import files_up_to
from support.stores import open_store

PRIMER = kstore.encode_batches([bytes(60_000)])


def run_of(*batches: bytes) -> Run:
    """The batches as one run. Others went before them, by which the reader learnt that large requests come in rows."""
    reader, known = FrameReader(1 << 20), patterns()
    frames = [frame(PRIMER), *(frame(one) for one in batches)]
    stream = memoryview(b"".join(CORRELATION.pack(len(one)) + one for one in frames))
    is_primed = False
    while stream:
        room = reader.get_buffer()
        count = min(len(room), len(stream))
        room[:count] = stream[:count]
        reader.buffer_updated(count)
        stream = stream[count:]
        if not is_primed and (first := known.gather(reader)) is not None:
            assert isinstance(first, Run)
            assert first.count == 1
            first.done()
            is_primed = True
    run = known.gather(reader)
    assert isinstance(run, Run)
    assert run.count == len(batches)
    return run


def batch(size: int, records: int = 1, **options: object) -> bytes:
    values = [random.Random(size).randbytes(size // records)] * records
    return kstore.encode_batches(values, timestamp_ms=1_700_000_000_000, **options)  # type: ignore[arg-type]


BATCHES = [batch(60_000, 3), batch(17_000), batch(100), batch(40_000, 40), batch(90_000, 2, compression="lz4")]


def test_the_buffer_is_made_for_those_who_ask() -> None:
    run = run_of(*BATCHES)
    assert bytes(memoryview(run)) == b"".join(BATCHES)
    assert len(run) == sum(map(len, BATCHES))
    assert run.offsets == 3 + 1 + 1 + 40 + 2


@pytest.mark.parametrize(
    "config",
    [{}, {"message.timestamp.type": "LogAppendTime"}, {"compression.type": "zstd"}, {"segment.bytes": 1 << 20}],
    ids=["plain", "log-append-time", "zstd", "rolls"],
)
def test_stored_as_one_by_one(tmp_path: Path, config: dict[str, object]) -> None:
    logs, ends = [], []
    for name in ("apart", "alone"):
        with open_store(OsDisk(), root=str(tmp_path / name)) as store:
            store.create_topic("t", config=config)
            partition = store.partition("t", 0)
            for _ in range(8):
                for some in (BATCHES[:3], BATCHES[3:]):
                    if name == "apart":
                        partition.append_batches(run_of(*some))
                    else:
                        for one in some:
                            partition.append_batches(one)
                    ends.append(partition.log_end_offset)
            assert (len(partition.segments) > 1) == (config.get("segment.bytes") == 1 << 20)
        logs.append(b"".join(file.read_bytes() for file in sorted((tmp_path / name / "t-0").glob("*.log"))))
        report = kstore.verify(str(tmp_path / name))
        assert report.ok, report
    assert logs[0] == logs[1]
    assert ends[:16] == ends[16:]


@pytest.mark.parametrize("at", range(3))
def test_a_bad_one_keeps_all_out(tmp_path: Path, at: int) -> None:
    batches = [batch(60_000), batch(30_000), batch(20_000)]
    batches[at] = batches[at][:-1] + bytes([batches[at][-1] ^ 1])
    with kstore.open(str(tmp_path)) as store:
        store.create_topic("t")
        partition = store.partition("t", 0)
        partition.append_batches(batch(100))
        with pytest.raises(InvalidBatch) as caught:
            partition.append_batches(run_of(*batches))
        assert caught.value.position == sum(map(len, batches[:at]))
        assert partition.log_end_offset == 1
        assert Path(partition.segments[0].path).stat().st_size == len(batch(100))


def test_records_of_compressed_ones_are_looked_at_where_they_lie(tmp_path: Path) -> None:
    good = batch(60_000, 2, compression="lz4")
    wrong = kstore.encode_batches([b"x" * 100] * 300, compression="gzip", timestamp_ms=1)
    header = bytearray(wrong)
    header[60] -= 1  # one record less than there are, with a checksum that fits
    header[23 + 3] -= 1
    header[17:21] = kstore.crc32c(bytes(header[21:])).to_bytes(4, "big")
    with kstore.open(str(tmp_path)) as store:
        store.create_topic("t")
        partition = store.partition("t", 0)
        partition.check_records()
        partition.append_batches(run_of(good, good))
        with pytest.raises(InvalidBatch, match="records"):
            partition.append_batches(run_of(good, bytes(header)))
        assert partition.log_end_offset == 4


def test_a_write_that_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    batches = [batch(60_000), batch(30_000), batch(20_000)]
    for limit in (100, 61 + 5, 61, 60_100, 60_200, 95_000):
        directory = tmp_path / str(limit)
        with kstore.open(str(directory)) as store:
            store.create_topic("t")
            partition = store.partition("t", 0)
            with files_up_to(limit), pytest.raises(StorageError):
                partition.append_batches(run_of(*batches))
            assert partition.log_end_offset == 0
            assert (directory / "t-0" / f"{0:020}.log").stat().st_size == 0
        with kstore.open(str(directory)) as store:
            partition = store.partition("t", 0)
            partition.append_batches(run_of(*batches))
            assert partition.read(0, max_bytes=1 << 20).size_bytes == sum(map(len, batches))
