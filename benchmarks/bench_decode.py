"""Decoding a batch: to columns against memcpy and aiokafka, to Python objects against aiokafka."""

from __future__ import annotations

from collections import deque

import kstore
from benchmarks.support import samples
from benchmarks.support.bench import Bench
from benchmarks.support.native import limits

COUNT, LAPS = samples.RECORDS_100, 40


def bench_decode(bench: Bench) -> None:
    """G6: columns at least 20 times as fast as aiokafka and in at most 4 times memcpy; tuples 2.5 times aiokafka."""
    batch = kstore.encode_batches(samples.pairs(COUNT, 100), timestamp_ms=samples.TIMESTAMP_MS)
    target = bytearray(len(batch))
    machine, aiokafka = limits(), bench.peer("aiokafka.record.memory_records")

    def columns() -> None:
        for _ in range(LAPS):
            kstore.decode_batches(batch).columns()

    def values() -> None:
        for _ in range(LAPS):
            [record.value for record in kstore.decode_batches(batch)]

    uneven = kstore.encode_batches(samples.uneven(COUNT), timestamp_ms=samples.TIMESTAMP_MS)

    def uneven_columns() -> None:
        for _ in range(LAPS):
            kstore.decode_batches(uneven).columns()

    def tuples() -> None:
        for _ in range(LAPS):
            list(kstore.decode_batches(batch).tuples())

    def records() -> None:
        for _ in range(LAPS):
            deque(kstore.decode_batches(batch), maxlen=0)

    def attributes() -> None:
        for _ in range(LAPS):
            [(r.offset, r.timestamp_ms, r.key, r.value) for r in kstore.decode_batches(batch)]

    race, units = bench.race(), LAPS * COUNT
    race.add("columns", columns, units=units)
    race.add("values", values, units=units)
    race.add("columns of values of 70 to 130 B", uneven_columns, units=units)
    race.add("tuples", tuples, units=units)
    race.add("records", records, units=units)
    race.add("four attributes of each record", attributes, units=units)
    if not isinstance(machine, str):
        race.add("memcpy", lambda: machine.copy(target, batch, LAPS), units=units)
    if not isinstance(aiokafka, str):

        def decode() -> None:
            for _ in range(5):
                batches = aiokafka.MemoryRecords(batch).next_batch()
                batches.validate_crc()
                [(r.offset, r.timestamp, r.key, r.value) for r in batches]

        race.add("aiokafka", decode, units=5 * COUNT)
    result = race.run()
    if isinstance(machine, str):
        bench.skip("G6", "decode to columns", "memcpy", 4, machine, "time")
    else:
        bench.time("G6", "decode to columns", result, "memcpy", 4, name="columns", unit="record")
    floors = {"columns": 20, "columns of values of 70 to 130 B": None, "tuples": 2.5, "records": None, "values": None}
    floors["four attributes of each record"] = None
    for name, floor in floors.items():
        what = f"decode to {name}"
        if isinstance(aiokafka, str):
            bench.skip("G6", what, "aiokafka", floor, aiokafka)
        else:
            bench.speed("G6", what, result, "aiokafka", floor, name=name, kind="peer", unit="record")
