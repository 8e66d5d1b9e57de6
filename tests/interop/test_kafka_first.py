"""Born in Kafka: kstore opens what a real broker left, clean or killed, appends, and gives it back without recovery."""

from __future__ import annotations

import random
import shutil

import pytest
from interop import readers

import kstore
from support import corpus, kafka

pytestmark = pytest.mark.interop

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
OPEN = {"log.retention.ms": -1}


def records(rng: random.Random, count: int) -> list[dict]:
    return [
        {"timestamp": 1_700_000_000_000 + i, "key": (b"k%d" % rng.randrange(9)).hex(),
         "value": rng.randbytes(rng.randrange(80)).hex(), "headers": [["h", None]]}
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory, driver):
    """A directory as a broker left it after a clean stop, and as the next one left it when it was killed."""
    home = tmp_path_factory.mktemp("kafka")
    broker = kafka.Broker(home / "data", {"log.index.size.max.bytes": "65536"}).start()
    try:
        driver.bootstrap = broker.bootstrap
        rng = random.Random(7)
        driver.topic("orders", 2, segment_bytes=16384)
        for codec in CODECS:
            name = driver.open("p", compression_type=codec, enable_idempotence="true")
            for number in (0, 1):
                for _ in range(6):
                    driver("send", id=name, topic="orders", partition=number, records=records(rng, rng.randint(1, 30)))
            driver("close", id=name)
        driver.topic("payments")
        name = driver.open("t", transactional_id="tx")
        for fate in ("commit", "abort", "commit"):
            driver("begin", id=name)
            driver("send", id=name, topic="payments", partition=0, records=records(rng, 9))
            driver("group-offsets", id=name, topic="orders", offset=12, group="in-transaction")
            driver(fate, id=name)
        driver("close", id=name)
        driver("resume", topic="orders", count=100, config={"group.id": "readers"})
        seen = {(topic, number, isolation): readers.by_java(driver, topic, number, isolation)
                for topic, number in (("orders", 0), ("orders", 1), ("payments", 0))
                for isolation in ("read_uncommitted", "read_committed")}  # fmt: skip
        broker.stop()
        shutil.copytree(home / "data", home / "clean")
        broker.start()
        name = driver.open("p")
        for number in (0, 1):
            driver("send", id=name, topic="orders", partition=number, records=records(rng, 300))
        driver("close", id=name)
        more = {("orders", number): readers.by_java(driver, "orders", number) for number in (0, 1)}
        broker.kill()
        shutil.copytree(home / "data", home / "killed")
    finally:
        broker.kill()
    killed = {key: more.get(key[:2], rows) for key, rows in seen.items()}
    return {"clean": (home / "clean", seen), "killed": (home / "killed", killed)}


@pytest.mark.parametrize("how", ["clean", "killed"])
def test_kafka_boots_on_what_kstore_gives_back(left_behind, driver, how):
    log_dir, expected = left_behind[how]
    committed = None
    with kstore.open(log_dir, config=OPEN) as store:
        for (topic, number, isolation), rows in expected.items():
            assert readers.by_kstore(store.partition(topic, number), isolation) == rows
        assert store.groups.committed("in-transaction")["orders", 0].offset == 12
        committed = {f"{t}-{p}": c.offset for (t, p), c in store.groups.committed("readers").items()}
        log = store.partition("orders", 0)
        before = len(log.segments)
        for codec in CODECS:
            for i in range(8):
                log.append([(b"key", b"kstore %d %d" % (i, j) * 9) for j in range(60)], compression=codec)
        log.append_batches(kstore.encode_batches([b"idempotent"], timestamp_ms=1, producer_id=2**41,
                                                 producer_epoch=0, base_sequence=0))  # fmt: skip
        store.groups.commit("mine", {("orders", 1): 77})
        assert len(log.segments) > before + 2
        appended = readers.by_kstore(log)
    assert list(kstore.verify(log_dir).findings) == []

    with kafka.Broker(log_dir) as broker:
        driver.bootstrap = broker.bootstrap
        assert readers.by_java(driver, "orders", 0) == appended
        assert readers.by_librdkafka(broker.bootstrap, "orders", 0) == appended
        for (topic, number, isolation), rows in expected.items():
            if (topic, number) != ("orders", 0):
                assert readers.by_java(driver, topic, number, isolation) == rows
        assert driver("committed", group="readers") == committed
        assert driver("committed", group="mine") == {"orders-1": 77}
        name = driver.open("p", compression_type="zstd", enable_idempotence="true")
        answer = driver("send", id=name, topic="orders", partition=0, records=records(random.Random(8), 100))
        driver("close", id=name)
        assert answer["offsets"][0] == appended[-1][0] + 1
        at_last = readers.by_java(driver, "orders", 0)
    assert broker.complaints() == []
    assert readers.dump_complaints(driver, log_dir) == []

    with kstore.open(log_dir, config=OPEN) as store:
        assert readers.by_kstore(store.partition("orders", 0)) == at_last


@pytest.mark.parametrize("how", ["recovered", "repaired"])
def test_kafka_boots_on_what_kstore_made_good(driver, tmp_path, how):
    """A harmed directory, opened by kstore, or a good one with a flipped bit in a sealed segment, repaired."""
    # The tool takes holes for errors, and times below zero; and the repaired log has a hole where the bad batch was.
    odd = ("compacted-0", "timestamps-0", "segments-0") if how == "repaired" else ()
    log_dir = corpus.case("torn" if how == "recovered" else "clean").copy(tmp_path / "data")
    if how == "repaired":
        sealed = sorted((log_dir / "segments-0").glob("*.log"))[1]
        harmed = bytearray(sealed.read_bytes())
        harmed[len(harmed) // 2] ^= 4
        sealed.write_bytes(harmed)
        assert not kstore.verify(log_dir).ok
        assert kstore.repair(log_dir)
        assert kstore.verify(log_dir).ok
    with kstore.open(log_dir, config=OPEN) as store:
        rows = {
            (name, number): readers.by_kstore(store.partition(name, number))
            for name, topic in store.topics().items()
            for number in topic.partitions
            if not name.startswith("__")
        }
    with kafka.Broker(log_dir) as broker:
        driver.bootstrap = broker.bootstrap
        for (topic, number), expected in rows.items():
            assert readers.by_java(driver, topic, number) == expected
    assert broker.complaints() == []
    assert readers.dump_complaints(driver, log_dir, but=odd) == []
