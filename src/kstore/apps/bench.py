"""`kstore bench`: this machine's limits, and how close kstore comes to them.

Owns what is measured and how it is drawn; the CLI prints. The limits are the machine's own (memcpy, os.write,
os.pread, fsync) and what the standard library and kstore's one checksum dependency do; no peers that have to be
installed. Files stay small, because memory that a virtual machine's host has to back first costs more than what is
measured. Nothing here fails on a slow machine.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

import kstore
from kstore._native import crc32c
from kstore._native.records import Encoder
from kstore.apps.race import Race

RECORDS, RECORD_BYTES = 600, 100
"""One batch of 64 KiB."""

CONFIG = {"log.flush.scheduler.interval.ms": 0}
"""No flush in the background of a measurement."""

BAR_CHARS = 30


class Measure(TypedDict):
    """One line: kstore, a limit, and kstore's share of it, all measured in turns."""

    name: str
    limit: str
    kstore_ns: float
    limit_ns: float
    bytes: int
    """Bytes that those nanoseconds are for; 0 where bandwidth says nothing."""
    speed: float
    """kstore's speed over the limit's: the median over the rounds."""


def run(quick: bool, directory: str) -> list[Measure]:
    """Measure in `directory`, which is left as it was found; a few seconds when `quick`, else under a minute."""
    bench = _Bench(quick, os.path.join(directory, "kstore-bench"))
    os.makedirs(bench.directory)
    try:
        for measurement in (bench.checksum, bench.encode, bench.decode, bench.append, bench.read, bench.durable):
            measurement()
    finally:
        shutil.rmtree(bench.directory, ignore_errors=True)
    return bench.measures


def draw(measures: Sequence[Measure]) -> str:
    """The measures as bars of kstore's share of the limit, for a terminal."""
    names = max(len(m["name"]) for m in measures)
    lines = [f"CRC-32C by {crc32c.rung()}; a full bar is the machine's limit, '>' is beyond it"]
    for m in measures:
        filled = max(1, min(BAR_CHARS, round(BAR_CHARS * m["speed"])))
        bar = "#" * filled + "." * (BAR_CHARS - filled)
        bar = bar[:-1] + ">" if m["speed"] > 1.005 else bar
        ours, limit = _amount(m["kstore_ns"], m["bytes"]), _amount(m["limit_ns"], m["bytes"])
        lines.append(f"{m['name']:{names}} [{bar}] {m['speed']:6.2f}x  {ours:>10} of {limit:>10}  {m['limit']}")
    return "\n".join(lines)


def _amount(nanoseconds: float, size_bytes: int) -> str:
    if size_bytes:
        return f"{size_bytes / nanoseconds:.2f} GB/s"
    return f"{1e6 / nanoseconds:,.1f} k/s"


