"""Read-only stores beside a process that makes topics, rolls, deletes records and topics as fast as it can.

A reader may find a topic half made or half gone. It sees an empty log, a consistent one, or is told that the topic is
unknown; never a missing file, and never a record out of order.
"""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

import kstore
from kstore.errors import StorageError, UnknownTopicOrPartition

ROUNDS, TOPICS, PARTITIONS, GROUPS = 60, 5, 3, 3
CONFIG = {"internal.segment.bytes": 2000, "index.interval.bytes": 0}

WRITER = f"""
import random, sys
import kstore
rng = random.Random(int(sys.argv[2]))
with kstore.open(sys.argv[1], config={{"log.flush.scheduler.interval.ms": 20}}) as store:
    for turn in range({ROUNDS}):
        name = f"t{{turn % {TOPICS}}}"
        if name in store.topics() and rng.random() < 0.4:
            store.delete_topic(name)
        if name not in store.topics():
            store.create_topic(name, {PARTITIONS}, {CONFIG})
        for k in range(15):
            log = store.partition(name, k % {PARTITIONS})
            log.append([b"%d" % (log.log_end_offset + n) for n in range(rng.randrange(1, 60))])
        if rng.random() < 0.3:
            log.delete_records(log.log_end_offset // 2)
        store.groups.commit(f"g{{turn % {GROUPS}}}", {{(name, 0): turn}})
"""


def read_all(log):
    log.refresh()
    offset = log.log_start_offset
    while offset < log.high_watermark:
        batches = log.read(offset)
        for record in batches:
            assert log.topic.startswith("__") or record.value == b"%d" % record.offset
        assert batches.next_offset > offset
        offset = batches.next_offset


def look_at_everything(path, rng):
    with kstore.open(path, read_only=True) as store:
        for name in store.topics():
            for index in range(PARTITIONS):
                try:
                    log = store.partition(name, index)
                except UnknownTopicOrPartition:
                    continue
                for _ in range(rng.randrange(1, 4)):
                    try:
                        read_all(log)
                    except StorageError as gone:
                        assert gone.errno == 2, gone  # its segment was deleted after the look at the log
        for group in store.groups.names():
            assert all(commit.offset >= 0 for commit in store.groups.committed(group).values())


def test_readers_find_a_whole_log_or_none(tmp_path, seed):
    rng = random.Random(seed)
    path = tmp_path / "data"
    kstore.open(path).close()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(seed)], stderr=subprocess.PIPE)
    looks = 0
    try:
        while writer.poll() is None:
            look_at_everything(path, rng)
            looks += 1
    finally:
        writer.kill()
        _, said = writer.communicate()
    assert writer.returncode == 0, said.decode()
    assert said == b""
    assert looks > 10
    assert kstore.verify(path).ok


@pytest.mark.parametrize("clean", [True, False])
def test_a_partition_without_its_first_segment_is_an_empty_log(tmp_path, clean):
    path, hidden = tmp_path / "data", tmp_path / "hidden"
    with kstore.open(path) as store:
        store.create_topic("t")
        if clean:
            store.close()
        files = list((path / "t-0").glob("0*"))
        hidden.mkdir()
        for file in files:
            file.rename(hidden / file.name)
        with kstore.open(path, read_only=True) as reader:
            log = reader.partition("t", 0)
            assert (log.refresh(), len(log.read(0)), log.offset_for_timestamp(0)) == (0, 0, None)
            for file in files:
                (hidden / file.name).rename(file)
            assert log.refresh() == 0
            with kstore.open(path) if clean else store as writer:
                writer.partition("t", 0).append([b"a", b"b"])
                assert log.refresh() == 2
                assert [record.value for record in log.read(0)] == [b"a", b"b"]
