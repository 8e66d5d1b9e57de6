"""Makes a real Kafka write the log directories in tests/fixtures, each with its oracle.

    python tests/interop/make_fixtures.py [OUT_DIR] [--seed N]     needs a JDK and confluent-kafka; about a minute

Three cases: `clean` is a log directory with a topic for each corner of the format, stopped cleanly; `torn` one
that lived through a restart and a kill -9, then harmed by hand as a crash of the machine could have; `recovered`
is what Kafka itself made of `torn`. `support/corpus.py` says what a case holds. Every record that was acked is
checked against what Kafka's own reader finds before a case is kept. Another seed gives other payloads, sizes and
batch cuts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from confluent_kafka import Consumer, Producer, TopicPartition

from support import kafka
from support.corpus import FIXTURES, OWN_FILES

Record = dict[str, Any]
NOW = int(time.time() * 1000) - 3_600_000
CODECS = ("gzip", "snappy", "lz4", "zstd")
CHECKPOINTS = ("log-start-offset", "recovery-point-offset", "replication-offset", "cleaner-offset")
DUMPED = {".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".checkpoint"}
DECODERS = {
    "__consumer_offsets": "--offsets-decoder",
    "__transaction_state": "--transaction-log-decoder",
    "__cluster_metadata": "--cluster-metadata-decoder",
}
WORDS = "append fetch offset segment batch index epoch leader follower commit größe 日本 🙂".encode().split()
BROKER = {
    "log.index.size.max.bytes": "65536",  # untrimmed index files of a killed broker stay small
    "metadata.log.max.record.bytes.between.snapshots": "1500",  # snapshots of the metadata log in the fixtures
}


# -- payloads ----------------------------------------------------------------------------------------------------


def record(key: bytes | None, value: bytes | None, timestamp: int, headers: Any = ()) -> Record:
    return {
        "timestamp": timestamp,
        "key": None if key is None else key.hex(),
        "value": None if value is None else value.hex(),
        "headers": [[name, None if data is None else data.hex()] for name, data in headers],
    }


def words(rng: random.Random, size: int) -> bytes:
    return b" ".join(rng.choices(WORDS, k=size // 3 + 1))[:size]


def records(rng: random.Random, count: int, high: int = 60, keys: int = 9, start: int = NOW) -> list[Record]:
    """Words, one value in five noise, some headers, timestamps that only grow."""
    out = []
    for index in range(count):
        size = rng.randint(0, high)
        value = rng.randbytes(size // 4) if rng.random() < 0.2 else words(rng, size)
        headers = [(f"h{rng.randrange(3)}", words(rng, rng.randrange(9))) for _ in range(rng.choice((0, 0, 0, 1)))]
        stamp = start + 40 * index + rng.randrange(40)
        out.append(record(f"key-{rng.randrange(keys)}".encode(), value, stamp, headers))
    return out


def cut(rng: random.Random, items: list[Record], high: int = 9) -> Iterator[list[Record]]:
    while items:
        count = rng.randint(1, high)
        yield items[:count]
        items = items[count:]


def corners(rng: random.Random) -> list[Record]:
    """Nulls, empties, repeated and nameless headers, all byte values."""
    every = bytes(range(256))
    return [
        record(None, b"value", NOW), record(b"k", None, NOW), record(None, None, NOW), record(b"", b"", NOW),
        record(b"k", b"", NOW), record(b"", None, NOW), record(every, rng.randbytes(300), NOW),
        record(None, b"v", NOW, [("null", None), ("empty", b""), ("", b"no name"), ("", None)]),
        record(b"twice", b"v", NOW, [("same", b"1"), ("same", b"2"), ("same", None)]),
        record("ключ".encode(), "値🙂".encode(), NOW, [("заголовок", "値".encode()), ("🙂", every)]),
        record(b"many", b"headers", NOW, [(f"h{i}", rng.randbytes(i)) for i in range(70)]),
    ]  # fmt: skip


# -- a cluster with a memory -------------------------------------------------------------------------------------


class Cluster:
    """A broker, the Java client and librdkafka; `sent[partition dir][offset]` is what was acked."""

    def __init__(self, work: Path, seed: int) -> None:
        self.broker = kafka.Broker(work / "data", BROKER)
        self.log_dir = work / "data"
        self.seed = seed
        self.sent: dict[str, dict[int, Record]] = {}
        self.configs: dict[str, dict[str, str]] = {}
        self.java = kafka.Driver(self.broker.bootstrap)

    def rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")

    def topic(self, name: str, partitions: int = 1, **config: object) -> None:
        self.configs[name] = self.java.topic(name, partitions, **config)

    def acked(self, topic: str, partition: int, batch: list[Record], offsets: list[int]) -> None:
        self.sent.setdefault(f"{topic}-{partition}", {}).update(zip(offsets, batch, strict=True))

    def send(self, producer: str, topic: str, batch: list[Record], partition: int = 0) -> None:
        answer = self.java("send", id=producer, topic=topic, partition=partition, records=batch)
        self.acked(topic, partition, batch, answer["offsets"])

    def produce(self, topic: str, batches: Any, partition: int = 0, **config: object) -> None:
        """One Java producer; every list becomes one batch."""
        name = self.java.open("once", **config)
        for batch in batches:
            self.send(name, topic, batch, partition)
        self.java("close", id=name)

    def rdkafka(self, topic: str, batches: Any, end: str = "", **config: Any) -> None:
        """The same through librdkafka; `end` is how its transaction ends, where it has one."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 50, "log_level": 0, **settings})
        if end:
            producer.init_transactions()
            producer.begin_transaction()
        for batch in batches:
            acks: list[Any] = []
            for one in batch:
                value, key = (None if one[x] is None else bytes.fromhex(one[x]) for x in ("value", "key"))
                headers = [(name, None if data is None else bytes.fromhex(data)) for name, data in one["headers"]]
                producer.produce(topic, value, key, 0, timestamp=one["timestamp"], headers=headers,
                                 on_delivery=lambda _, message, acks=acks: acks.append(message))  # fmt: skip
            producer.flush()
            if errors := [message.error() for message in acks if message.error()]:
                raise RuntimeError(f"{topic}: {errors[0]}")
            self.acked(topic, 0, batch, [message.offset() for message in acks])
        if end:
            getattr(producer, f"{end}_transaction")()

    def segments(self, directory: str) -> list[int]:
        return sorted(int(path.stem) for path in (self.log_dir / directory).glob("*.log"))

    def checkpoint(self, name: str, directory: str) -> int | None:
        path = self.log_dir / f"{name}-checkpoint"
        lines = path.read_text().splitlines()[2:] if path.exists() else []
        return {f"{t}-{p}": int(offset) for t, p, offset in map(str.split, lines)}.get(directory)

    def until(self, what: str, true: Callable[[], bool], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.1)

    def cleaned(self, topic: str) -> None:
        """Until the cleaner has passed everything below the active segment."""
        directory = f"{topic}-0"
        self.until(f"{topic} cleaned",
                   lambda: self.checkpoint("cleaner-offset", directory) == self.segments(directory)[-1])  # fmt: skip