def _repeated(function: Callable[[], object], times: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(times):
            function()

    return work


class _Bench:
    def __init__(self, quick: bool, directory: str) -> None:
        self.rounds = 5 if quick else 15
        self.laps = 1 if quick else 3
        self.directory = directory
        self.measures: list[Measure] = []
        dice = random.Random(7)
        self.values = [dice.randbytes(RECORD_BYTES) for _ in range(RECORDS)]
        self.batch = kstore.encode_batches(self.values, timestamp_ms=0)

    def add(self, name: str, limit: str, race: Race, size_bytes: int) -> None:
        """Run a race between "kstore" and `limit`."""
        result = race.run()
        self.measures.append(
            {
                "name": name,
                "limit": limit,
                "kstore_ns": round(result.nanoseconds("kstore"), 1),
                "limit_ns": round(result.nanoseconds(limit), 1),
                "bytes": size_bytes,
                "speed": round(result.speed_ratio("kstore", limit), 3),
            }
        )

    def compare(
        self, name: str, work: Callable[[], object], limit: str, of: Callable[[], object], size: int, times: int
    ) -> None:
        """Race two functions that need nothing around them."""
        race = Race(rounds=self.rounds)
        race.add("kstore", _repeated(work, times * self.laps), units=times * self.laps)
        race.add(limit, _repeated(of, times * self.laps), units=times * self.laps)
        self.add(name, limit, race, size)

    def checksum(self) -> None:
        """CRC-32C of 64 KiB."""
        from crc32c import crc32c as pypi  # a dependency, slow to import

        data = self.batch[:65536]
        self.compare("checksum 64 KiB", lambda: crc32c.crc32c(data), "PyPI crc32c", lambda: pypi(data), 65536, 400)
        self.compare("checksum 64 KiB", lambda: crc32c.crc32c(data), "zlib.crc32", lambda: zlib.crc32(data), 65536, 60)

    def encode(self) -> None:
        """Values to a batch, checksum included."""
        encoder, values, size = Encoder(), self.values, RECORDS * RECORD_BYTES
        join = b"".join
        self.compare(
            "encode 100 B values", lambda: encoder.encode(values), 'b"".join', lambda: join(values), size, times=400
        )

    def decode(self) -> None:
        """A batch to columns, checksum included."""
        batch = self.batch
        source, target = np.frombuffer(batch, np.uint8), np.empty(len(batch), np.uint8)

        def columns() -> None:
            kstore.decode_batches(batch).columns()

        self.compare("decode to columns", columns, "memcpy", lambda: np.copyto(target, source), len(batch), times=400)

    def append(self) -> None:
        """Batches, then records, into the page cache, against os.write of the same bytes."""
        with kstore.open(f"{self.directory}/append", config=CONFIG) as store:
            topic, raw = _Topic(store), _RawFile(f"{self.directory}/raw")
            for name, append in (
                ("append batches", lambda: topic.log.append_batches(self.batch)),
                ("append 100 B values", lambda: topic.log.append(self.values, timestamp_ms=0)),
            ):
                times = 128 * self.laps
                write = _repeated(lambda: os.write(raw.fd, self.batch), times)
                race = Race(rounds=self.rounds)
                race.add("kstore", _repeated(append, times), units=times, before=topic.fresh, after=topic.drop)
                race.add("os.write", write, units=times, before=raw.fresh, after=raw.drop)
                self.add(name, "os.write", race, len(self.batch))

    def read(self) -> None:
        """64 KiB as a view, and a whole scan to columns, against os.pread."""
        count, size = 128, len(self.batch)
        with kstore.open(f"{self.directory}/read", config=CONFIG) as store:
            store.create_topic("t")
            log = store.partition("t", 0)
            for _ in range(count):
                log.append_batches(self.batch)
            fd = os.open(log.segments[0].path, os.O_RDONLY)
            places = [i * 37 % count for i in range(count)]

            def views() -> None:
                for place in places:
                    log.read(place * RECORDS, max_bytes=size)

            def columns() -> None:
                for place in places:
                    log.read(place * RECORDS, max_bytes=size).columns()

            def preads() -> None:
                for place in places:
                    os.pread(fd, size, place * size)

            self.compare("fetch 64 KiB views", views, "os.pread", preads, size * count, times=4)
            self.compare("scan to columns", columns, "os.pread", preads, size * count, times=2)
            os.close(fd)

    def durable(self) -> None:
        """Records a second that survive a power cut: one fsync for 512 of them against one for each."""
        value = [bytes(1024)]
        with kstore.open(f"{self.directory}/durable", config=CONFIG) as store:
            store.create_topic("t")
            log = store.partition("t", 0)

            def together() -> None:
                for _ in range(512):
                    log.append(value)
                log.flush()

            race = Race(rounds=self.rounds, clock=time.perf_counter_ns)
            race.add("kstore", together, units=512)
            race.add("one fsync each", _repeated(lambda: log.append(value, durable=True), 8), units=8)
            self.add("durable 1 KiB records", "one fsync each", race, 0)


class _Topic:
    """A new topic each round, whose pages serve the next round again."""

    def __init__(self, store: kstore.Store) -> None:
        self._store = store
        self.log: kstore.Partition

    def fresh(self) -> None:
        self._store.create_topic("t")
        self.log = self._store.partition("t", 0)
        self.log.append([b"first"], timestamp_ms=0)  # the first append writes down the leader epoch

    def drop(self) -> None:
        self._store.delete_topic("t")


class _RawFile:
    """The same for a plain file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.fd = -1

    def fresh(self) -> None:
        self.fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR)

    def drop(self) -> None:
        os.close(self.fd)
        os.unlink(self._path)
