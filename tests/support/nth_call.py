"""One call of a workload fails: what it leaves in the running process, to the next one, and on the medium.

A `Case` names the call. The workload ends with the error; then the disk is healthy again. Readers of the process still
see what had been promised. A directory whose failure was not final takes durable appends and stops cleanly; one whose
failure was final takes nothing any more, and has no clean marker. A new process finds what had been promised, and so
does one after a power loss, at the failure and at the end.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kstore.errors import KStoreError
from kstore.partition import Partition
from kstore.store import Store
from kstore.testing.faults import CHANGING, READING
from kstore.testing.simdisk import SimDisk
from support.crash_check import CLEAN_MARKER
from support.crash_run import Run
from support.promises import NOTHING, BrokenPromise, History, Promise, Promises, check, compare, read_all, reopen
from support.stores import power_off
from support.workloads import WORKLOADS, settled_ids

WAYS: dict[str, tuple[frozenset[str], float, tuple[int, ...]]] = {
    "whole": (CHANGING, 0.0, (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EINTR)),
    "half": (frozenset({"write"}), 0.5, (errno.ENOSPC, errno.EIO, errno.EINTR)),
    "look": (READING, 0.0, (errno.EIO, errno.EMFILE)),
}
"""How a call fails: which calls, the share of a write that arrives all the same, with which errnos."""


@dataclass(frozen=True)
class Case:
    """One failing call; written as `rolls:half:EIO:17`."""

    workload: str
    way: str
    number: int
    """The errno."""
    nth: int
    """Among the calls of that way, from 0."""

    def __str__(self) -> str:
        return f"{self.workload}:{self.way}:{errno.errorcode[self.number]}:{self.nth}"

    @classmethod
    def parse(cls, text: str) -> Case:
        workload, way, name, nth = text.split(":")
        return cls(workload, way, getattr(errno, name), int(nth))


def cases(seed: int) -> Iterator[Case]:
    """Every call of every workload, in every way, with every errno."""
    for workload in sorted(WORKLOADS):
        calls = _count(workload, seed)
        for way, (_, _, numbers) in WAYS.items():
            for number in numbers:
                for nth in range(calls[way]):
                    yield Case(workload, way, number, nth)


def _count(workload: str, seed: int) -> dict[str, int]:
    """How many calls of each way an undisturbed run makes."""
    disk = SimDisk()
    plants = {way: disk.faults.plant(0, nth=1 << 60, kinds=kinds) for way, (kinds, _, _) in WAYS.items()}
    with settled_ids(seed):
        _run(disk, workload, seed)
    return {way: plant.seen for way, plant in plants.items()}


def _run(disk: SimDisk, workload: str, seed: int) -> tuple[Run | None, KStoreError | None]:
    """Run a workload to its end, or to its first error; without a `Run` where even the first open fails."""
    steps, options = WORKLOADS[workload]
    run = None
    try:
        run = Run(seed, disk=disk, **options)
        steps(run)
    except KStoreError as error:
        return run, error
    return run, None


def play(case: Case, seed: int) -> None:
    """Run a case and judge it; raises `BrokenPromise`."""
    kinds, part, _ = WAYS[case.way]
    disk = SimDisk(medium=True)
    fault = disk.faults.plant(case.number, nth=case.nth, kinds=kinds, part=part)
    with settled_ids(seed), _explained(case, seed):
        run, error = _run(disk, case.workload, seed)
        if not fault.fired:
            raise BrokenPromise(f"nothing failed, {error}")
        disk.faults.clear()
        promises = Promises() if run is None else run.promises
        check(reopen(power_off(disk)), promises, power_loss=True)
        if run is not None and run.alive and not run.store.closed:
            promises = _live_on(run.store, promises)
            if run.store.health.failure is not None and disk.exists(CLEAN_MARKER):
                raise BrokenPromise("a clean stop after a final failure")
        dark = power_off(disk)
        disk.kill()
        check(reopen(disk), promises, power_loss=False)
        check(reopen(dark), promises, power_loss=True)


@contextmanager
def _explained(case: Case, seed: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise BrokenPromise(
            f"{case}: {type(error).__name__}: {error}\nreplay: python tests/crash/nth_calls.py {seed} '{case}'"
        ) from error


def _live_on(store: Store, promises: Promises) -> Promises:
    """Read, append and stop after the failure, in the same process; returns what is promised then."""
    final = store.health.failure is not None
    made = dict(promises.partitions)
    for (topic, index), promise in promises.partitions.items():
        if topic not in store.topics():
            continue
        partition = store.partition(topic, index)
        partition.log.stand_alone()
        start, found = read_all(store, topic, index, epochs=not final)
        compare(f"{topic}-{index} while the process lives", promise, start, found, power_loss=False)
        if _refused(partition):
            if not final:
                raise BrokenPromise(f"{topic}-{index} refuses an append after a failure that was not final")
            continue
        if final:
            raise BrokenPromise(f"{topic}-{index} acknowledges an append after a final failure")
        end = start + len(found) + 1
        records = [*[NOTHING] * start, *found, (None, b"on", 5)]
        made[topic, index] = Promise((History(records, end, end, end),), start, start)
    store.close()
    return replace(promises, partitions=made)


def _refused(partition: Partition) -> bool:
    try:
        partition.lead(1_000, partition.log_end_offset)
        partition.append([b"on"], timestamp_ms=5, durable=True)
    except KStoreError:
        return True
    return False
