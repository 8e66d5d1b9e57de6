"""Encoding records into a batch: against joining the same bytes, and against aiokafka's Cython builder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kstore
from benchmarks.support import samples
from benchmarks.support.bench import Bench
from kstore._native.records import Encoder


def encoding(records: list[Any] | kstore.Columns, times: int) -> Callable[[], None]:
    encoder = Encoder()

    def work() -> None:
        for _ in range(times):
            encoder.encode(records, timestamp_ms=samples.TIMESTAMP_MS)

    return work


def joining(values: list[bytes], times: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(times):
            b"".join(values)

    return work


def bench_encode_values(bench: Bench) -> None:
    """G5: a list of values encoded, checksum included, in at most 0.8 of the time of b"".join of the same list."""
    for count, size, floor in ((600, 100, 0.8), (10_000, 100, None), (63, 1024, None), (1000, 1024, None)):
        values, times = samples.values(count, size), max(1, 120_000 // count)
        race = bench.race()
        race.add("kstore", encoding(values, times), units=times * count)
        race.add('b"".join', joining(values, times), units=times * count)
        what = f"encode {count} values of {size} B"
        bench.time("G5", what, race.run(), 'b"".join', floor, unit="record")
    values = samples.uneven(600)
    race = bench.race()
    race.add("kstore", encoding(values, 200), units=200 * 600)
    race.add('b"".join', joining(values, 200), units=200 * 600)
    bench.time("G5", "encode 600 values of 70 to 130 B", race.run(), 'b"".join', None, unit="record")


def bench_encode_columns(bench: Bench) -> None:
    """G5: values that lie in numpy columns, against making the list of them first; and against the list alone."""
    for count, size, floor in ((600, 100, 3), (63, 1024, None), (10_000, 100, None)):
        columns, values, times = samples.columns(count, size), samples.values(count, size), max(1, 120_000 // count)
        buffer = bytes(columns.buffer)
        bounds = list(zip(columns.value_starts.tolist(), columns.value_ends.tolist(), strict=True))
        encoder = Encoder()

        def listing(
            buffer: bytes = buffer, bounds: list[tuple[int, int]] = bounds, times: int = times, to: Encoder = encoder
        ) -> None:
            for _ in range(times):
                to.encode([buffer[start:end] for start, end in bounds], timestamp_ms=samples.TIMESTAMP_MS)

        race = bench.race()
        race.add("kstore", encoding(columns, times), units=times * count)
        race.add("slices", listing, units=times * count)
        race.add("list", encoding(values, times), units=times * count)
        result = race.run()
        what, more = f"encode {count} values of {size} B in columns", {"kind": "peer", "unit": "record"}
        bench.speed("G5", what, result, "slices", floor, note="made into a list of bytes first", **more)
        bench.speed("G5", what, result, "list", None, note="of bytes, made before", **more)


def bench_encode_pairs(bench: Bench) -> None:
    """G5: records with key and timestamp, at least 15 times as fast as aiokafka's builder fed one by one."""
    pairs = samples.pairs(600, 100)
    records = [
        kstore.Record(value, key=key, timestamp_ms=samples.TIMESTAMP_MS + i) for i, (key, value) in enumerate(pairs)
    ]
    race = bench.race()
    race.add("kstore", encoding(pairs, 50), units=50 * 600)
    race.add("kstore.Record", encoding(records, 50), units=50 * 600)
    aiokafka = bench.peer("aiokafka.record.default_records")
    if isinstance(aiokafka, str):
        bench.skip("G5", "encode (key, value) of 100 B", "aiokafka", 15, aiokafka)
        return

    def build() -> None:
        for _ in range(5):
            builder = aiokafka.DefaultRecordBatchBuilder(
                magic=2,
                compression_type=0,
                is_transactional=0,
                producer_id=-1,
                producer_epoch=-1,
                base_sequence=-1,
                batch_size=1 << 20,
            )
            for i, (key, value) in enumerate(pairs):
                builder.append(i, samples.TIMESTAMP_MS + i, key, value, [])
            builder.build()

    race.add("aiokafka", build, units=5 * 600)
    result = race.run()
    more = {"kind": "peer", "unit": "record"}
    bench.speed("G5", "encode (key, value) of 100 B", result, "aiokafka", 15, **more)
    bench.speed("G5", "encode Record(value, key, time)", result, "aiokafka", None, name="kstore.Record", **more)
