"""S11: a finished segment whose file is gone, or shorter than it was, between others that are whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kstore

RECORDS = 40


def directory(home: Path) -> Path:
    """A partition of several segments, closed cleanly; gives the path of the second segment's log."""
    with kstore.open(home / "data") as store:
        store.create_topic("t", config={"internal.segment.bytes": 1000})
        for number in range(RECORDS):
            store.partition("t", 0).append([b"%03d" % number + bytes(90)])
    return sorted((home / "data" / "t-0").glob("*.log"))[1]


def readable(home: Path) -> list[int]:
    offsets = []
    with kstore.open(home / "data", read_only=True) as store:
        log = store.partition("t", 0)
        offset = log.log_start_offset
        while offset < log.log_end_offset:
            try:
                batches = log.read(offset, max_bytes=1)
                offsets += [record.offset for record in batches]
                offset = batches.next_offset
            except kstore.CorruptionError as damage:
                assert damage.next_offset is not None
                offset = damage.next_offset
    return offsets


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_lost_segment_is_reported_and_the_others_stay(tmp_path: Path, how: str, clean: bool) -> None:
    victim = directory(tmp_path)
    first = int(victim.stem)
    last = int(sorted(victim.parent.glob("*.log"))[2].stem)
    if not clean:
        (tmp_path / "data" / ".kafka_cleanshutdown").unlink()
    if how == "gone":
        victim.unlink()
    else:
        os.truncate(victim, victim.stat().st_size // 2)
        first += (last - first) // 2

    assert not kstore.verify(tmp_path / "data").ok
    kept = [offset for offset in range(RECORDS) if not first <= offset < last]
    assert readable(tmp_path) == kept
    kstore.open(tmp_path / "data").close()
    assert readable(tmp_path) == kept, "opening it for writing lost more"
    assert not kstore.verify(tmp_path / "data").ok, "opening it for writing hid the loss"
    with kstore.open(tmp_path / "data") as store:
        assert store.partition("t", 0).append([b"on it goes"]).base_offset == RECORDS