# -- the topics of `clean` ---------------------------------------------------------------------------------------


def formats(c: Cluster) -> None:
    rng = c.rng("formats")
    c.topic("codecs", segment_bytes=8192)
    for codec in ("none", *CODECS):
        for produce in (c.produce, c.rdkafka):
            produce("codecs", [*cut(rng, records(rng, 8)), records(rng, 25)], compression_type=codec)
    c.topic("shapes")
    for produce in (c.produce, c.rdkafka):
        for codec in ("none", "gzip"):
            odd = corners(rng)
            produce("shapes", [odd, *([one] for one in odd[:4])], compression_type=codec)
    c.topic("timestamps", message_timestamp_after_max_ms=2**63 - 1, segment_ms=2**63 - 1, index_interval_bytes=200)
    odd_times = (NOW, -1, 1, -2, -(10**15), NOW - 5, 2**60, 5, 2**62, -(2**62), 2**62 + 1)
    c.rdkafka("timestamps", [[record(None, words(rng, 90), t)] for t in odd_times])
    c.produce("timestamps", [[record(None, b"x", t) for t in (0, NOW, 7, NOW + 10**9)], [record(None, b"0", 0)]])
    c.topic("log-append-time", message_timestamp_type="LogAppendTime", index_interval_bytes=500)
    for codec in ("none", *CODECS):
        c.produce("log-append-time", cut(rng, records(rng, 12)), compression_type=codec)


