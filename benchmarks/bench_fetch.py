"""Reading 64 KiB of batches: as a view against os.pread, and copied against os.preadv into one buffer."""

from __future__ import annotations

import os

from benchmarks.support import samples
from benchmarks.support.bench import Bench

BATCHES, LAPS = 256, 2000


def bench_fetch(bench: Bench) -> None:
    """G7: a view of a batch of 64 KiB in at most 0.10 of os.pread; copied at 0.9 of os.preadv's speed."""
    batch = samples.batch()
    size = len(batch)
    with bench.store() as store:
        store.create_topic("t")
        log = store.partition("t", 0)
        for _ in range(BATCHES):
            log.append_batches(batch)
        fd = os.open(log.segments[0].path, os.O_RDONLY)
        offsets = [(i * 37 % BATCHES) * samples.RECORDS_100 for i in range(LAPS)]
        positions = [(i * 37 % BATCHES) * size for i in range(LAPS)]
        target = bytearray(size)
        targets, into = [target], memoryview(target)

        def view() -> None:
            read = log.read
            for offset in offsets:
                read(offset, max_bytes=size)

        def copy() -> None:
            read = log.read
            for offset in offsets:
                into[:] = read(offset, max_bytes=size).buffer

        def pread() -> None:
            for position in positions:
                os.pread(fd, size, position)

        def preadv() -> None:
            for position in positions:
                os.preadv(fd, targets, position)

        race = bench.race()
        for name, work in (("view", view), ("copy", copy), ("os.pread", pread), ("os.preadv", preadv)):
            race.add(name, work, units=LAPS)
        result = race.run()
        os.close(fd)
    bench.time("G7", "fetch a view of 64 KiB", result, "os.pread", 0.10, name="view", unit="batch")
    more = {"unit": "batch", "unit_bytes": size}
    bench.speed("G7", "fetch 64 KiB into a buffer", result, "os.preadv", 0.9, name="copy", **more)
