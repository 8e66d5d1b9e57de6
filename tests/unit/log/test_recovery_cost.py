"""What an unclean open reads: the tail that no checkpoint vouches for, and nothing of what lies before it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import kstore
from kstore._native.index import OFFSET_ENTRY
from kstore.log.log import TAIL_EVERY_BYTES
from kstore.log.tails import TailCheckpoint

CONFIG = {"log.flush.scheduler.interval.ms": 0}


def died(directory: Path) -> Path:
    """The directory as a killed process leaves it: a copy, made while the store is open."""
    copy = directory.with_name("died")
    shutil.copytree(directory, copy)
    return copy


def filled(path: Path) -> kstore.Store:
    """More than one tail checkpoint's worth, flushed, and one batch behind it; every timestamp the same."""
    store = kstore.open(path, config=CONFIG)
    store.create_topic("t")
    log = store.partition("t", 0)
    batch = kstore.encode_batches([bytes(1000)] * 16, timestamp_ms=5)
    for _ in range(TAIL_EVERY_BYTES // len(batch) + 2):
        log.append_batches(batch)
    log.flush()
    log.append([b"behind the checkpoint"], timestamp_ms=5)  # a later time would roll
    return store


def test_a_tail_checkpoint_brings_the_index_entries_to_their_file(tmp_path: Path) -> None:
    with filled(tmp_path / "data") as store:
        segment = store.partition("t", 0).segments[-1]
        entries = len(segment.offset_index)
        filed = os.path.getsize(f"{store.path}/t-0/00000000000000000000.index") // OFFSET_ENTRY.itemsize
    assert filed >= entries - 1 > 200  # the batch behind the checkpoint may have an entry of its own


def test_recovery_by_the_tail_reads_only_the_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(tmp_path / "data") as store:
        end = store.partition("t", 0).log_end_offset
        copy = died(tmp_path / "data")
    seen: list[dict[str, object]] = []
    positions: list[int] = []

    import kstore.log.loader as loader

    class Watched(loader.Segment):  # type: ignore[misc, name-defined]
        def recover(self, position: int = 0, next_offset: int | None = None, **more: object) -> object:
            positions.append(position)
            seen.append(more)
            return super().recover(position, next_offset, **more)

    monkeypatch.setattr(loader, "Segment", Watched)
    with kstore.open(copy, config=CONFIG) as recovered:
        assert recovered.partition("t", 0).log_end_offset == end
    assert positions[0] >= TAIL_EVERY_BYTES
    assert seen[0]["max_timestamp_ms"] == 5  # or the headers since the last time index entry would be walked


def test_an_index_that_cannot_be_written_costs_only_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(TailCheckpoint, "of", lambda *args: made.append(args))
    with kstore.open(tmp_path / "data", config=CONFIG) as store:
        store.create_topic("t")
        log = store.partition("t", 0)
        log.append([bytes(1000)] * 1000)
        os.unlink(f"{store.path}/t-0/00000000000000000000.index")
        os.mkdir(f"{store.path}/t-0/00000000000000000000.index")
        log.log.mark(tail=True)
        assert not made
        os.rmdir(f"{store.path}/t-0/00000000000000000000.index")
        log.log.mark(tail=True)
        assert made


def test_a_tail_checkpoint_older_than_the_recovery_point_takes_no_recovery_back(tmp_path: Path) -> None:
    """The newer of the two was lost: what the recovery point says is known is not read again."""
    with kstore.open(tmp_path / "data", config=CONFIG) as store:
        store.create_topic("t", config={"internal.segment.bytes": 5000})
        log = store.partition("t", 0)
        log.log.sync(log.log.mark(tail=True))
        while len(log.segments) < 4:
            log.append([bytes(1000)])
        store.flush()
        copy = tmp_path / "copy"
        shutil.copytree(store.path, copy)
        last = log.segments[-1].base_offset
    (copy / "t-0" / "kstore-tail-0").unlink()
    assert (copy / "t-0" / "kstore-tail-1").exists()
    sealed = [path for path in sorted((copy / "t-0").glob("*.index")) if int(path.stem) < last]
    before = [path.stat().st_ino for path in sealed]
    kstore.open(copy, config=CONFIG).close()
    assert [path.stat().st_ino for path in sealed] == before, "the indexes of known segments were made anew"