def segments(c: Cluster) -> None:
    rng = c.rng("segments")
    c.topic("segments", segment_bytes=16384)
    c.produce("segments", cut(rng, records(rng, 400, high=200)))
    c.topic("dense-index", segment_bytes=4096, index_interval_bytes=0)
    shuffled = records(rng, 120)
    rng.shuffle(shuffled)
    c.produce("dense-index", cut(rng, shuffled))
    c.topic("roll-by-index", segment_index_bytes=100, index_interval_bytes=150)
    c.produce("roll-by-index", cut(rng, records(rng, 90), high=4))
    c.topic("roll-by-time", segment_ms=60_000)
    for jump in (0, 59_000, 61_000, 300_000, 250_000):
        c.produce("roll-by-time", cut(rng, records(rng, 8, start=NOW + jump), high=4))
    c.topic("delete-records", segment_bytes=4096)
    c.produce("delete-records", cut(rng, records(rng, 150, high=200)))
    c.java("delete-records", topic="delete-records", before=c.segments("delete-records-0")[2] + 3)


def producers(c: Cluster) -> None:
    rng = c.rng("producers")
    c.topic("idempotent", segment_bytes=4096)
    names = [c.java.open(name, enable_idempotence="true", compression_type=codec)
             for name, codec in (("a", "none"), ("b", "lz4"))]  # fmt: skip
    for batch in cut(rng, records(rng, 150)):
        c.send(rng.choice(names), "idempotent", batch)
    for name in names:
        c.java("close", id=name)
    c.rdkafka("idempotent", cut(rng, records(rng, 30)), enable_idempotence=True)


def transactions(c: Cluster) -> None:
    rng = c.rng("transactions")
    c.topic("transactions", segment_bytes=4096)
    names = [c.java.open(f"t{i}", transactional_id=f"tx-{i}", compression_type=codec)
             for i, codec in enumerate(("none", "zstd"))]  # fmt: skip
    for fate in ("commit", "abort", "abort", "commit"):  # interleaved; each round ends the one and then the other
        for name in names:
            c.java("begin", id=name)
            c.send(name, "transactions", records(rng, 1))
        for batch in cut(rng, records(rng, 20)):
            c.send(rng.choice(names), "transactions", batch)
        c.produce("transactions", [records(rng, 2)])
        c.java(fate, id=names[0])
        c.send(names[1], "transactions", records(rng, 3))
        c.java(rng.choice(("commit", "abort")), id=names[1])
    for end in ("commit", "abort"):  # librdkafka: the older protocol, no new epoch for each transaction
        c.rdkafka("transactions", cut(rng, records(rng, 9)), end=end, transactional_id="tx-librdkafka")
    hanging = c.java.open("hanging", transactional_id="tx-hanging", transaction_timeout_ms=900_000)
    c.java("begin", id=hanging)
    c.send(hanging, "transactions", records(rng, 5))
    c.produce("transactions", cut(rng, records(rng, 20)))


def compaction(c: Cluster) -> None:
    rng = c.rng("compaction")
    c.topic("compacted", cleanup_policy="compact", min_cleanable_dirty_ratio=0.01, segment_bytes=4096,
            index_interval_bytes=400, file_delete_delay_ms=0)  # fmt: skip
    idempotent = c.java.open("i", enable_idempotence="true")
    for batch in cut(rng, records(rng, 80, keys=60)):
        c.send(idempotent, "compacted", batch)
    c.send(idempotent, "compacted", [record(b"gone-%d" % i, None if i % 2 else b"v", NOW + i) for i in range(6)])
    c.send(idempotent, "compacted", [record(b"last-%d" % i, b"old", NOW + 9000) for i in range(3)])
    c.java("close", id=idempotent)
    transactional = c.java.open("t", transactional_id="tx-compacted")
    for fate in ("commit", "abort"):
        c.java("begin", id=transactional)
        for batch in cut(rng, records(rng, 20)):
            c.send(transactional, "compacted", batch)
        c.java(fate, id=transactional)
    c.java("close", id=transactional)
    for codec in CODECS:
        c.produce("compacted", cut(rng, records(rng, 20, keys=60)), compression_type=codec)
    c.produce("compacted", [[record(b"last-%d" % i, b"new", NOW + 9900) for i in range(3)]])
    for _ in range(2):  # the second pass may drop what the first one only marked
        filler = record(b"filler", words(rng, 4000), NOW + 10_000)
        c.produce("compacted", [*cut(rng, records(rng, 20)), [filler], records(rng, 1)])
        c.cleaned("compacted")


