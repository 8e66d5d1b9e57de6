"""S11: a segment whose file is gone or shorter than it was, between others that are whole.

Each segment of a log in turn, at each kind of cut: between two batches, in a header, in records, after one byte, before
the last one, to nothing; and its file gone. The directory was stopped cleanly, or died. Always the gap, and only the
gap, is missing; it is said to whoever reads there and by `verify`, before and after the directory was open for
writing; every other record keeps its offset, and no other log file is changed or deleted.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kstore
from kstore._native import batch as native
from support.stores import kill

RECORDS = 40
FINISHED = 6
CUTS = ("gone", "empty", "one byte", "in a header", "between batches", "in records", "last byte")


def value(offset: int) -> bytes:
    return b"%03d" % offset + bytes(90)


def directory(home: Path, *, clean: bool) -> list[Path]:
    """A partition of several segments, all on the medium; gives the segments' logs."""
    store = kstore.open(home / "data")
    store.create_topic("t", config={"internal.segment.bytes": 1000})
    for offset in range(RECORDS):
        store.partition("t", 0).append([value(offset)])
    if clean:
        store.close()
    else:
        store.flush()
        kill(store)
    return sorted((home / "data" / "t-0").glob("*.log"))


def cut(log: Path, how: str) -> int:
    """Damage a segment; returns the first offset that is lost."""
    batches = list(native.headers(log.read_bytes()))
    middle = batches[len(batches) // 2]
    end = batches[-1].position + batches[-1].size_bytes
    if how == "gone":
        log.unlink()
        return batches[0].base_offset
    size = {
        "empty": 0,
        "one byte": 1,
        "in a header": middle.position + 30,
        "between batches": middle.position,
        "in records": middle.position + 80,
        "last byte": end - 1,
    }[how]
    os.truncate(log, size)
    return next(b.base_offset for b in batches if b.position + b.size_bytes > size)


def readable(log: kstore.Partition) -> tuple[list[int], list[tuple[int, int]]]:
    """The offsets that can be read, with their values, and the gaps that reading them told of."""
    offsets, gaps = [], []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        try:
            batches = log.read(offset, max_bytes=1)
            for record in batches:
                assert record.value == value(record.offset)
                offsets.append(record.offset)
            offset = batches.next_offset
        except kstore.CorruptionError as damage:
            assert damage.next_offset is not None
            assert damage.next_offset > offset
            gaps.append((offset, damage.next_offset))
            offset = damage.next_offset
    return offsets, gaps


def logs_of(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "data" / "t-0").glob("*.log")}


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("which", range(FINISHED))
def test_a_lost_segment_is_reported_and_the_others_stay(tmp_path: Path, which, how: str, clean: bool) -> None:
    logs = directory(tmp_path, clean=clean)
    assert len(logs) == FINISHED + 1
    first = cut(logs[which], how)
    last = int(logs[which + 1].stem)
    gaps = [(first, last)] if (which, how) != (0, "gone") else []  # there the log begins behind the gap
    kept = [offset for offset in range(RECORDS) if not first <= offset < last]
    before = logs_of(tmp_path)

    report = kstore.verify(tmp_path / "data")
    assert not report.ok
    with kstore.open(tmp_path / "data", read_only=True) as store:
        assert readable(store.partition("t", 0)) == (kept, gaps)
    assert logs_of(tmp_path) == before, "looking changed something"
    with kstore.open(tmp_path / "data") as store:
        assert readable(store.partition("t", 0)) == (kept, gaps)
    after = logs_of(tmp_path)
    assert before.items() - after.items() <= {(logs[which].name, before.get(logs[which].name))}
    assert not kstore.verify(tmp_path / "data").ok, "opening it for writing hid the loss"
    with kstore.open(tmp_path / "data") as store:
        assert store.partition("t", 0).append([value(RECORDS)]).base_offset == RECORDS
        assert readable(store.partition("t", 0)) == ([*kept, RECORDS], gaps)


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
@pytest.mark.parametrize("how", CUTS)
def test_a_lost_end_of_the_log_gives_no_offset_twice(tmp_path: Path, how: str, clean: bool) -> None:
    logs = directory(tmp_path, clean=clean)
    first = cut(logs[-1], how)
    kept = list(range(first))
    assert not kstore.verify(tmp_path / "data").ok
    for end in (RECORDS, RECORDS + 1):
        with kstore.open(tmp_path / "data") as store:
            log = store.partition("t", 0)
            assert log.log_end_offset == end
            assert readable(log) == (kept, [(first, RECORDS)])
            assert log.append([value(end)]).base_offset == end
            kept.append(end)
    assert not kstore.verify(tmp_path / "data").ok
