"""What kstore, the Java consumer, librdkafka and Kafka's log reader find in one partition, in one form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kstore

Row = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
"""offset, timestamp, key, value, headers"""


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def by_kstore(partition: kstore.Partition, isolation: str = "read_uncommitted") -> list[Row]:
    """Every record of a partition, read in pieces."""
    rows: list[Row] = []
    offset = partition.log_start_offset
    while True:
        batches = partition.read(offset, max_bytes=8192, isolation=isolation)
        rows += [
            (r.offset, r.timestamp_ms, r.key, r.value, tuple(r.headers))
            for r in batches
            if r.offset >= offset  # batches come whole: the first may begin below the log start
        ]
        if batches.next_offset == offset:
            return rows
        offset = batches.next_offset


def by_java(driver: Any, topic: str, partition: int, isolation: str = "read_uncommitted") -> list[Row]:
    found = driver.consume(topic, partition, config={"isolation.level": isolation})
    return [
        (r["offset"], r["timestamp"], _bytes(r["key"]), _bytes(r["value"]),
         tuple((name, _bytes(value)) for name, value in r["headers"]))
        for r in found
    ]  # fmt: skip


def by_librdkafka(bootstrap: str, topic: str, partition: int, isolation: str = "read_uncommitted") -> list[Row]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "kstore-tests", "enable.auto.commit": False, "log_level": 0,
        "enable.partition.eof": True, "isolation.level": isolation, "check.crcs": True,
    })  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        return list(_until_end(consumer))
    finally:
        consumer.close()


def _until_end(consumer: Any) -> Iterator[Row]:
    from confluent_kafka import KafkaError

    while True:
        message = consumer.poll(30)
        if message is None:
            raise TimeoutError("librdkafka saw no end of the partition")
        if message.error() is None:
            yield (message.offset(), message.timestamp()[1], message.key(), message.value(),
                   tuple(message.headers() or ()))  # fmt: skip
        elif message.error().code() == KafkaError._PARTITION_EOF:
            return
        else:
            raise RuntimeError(str(message.error()))


def dump_complaints(driver: Any, log_dir: Path, *, but: tuple[str, ...] = ()) -> list[str]:
    """What DumpLogSegments finds wrong with the user topics of a stopped broker's directory, `but` some directories."""
    files = [
        path
        for directory in sorted(log_dir.glob("*-[0-9]*"))
        if not directory.name.startswith("__") and not directory.name.endswith("-delete") and directory.name not in but
        for path in sorted(directory.iterdir())
        if path.suffix in {".log", ".index", ".timeindex", ".txnindex", ".snapshot"} and path.stat().st_size
    ]
    text, errors = driver.dump(*files)
    bad = [line for line in text.splitlines() if re.search(r"isvalid: false|failed|(?i:mismatch)", line)]
    # The tool starts each file at offset -1 and so finds a gap before the first record of all but the first.
    gaps = re.findall(r"^Non-consecutive offsets in (.*)\n((?:  .* is followed by .*\n?)*)", errors, re.M)
    gaps = [(file, found) for file, found in gaps if found.count("\n") > 1 or not found.startswith("  -1 is")]
    others = re.sub(r"^(Non-consecutive offsets in|  .* is followed by).*\n?", "", errors, flags=re.M)
    return bad + [f"{file}: {found}" for file, found in gaps] + others.splitlines()