def groups(c: Cluster) -> None:
    """Commits of a classic group, of a KIP-848 group, of no group at all, and inside a transaction."""
    for name, protocol in (("classic-group", "classic"), ("consumer-group", "consumer")):
        consumer = Consumer({"bootstrap.servers": c.broker.bootstrap, "group.id": name, "log_level": 0,
                             "group.protocol": protocol, "auto.offset.reset": "earliest",
                             "enable.auto.commit": False})  # fmt: skip
        consumer.subscribe(["codecs"])
        seen, deadline = 0, time.monotonic() + 30
        while seen < 40 and time.monotonic() < deadline:
            seen += len(consumer.consume(40 - seen, 1))
        consumer.commit(asynchronous=False)
        consumer.close()
    lone = Consumer({"bootstrap.servers": c.broker.bootstrap, "group.id": "lone", "log_level": 0})
    lone.commit(offsets=[TopicPartition("codecs", 0, 5, "metadata ü")], asynchronous=False)
    lone.close()
    transactional = c.java.open("g", transactional_id="tx-group")
    for fate in ("commit", "abort"):
        c.java("begin", id=transactional)
        c.java("group-offsets", id=transactional, topic="codecs", offset=7, group="in-transaction")
        c.java(fate, id=transactional)
    c.java("close", id=transactional)


# -- keeping a case ----------------------------------------------------------------------------------------------


def keep(c: Cluster, out: Path, name: str, about: str, holes: set[str], edits: tuple[str, ...] = ()) -> None:
    """Copies the log directory as it is, writes its oracle, and packs both.

    The topics in `holes` may lack records that were acked: the cleaner took them, or the harm done by hand.
    """
    with tempfile.TemporaryDirectory() as scratch:
        case = Path(scratch) / name
        shutil.copytree(c.log_dir, case)
        directories = sorted(path for path in case.iterdir() if path.is_dir())
        rows: dict[str, list[Record]] = {"expected": [], "batches": []}
        dumps = [] if not (case / "bootstrap.checkpoint").exists() else [dump(c, case)]
        for directory in directories:
            found, batches = oracle(c, directory)
            compare(directory.name, found, c.sent.get(directory.name, {}), holes)
            rows["expected"] += found
            rows["batches"] += batches
            dumps.append(dump(c, directory))
        info = {
            "about": about,
            "kafka": kafka.VERSION,
            "seed": c.seed,
            "edits": list(edits),
            "configs": {d.name.rpartition("-")[0]: c.configs.get(d.name.rpartition("-")[0], {}) for d in directories},
            "checkpoints": {d.name: {x: c.checkpoint(x, d.name) for x in CHECKPOINTS} for d in directories},
        }
        (case / "case.json").write_text(json.dumps(info, indent=1, sort_keys=True) + "\n")
        (case / "dump.txt").write_text("".join(dumps).replace(f"{case}/", ""), encoding="utf-8")
        for file, lines in rows.items():
            with gzip.GzipFile(case / f"{file}.jsonl.gz", "wb", compresslevel=0, mtime=0) as to:  # xz packs it later
                to.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        with tarfile.open(out / f"{name}.tar.xz", "w:xz", preset=9) as archive:
            archive.add(case, name)
        print(f"{name}: {len(rows['expected'])} records, {len(rows['batches'])} batches", flush=True)


def oracle(c: Cluster, directory: Path) -> tuple[list[Record], list[Record]]:
    found: list[Record] = []
    batches: list[Record] = []
    for log in sorted(directory.glob("*.log")):
        where = {"dir": directory.name, "segment": int(log.stem)}
        answer = c.java("read", file=str(log))
        batches += [{**where, **batch} for batch in answer["batches"]]
        found += [{**where, **one} for one in answer["records"]]
    return found, batches


def dump(c: Cluster, directory: Path) -> str:
    """DumpLogSegments of what it knows; it would create an index beside a lone time index: that one is left out."""
    files = [path for path in sorted(directory.iterdir()) if path.suffix in DUMPED and path.name not in OWN_FILES
             and (path.suffix != ".timeindex" or path.with_suffix(".index").exists())]  # fmt: skip
    lone = any(path.suffix == ".checkpoint" for path in files)
    decoder = DECODERS.get(directory.name.rpartition("-")[0]) or (lone and DECODERS["__cluster_metadata"]) or None
    return "".join(c.java.dump(*files, flags=(decoder,) if decoder else None))


