"""Finding a position by offset: against an empty Cython call, a C loop, and bisect on a list of integers."""

from __future__ import annotations

import random
from bisect import bisect_right
from functools import partial

import numpy as np

from benchmarks.support.bench import Bench
from benchmarks.support.native import limits
from kstore._native.index import OFFSET_ENTRY, OffsetIndex

QUERIES = 10_000


def bench_lookup(bench: Bench) -> None:
    """G8: one lookup in at most 2.5 (8) empty calls, 5 times bisect; many in 1.3 of the C loop's time."""
    machine = limits()
    for entries, spread, floor in ((10_000, 0, 2.5), (2_500_000, 0, 8.0), (10_000, 39, None), (2_500_000, 39, None)):
        # `spread`: how much more or less than 40 offsets one entry may cover; batches of a real log are not all alike
        steps = np.random.default_rng(entries).integers(40 - spread, 40 + spread + 1, entries)
        table = np.empty(entries, OFFSET_ENTRY)
        table["relative_offset"] = np.cumsum(steps)
        table["position"] = np.arange(entries) * 800
        index = OffsetIndex(0, table.tobytes())
        what = f"lookup among {entries:,} {'uneven ' if spread else ''}entries"
        dice = random.Random(entries)
        queries = [dice.randrange(entries * 40) for _ in range(QUERIES)]
        array = np.array(queries, np.int64)
        offsets = np.cumsum(steps).tolist()

        def one_by_one(index: OffsetIndex = index, queries: list[int] = queries) -> None:
            lookup = index.lookup
            for query in queries:
                lookup(query)

        def by_bisect(offsets: list[int] = offsets, queries: list[int] = queries) -> None:
            for query in queries:
                bisect_right(offsets, query)

        race = bench.race()
        race.add("kstore", one_by_one, units=QUERIES)
        race.add("many", partial(index.lookup_many, array), units=QUERIES)
        race.add("bisect on a list", by_bisect, units=QUERIES)
        if not isinstance(machine, str):
            empty, found, raw = machine.Empty().call, np.empty(QUERIES, np.int64), table.view(np.uint8)

            def nothing(empty: object = empty, queries: list[int] = queries) -> None:
                for query in queries:
                    empty(query)  # type: ignore[operator]

            race.add("an empty call", nothing, units=QUERIES)
            race.add("a C loop", partial(machine.search, raw, array, found), units=QUERIES)
        result = race.run()
        if isinstance(machine, str):
            bench.skip("G8", what, "an empty call", floor, machine, "time")
        else:
            bench.time("G8", what, result, "an empty call", floor, unit="lookup")
            bench.time("G8", f"{what}, at once", result, "a C loop", floor and 1.3, name="many", unit="lookup")
        bench.speed("G8", what, result, "bisect on a list", floor and 5.0, kind="peer", unit="lookup")
