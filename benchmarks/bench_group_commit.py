"""Durable appends: one fsync for each against one for all that wait. On the wall clock: this is about waiting."""

from __future__ import annotations

import threading

from benchmarks.support import samples
from benchmarks.support.bench import Bench, Topics

WAITING, ALONE, THREADS = 512, 24, 64


def bench_group_commit(bench: Bench) -> None:
    """G13: 512 appends of 1 KiB made durable by one fsync, 50 times as many a second as one by one."""
    value = samples.values(1, 1024)
    with bench.store() as store:
        topics = Topics(store)
        topics.fresh()
        log = topics.partition

        def one_by_one() -> None:
            for _ in range(ALONE):
                log.append(value, durable=True)

        def together() -> None:
            for _ in range(WAITING):
                log.append(value)
            log.flush()

        def by_threads() -> None:
            def work() -> None:
                for _ in range(WAITING // THREADS):
                    log.append(value, durable=True)

            threads = [threading.Thread(target=work) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        race = bench.race(wall=True)
        race.add("one fsync each", one_by_one, units=ALONE)
        race.add("one fsync for 512", together, units=WAITING)
        race.add("64 threads", by_threads, units=WAITING)
        note = bench.quiet()
        result = race.run()
    for name, floor in (("one fsync for 512", 50.0), ("64 threads", None)):
        what = f"durable 1 KiB, {name}"
        bench.speed("G13", what, result, "one fsync each", floor, name=name, unit="append", note=note)