def compare(name: str, found: list[Record], sent: dict[int, Record], holes: set[str]) -> None:
    data = {one["offset"]: one for one in found if not one["isControl"]}
    if not sent or not data:
        return
    first = min(one["segment"] for one in found)
    if name.rpartition("-")[0] not in holes and set(data) != {offset for offset in sent if offset >= first}:
        raise RuntimeError(f"{name}: acked and found offsets differ: {sorted(set(data) ^ set(sent))[:9]}")
    for offset, one in data.items():
        fields = ["key", "value", "headers", *(["timestamp"] if one["timestampType"] == "CreateTime" else [])]
        if any(one[field] != sent[offset][field] for field in fields):
            raise RuntimeError(f"{name} offset {offset}: acked {sent[offset]}, found {one}")


# -- the three cases ---------------------------------------------------------------------------------------------


def make_clean(c: Cluster, out: Path) -> None:
    c.broker.start()
    for make in (formats, segments, producers, transactions, compaction, groups):
        make(c)
    c.java.close()
    c.broker.stop()
    c.java = kafka.Driver()
    keep(c, out, "clean", "a topic for each corner of the format, stopped cleanly", {"compacted"})


def make_torn(c: Cluster, out: Path) -> None:
    rng = c.rng("torn")
    c.broker.start()
    c.topic("orders", 3, segment_bytes=8192)
    c.topic("prealloc", segment_bytes=8192, preallocate="true")
    c.topic("trim", segment_bytes=4096)
    c.topic("doomed")
    everywhere = [("orders", 0), ("orders", 1), ("orders", 2), ("prealloc", 0), ("trim", 0)]
    for topic, partition in [*everywhere, ("doomed", 0)]:
        codec = rng.choice(("none", "lz4"))
        c.produce(topic, cut(rng, records(rng, 90)), partition, compression_type=codec, enable_idempotence="true")
    c.broker.stop()
    c.broker.start()
    for topic, partition in everywhere:
        c.produce(topic, cut(rng, records(rng, 60)), partition, enable_idempotence="true")
    hanging = c.java.open("hanging", transactional_id="tx", transaction_timeout_ms=900_000)
    c.java("begin", id=hanging)
    c.send(hanging, "orders", records(rng, 5), 1)
    c.java("delete-records", topic="trim", before=c.segments("trim-0")[-1] + 1)
    c.java("delete-topic", topic="doomed")
    c.until("doomed gone, trim trimmed",
            lambda: c.checkpoint("recovery-point-offset", "doomed-0") is None
            and len(c.segments("trim-0")) == 1)  # fmt: skip
    c.broker.kill()
    edits = harm(c, rng)
    keep(c, out, "torn", "two lives, then kill -9, then harmed by hand", {"orders"}, edits)
    c.broker.start()
    c.broker.stop()
    keep(c, out, "recovered", "torn after Kafka recovered it and stopped cleanly", {"orders"})
    c.java.close()


def harm(c: Cluster, rng: random.Random) -> tuple[str, ...]:
    """What a crash of the machine could have left: torn tails, a lost index, a bad snapshot."""
    tails = [c.log_dir / f"orders-{p}" / f"{c.segments(f'orders-{p}')[-1]:020d}.log" for p in range(3)]
    tails[0].write_bytes(tails[0].read_bytes()[:-7])
    tails[1].write_bytes(tails[1].read_bytes() + rng.randbytes(33))
    snapshot = max((c.log_dir / "prealloc-0").glob("*.snapshot"))
    for path in (tails[2], snapshot):
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    index = min((c.log_dir / "orders-0").glob("*.index"))
    index.unlink()
    names = [f"{path.parent.name}/{path.name}" for path in (*tails, snapshot, index)]
    flip = "one bit flipped in the third byte from the end"
    harms = ("last 7 bytes cut off", "33 bytes of noise appended", flip, flip, "removed")
    return tuple(f"{name}: {what}" for name, what in zip(names, harms, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=FIXTURES)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for make in (make_clean, make_torn):
        with tempfile.TemporaryDirectory(prefix="kstore-fixtures-") as work:
            cluster = Cluster(Path(work), arguments.seed)
            try:
                make(cluster, arguments.out.resolve())
            finally:
                cluster.broker.kill()
                cluster.java.process.kill()
                cluster.java.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
