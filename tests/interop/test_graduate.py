"""Born in kstore: topics, producers and groups made without Kafka, then served by a real Kafka as its own, and back."""

from __future__ import annotations

import random
import time

import pytest
from interop import readers

import kstore
from support import kafka

pytestmark = pytest.mark.interop

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
NOW = int(time.time() * 1000) - 3_600_000  # younger than a day: older producers are forgotten, by Kafka too


def fill(store: kstore.Store, seed: int) -> None:
    """Every codec over several segments, keys, nulls, headers, an idempotent producer, a compacted topic, a group."""
    rng = random.Random(seed)
    store.create_topic("orders", partitions=3, config={"internal.segment.bytes": 16384, "retention.ms": -1})
    store.create_topic("table", config={"cleanup.policy": "compact", "min.cleanable.dirty.ratio": 0.9})
    store.create_topic("empty")
    for number in range(3):
        log = store.partition("orders", number)
        for index in range(40):
            records = [
                kstore.Record(rng.randbytes(rng.randrange(60)), key=b"key-%d" % rng.randrange(9),
                              headers=[("h", rng.choice([None, b"", b"value"]))], timestamp_ms=NOW + index)
                for _ in range(rng.randint(1, 20))
            ]  # fmt: skip
            log.append(records, compression=CODECS[index % 5])
        log.append([(b"key", None), (None, b""), (b"", b"x")], timestamp_ms=NOW + 99)
        for sequence in range(0, 30, 3):
            log.append_batches(idempotent(0, sequence))
    table = store.partition("table", 0)
    for index in range(50):
        table.append([(b"k%d" % (index % 7), b"v%d" % index)], timestamp_ms=NOW + index)
    store.groups.commit("readers", {("orders", 0): 10, ("orders", 1): 20, ("orders", 2): 0})


def idempotent(producer_id: int, sequence: int) -> bytes:
    return kstore.encode_batches(
        [b"%d" % (sequence + i) for i in range(3)], timestamp_ms=NOW, producer_id=producer_id, producer_epoch=0,
        base_sequence=sequence,
    )  # fmt: skip


@pytest.fixture(scope="module")
def graduated(tmp_path_factory, driver):
    """A directory of kstore's, graduated; and what it holds."""
    home = tmp_path_factory.mktemp("graduated")
    with kstore.open(home / "data") as store:
        fill(store, 1)
        rows = {
            (name, number): readers.by_kstore(store.partition(name, number))
            for name, topic in store.topics().items()
            for number in topic.partitions
        }
    done = kstore.graduate(home / "data", home / "kafka", listener=f"127.0.0.1:{kafka.two_free_ports()}")
    return done, rows, home / "kafka"


def test_a_real_kafka_serves_it_and_kstore_reads_on(graduated, driver):
    done, rows, log_dir = graduated
    properties = log_dir.with_name("server.properties")
    quick = "".join(f"{key}={value}\n" for key, value in kafka.QUICK.items() if "num.partitions" not in key)
    properties.write_text(done.server_properties + quick)
    users = {key: value for key, value in rows.items() if not key[0].startswith("__")}

    with kafka.Broker(log_dir, properties=properties) as broker:
        driver.bootstrap = broker.bootstrap
        topics = driver("describe")
        assert {name: about["partitions"] for name, about in topics.items()} == {
            name: count for name, count in done.topics.items() if not name.startswith("__")
        }
        for (topic, number), expected in users.items():
            assert readers.by_java(driver, topic, number) == expected
            assert readers.by_librdkafka(broker.bootstrap, topic, number) == expected
        assert driver("committed", group="readers") == {"orders-0": 10, "orders-1": 20, "orders-2": 0}
        left = [row for (topic, number), found in users.items() if topic == "orders"
                for row in found[{0: 10, 1: 20, 2: 0}[number]:]]  # fmt: skip
        resumed = driver("resume", topic="orders", count=len(left), config={"group.id": "readers"})["records"]
        assert sorted(bytes.fromhex(r["value"] or "") for r in resumed) == sorted(row[3] or b"" for row in left)
        new = driver.open("new", enable_idempotence="true")
        offsets = driver("send", id=new, topic="orders", partition=0, records=[
            {"timestamp": NOW + 500 + i, "key": None, "value": b"from kafka".hex(), "headers": []} for i in range(5)
        ])["offsets"]  # fmt: skip
        driver("close", id=new)
        assert offsets == [len(users["orders", 0]) + i for i in range(5)]
    assert broker.complaints() == []
    assert not list(log_dir.glob("*-stray"))
    assert readers.dump_complaints(driver, log_dir) == []

    with kstore.open(log_dir) as store:  # and back
        assert store.topics()["table"].config.cleanup_policy == ("compact",)
        assert store.topics()["orders"].config.roll_bytes == 16384
        log = store.partition("orders", 0)
        found = readers.by_kstore(log)
        assert found[: -len(offsets)] == users["orders", 0]
        assert [row[0] for row in found[-len(offsets) :]] == offsets
        assert store.groups.committed("readers")["orders", 0].offset == len(users["orders", 0])
        with pytest.raises(kstore.OutOfOrderSequence):
            log.append_batches(idempotent(0, 33))
        assert log.append_batches(idempotent(0, 27)).duplicate
        log.append_batches(idempotent(0, 30))
        for codec in CODECS:
            log.append([b"after kafka"] * 50, timestamp_ms=NOW + 900, compression=codec)
        appended = readers.by_kstore(log)

    with kafka.Broker(log_dir, properties=properties) as broker:
        assert readers.by_java(driver, "orders", 0) == appended
    assert broker.complaints() == []
    assert readers.dump_complaints(driver, log_dir) == []
