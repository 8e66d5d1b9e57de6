"""Appending to one partition, into the page cache: against os.write of the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import kstore
from benchmarks.support import samples
from benchmarks.support.bench import Bench, RawFile, Topics
from kstore._native import crc32c as native

LAP_BYTES = 16 << 20


def appending(bench: Bench, data: list[bytes], append: Callable[[kstore.Partition], object], units: int) -> Any:
    """A race between `append` to a fresh topic and os.write of each of `data` to a fresh file."""
    with bench.store() as store, bench.place() as place:
        topics, raw = Topics(store), RawFile(place)

        def write() -> None:
            for piece in data:
                os.write(raw.fd, piece)

        race = bench.race()
        race.add("kstore", lambda: append(topics.partition), units=units, before=topics.fresh, after=topics.drop)
        race.add("os.write", write, units=units, before=raw.fresh, after=raw.drop)
        return race.run()


def bench_append_batches(bench: Bench) -> None:
    """G1: a batch of 64 KiB checked, stamped, written and indexed at 0.88 (0.80) of the speed of writing it."""
    batch = samples.batch()
    times = LAP_BYTES // len(batch)

    def append(log: kstore.Partition) -> None:
        for _ in range(times):
            log.append_batches(batch)

    result = appending(bench, [batch] * times, append, times)
    wide = native.rung() == "avx512"  # without it the checksum alone takes 7 % of the write, not 4 %
    more: dict[str, Any] = {"unit": "batch", "unit_bytes": len(batch), "note": "" if wide else "floor without AVX-512"}
    bench.speed("G1", "append a batch of 64 KiB", result, "os.write", 0.88 if wide else 0.80, **more)


def bench_append_records(bench: Bench) -> None:
    """G2: lists of values encoded and written at 0.70 (100 B) and 0.75 (1 KiB) of the speed of writing the batch."""
    for count, size, floor in ((samples.RECORDS_100, 100, 0.70), (samples.RECORDS_1K, 1024, 0.75)):
        values, batch = samples.values(count, size), samples.batch(count, size)
        times = LAP_BYTES // len(batch)

        def append(log: kstore.Partition, values: list[bytes] = values, times: int = times) -> None:
            for _ in range(times):
                log.append(values, timestamp_ms=samples.TIMESTAMP_MS)

        result = appending(bench, [batch] * times, append, times)
        what = f"append {count} values of {size} B"
        bench.speed("G2", what, result, "os.write", floor, unit="batch", unit_bytes=len(batch))


def bench_append_columns(bench: Bench) -> None:
    """G2: the same values as numpy columns."""
    columns, batch = samples.columns(samples.RECORDS_100, 100), samples.batch()
    times = LAP_BYTES // len(batch)

    def append(log: kstore.Partition) -> None:
        for _ in range(times):
            log.append(columns, timestamp_ms=samples.TIMESTAMP_MS)

    result = appending(bench, [batch] * times, append, times)
    what = f"append {samples.RECORDS_100} values of 100 B in columns"
    bench.speed("G2", what, result, "os.write", None, unit="batch", unit_bytes=len(batch))


def bench_append_small_batches(bench: Bench) -> None:
    """G3: batches of 1 KiB, 256 to an append, against one os.write for each of them."""
    batch = kstore.encode_batches(samples.values(1, 955), timestamp_ms=samples.TIMESTAMP_MS)
    together, times = batch * 256, 32

    def append(log: kstore.Partition) -> None:
        for _ in range(times):
            log.append_batches(together)

    result = appending(bench, [batch] * 256 * times, append, 256 * times)
    bench.speed(
        *("G3", "batches of 1 KiB, 256 an append", result, "os.write", 2.5),
        unit="batch",
        unit_bytes=len(batch),
        note="one os.write for each batch",
    )

    def one_by_one(log: kstore.Partition) -> None:
        for _ in range(4096):
            log.append_batches(batch)

    result = appending(bench, [batch] * 4096, one_by_one, 4096)
    bench.speed("G3", "batches of 1 KiB, one an append", result, "os.write", None, unit="batch", unit_bytes=len(batch))
