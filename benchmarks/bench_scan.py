"""Reading a partition from its start to its end: against a plain file of length-prefixed values, and lmdb.

Every contestant but the columns yields a tuple of number and value for each record; kstore's has time and key as well.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator

import kstore
from benchmarks.support import samples
from benchmarks.support.bench import Bench

RECORDS, SIZE, FETCH_BYTES = 120_000, 100, 1 << 20
_LENGTH = struct.Struct(">I")


def drain(items: Iterable[object]) -> None:
    """Make every item and keep none: keeping them would measure the allocator."""
    deque(items, maxlen=0)


def batches_of(log: kstore.Partition) -> Iterator[kstore.Batches]:
    offset, end = log.log_start_offset, log.log_end_offset
    while offset < end:
        batches = log.read(offset, max_bytes=FETCH_BYTES)
        yield batches
        offset = batches.next_offset


def plain_records(path: str) -> Iterator[tuple[int, bytes]]:
    """What one would write by hand: a length before each value."""
    with open(path, "rb") as file:
        data = file.read()
    position, end, number, unpack = 0, len(data), 0, _LENGTH.unpack_from
    while position < end:
        length = unpack(data, position)[0]
        yield number, data[position + 4 : position + 4 + length]
        position += 4 + length
        number += 1


def bench_scan(bench: Bench) -> None:
    """G9: columns 5 times as fast as a loop over a plain file, tuples 1.7 times; tuples 3 times lmdb's cursor."""
    values = samples.values(samples.RECORDS_100, SIZE)
    with bench.store() as store, bench.place() as place:
        store.create_topic("t")
        log = store.partition("t", 0)
        for _ in range(RECORDS // len(values)):
            log.append(values, timestamp_ms=samples.TIMESTAMP_MS)
        with open(f"{place}/plain", "wb") as file:
            for _ in range(RECORDS // len(values)):
                file.write(b"".join(_LENGTH.pack(len(value)) + value for value in values))

        def columns() -> None:
            for batches in batches_of(log):
                batches.columns()

        number = struct.Struct(">Q").unpack

        def tuples() -> None:
            for batches in batches_of(log):
                drain(batches.tuples())

        def records() -> None:
            for batches in batches_of(log):
                drain(batches)

        race = bench.race()
        for name, work in (("columns", columns), ("tuples", tuples), ("records", records)):
            race.add(name, work, units=RECORDS)
        race.add("a plain file", lambda: drain(plain_records(f"{place}/plain")), units=RECORDS)
        lmdb = bench.peer("lmdb")
        if not isinstance(lmdb, str):
            environment = lmdb.open(f"{place}/lmdb", map_size=1 << 28, sync=False, metasync=False)
            with environment.begin(write=True) as transaction:
                every = ((struct.pack(">Q", i), values[i % len(values)]) for i in range(RECORDS))
                transaction.cursor().putmulti(every, append=True)

            def cursor() -> None:
                with environment.begin() as transaction:
                    drain((number(key)[0], value) for key, value in transaction.cursor())

            race.add("lmdb", cursor, units=RECORDS)
        result = race.run()
        if not isinstance(lmdb, str):
            environment.close()
    more = {"kind": "peer", "unit": "record"}
    bench.speed("G9", "scan to columns, 100 B", result, "a plain file", 5, name="columns", **more)
    bench.speed("G9", "scan to tuples, 100 B", result, "a plain file", 1.7, name="tuples", **more)
    bench.speed("G9", "scan to records, 100 B", result, "a plain file", None, name="records", **more)
    if isinstance(lmdb, str):
        bench.skip("G9", "scan to tuples, 100 B", "lmdb", 3, lmdb)
    else:
        bench.speed("G9", "scan to tuples, 100 B", result, "lmdb", 3, name="tuples", **more)
