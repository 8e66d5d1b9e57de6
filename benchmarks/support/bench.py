"""The bench that every benchmark function is given: a directory, races, peers, and the rows that come of them.

Made by `benchmarks.__main__` for the table and by the pytest fixture `bench`. Invariants: (1) a missing peer makes a
row with its reason, never a failure; (2) no row of one function depends on another function having run; (3) files
stay at or below 128 MiB unless the row is about a larger one, because memory that the host has to back first costs
more than what is measured.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import kstore
from benchmarks.support.quiet import wait_for_quiet
from benchmarks.support.rows import Row
from benchmarks.support.samples import TIMESTAMP_MS
from kstore.apps.race import Contestant, Race, Result

CONFIG = {
    "log.flush.scheduler.interval.ms": 0,  # no flush in the background of a measurement
    "log.segment.bytes": 1 << 30,
    "log.message.timestamp.type": "CreateTime",
}

ROUND_NS = 250e6
"""A round of a race: long enough for twenty laps of the short ones, and several of those a second is too short for."""

QUIET_WAIT_S = 15.0
"""How long each try of a row of the wall clock waits for the neighbours to pause; a try takes a second at most."""


class Bench:
    """Collects rows. `directory` is where files are written; it is the caller's to remove."""

    def __init__(self, directory: str, *, quick: bool = False) -> None:
        """`quick` halves the rounds and shrinks the largest files."""
        self.directory = directory
        self.quick = quick
        self.rounds = 5 if quick else 9
        self.record = False
        """Whether baselines are to be written anew."""
        self.rows: list[Row] = []
        self.on_row: Callable[[Row], None] = lambda row: None
        self.on_race: Callable[[Contestant], None] = lambda contestant: None
        """Called after each race with its first contestant, kstore, while all that it needs is still open."""

    # -- races ----------------------------------------------------------------------------------------------

    def race(self, *, wall: bool = False) -> Race:
        """A race on the processor time of this thread, or on the wall clock where it waits for a disk."""
        clock = time.perf_counter_ns if wall else time.thread_time_ns
        return _Race(self, rounds=self.rounds, clock=clock, round_ns=ROUND_NS)

    def quiet(self) -> str:
        """Wait for a machine that does little else, before what is measured by the wall clock; what to note if none
        came."""
        return wait_for_quiet(QUIET_WAIT_S / 4 if self.quick else QUIET_WAIT_S)

    def speed(self, goal: str, what: str, result: Result, against: str, floor: float | None, **more: Any) -> Row:
        """Add a row: kstore is to be at least `floor` times as fast as `against`."""
        return self._add(goal, what, result, against, "speed", floor, **more)

    def time(self, goal: str, what: str, result: Result, against: str, floor: float | None, **more: Any) -> Row:
        """Add a row: kstore is to take at most `floor` times as long as `against`."""
        return self._add(goal, what, result, against, "time", floor, **more)

    def _add(
        self,
        goal: str,
        what: str,
        result: Result,
        against: str,
        sense: str,
        floor: float | None,
        *,
        kind: str = "limit",
        name: str = "kstore",
        unit: str = "",
        unit_bytes: int = 0,
        note: str = "",
    ) -> Row:
        ratio = result.speed_ratio if sense == "speed" else result.time_ratio
        return self.add(
            Row(
                goal,
                what,
                against,
                kind,
                sense,
                floor,
                ratio(name, against),
                result.nanoseconds(name),
                result.nanoseconds(against),
                unit,
                unit_bytes,
                note,
            )
        )

    def add(self, row: Row) -> Row:
        """Add a finished row."""
        self.rows.append(row)
        self.on_row(row)
        return row

    def skip(self, goal: str, what: str, against: str, floor: float | None, reason: str, sense: str = "speed") -> None:
        """Add a row that says why there is nothing to say."""
        self.add(Row(goal, what, against, "peer", sense, floor, note=reason))

    def peer(self, module: str) -> ModuleType | str:
        """A peer's module, or why it is not there."""
        try:
            return importlib.import_module(module)
        except ImportError as error:
            return f"{module.split('.')[0]} is not installed ({error})"

    # -- places ---------------------------------------------------------------------------------------------

    @contextmanager
    def place(self) -> Iterator[str]:
        """A fresh directory that is gone afterwards."""
        directory = tempfile.mkdtemp(prefix="place-", dir=self.directory)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def store(self) -> Iterator[kstore.Store]:
        """A store in a fresh directory, without background work."""
        with self.place() as directory, kstore.open(f"{directory}/data", config=CONFIG) as store:
            yield store


class _Race(Race):
    """A race that shows its first contestant to the bench."""

    def __init__(self, bench: Bench, *, rounds: int, clock: Callable[[], int], round_ns: float) -> None:
        super().__init__(rounds=rounds, clock=clock, round_ns=round_ns)
        self._bench = bench

    def run(self) -> Result:
        result = super().run()
        self._bench.on_race(self.contestants[0])
        return result


class Topics:
    """A new topic for each round of a race, and the last one deleted: its pages serve the next round again."""

    def __init__(self, store: kstore.Store) -> None:
        self._store = store
        self._count = 0
        self.partition: kstore.Partition

    def fresh(self) -> None:
        """Before a lap. The first append of a partition writes down its leader epoch: that is no part of the others."""
        self._count += 1
        self._store.create_topic(f"t{self._count}")
        self.partition = self._store.partition(f"t{self._count}", 0)
        self.partition.append([b"first"], timestamp_ms=TIMESTAMP_MS)  # a later time would roll

    def drop(self) -> None:
        """After a lap."""
        self._store.delete_topic(f"t{self._count}")


class RawFile:
    """The same for a plain file."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/raw"
        self.fd = -1

    def fresh(self) -> None:
        """Before a lap."""
        self.fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR)

    def drop(self) -> None:
        """After a lap."""
        os.close(self.fd)
        os.unlink(self._path)
