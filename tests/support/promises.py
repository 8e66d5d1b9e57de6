"""What a store has promised about a partition, and whether a directory still keeps it after a crash.

The oracle of the crash suites. A workload keeps one `Promise` for each partition and notes all of them in the disk's
trace whenever one changes; a checker opens a crashed directory and compares. It knows records and offsets only, and
nothing of segments or files, so that it cannot make the same mistake as the code it judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kstore._native import batch as native
from kstore.config import StoreConfig
from kstore.store import Store
from kstore.testing.simdisk import SimDisk

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.partition import Partition

ROOT = "/data"

Stored = tuple[bytes | None, bytes | None, int]
"""Key, value, timestamp."""

NOTHING: Stored = (None, None, -1)
"""Stands for an offset below the log's first batch."""


def clock() -> int:
    return 1_700_000_000_000


@dataclass(frozen=True)
class History:
    """The records of a partition from offset 0, by offset; a crash may leave any prefix between two lengths."""

    records: list[Stored]
    """Shared with later histories of the same line: only grows, so a promise is its bounds."""
    low: int
    """Power loss keeps at least so many: what was durable."""
    kept: int
    """The death of the process alone keeps at least so many: what an append has returned for."""
    high: int
    """What was submitted so far."""
    start: tuple[int, int] | None = None
    """Between which the log start lies if this is what became of the log; None for the promise's own bounds."""


@dataclass(frozen=True)
class Promise:
    """One partition."""

    histories: tuple[History, ...]
    """One, or several while a truncation is under way: the old one, the new one, what may lie between."""
    start_low: int = 0
    start_high: int = 0
    """The log start offset lies between them."""

    def submit(self, count: int) -> Promise:
        (h,) = self.histories
        return replace(self, histories=(replace(h, high=h.high + count),))

    def store(self, durable: bool = False) -> Promise:
        (h,) = self.histories
        low = h.high if durable else h.low
        return replace(self, histories=(replace(h, low=low, kept=h.high),))

    def flush(self) -> Promise:
        (h,) = self.histories
        return replace(self, histories=(replace(h, low=h.kept),))

    def truncating(self, offset: int) -> Promise:
        (h,) = self.histories
        shorter = History(h.records[:offset], min(h.low, offset), offset, offset)
        longer = replace(h, low=min(h.low, offset), kept=offset)
        return replace(self, histories=(longer, shorter))

    def truncated(self) -> Promise:
        return replace(self, histories=self.histories[-1:])

    def starting_over(self, offset: int, base_offset: int) -> Promise:
        """The log is to go whole, and to go on at `offset`; the first batch may begin at `base_offset`.

        The new start is written first: only with it may anything be missing.
        """
        (h,) = self.histories
        cut = replace(h, low=0, kept=0, start=(offset, max(offset, self.start_low)))
        fresh = History([NOTHING] * base_offset, offset, offset, offset, (offset, offset))
        return replace(self, histories=(h, cut, fresh))

    def started_over(self) -> Promise:
        fresh = self.histories[-1]
        return Promise((replace(fresh, start=None),), fresh.high, fresh.high)

    def starting(self, offset: int) -> Promise:
        return replace(self, start_high=max(offset, self.start_high))

    def started(self, offset: int) -> Promise:
        return replace(self, start_low=offset, start_high=max(offset, self.start_high))


@dataclass(frozen=True)
class Promises:
    """A directory: its partitions, those that must be there and those that may."""

    partitions: dict[tuple[str, int], Promise] = field(default_factory=dict)
    certain: frozenset[str] = frozenset()
    """Topics that must be there."""
    possible: frozenset[str] = frozenset()
    """Topics that may be there: being created or deleted."""


class BrokenPromise(AssertionError):
    """A crash state that was not recovered as it must be."""


def reopen(disk: SimDisk, config: dict[str, Any] | None = None) -> Store:
    """Open the directory as a new process does; recovery runs."""
    return Store(ROOT, StoreConfig.parse(config), disk, clock, background=False)


def read_all(store: Store, topic: str, index: int, *, epochs: bool = True) -> tuple[int, list[Stored]]:
    """Log start offset and every record from there to the end; offsets must have no hole.

    `epochs` asks that the lineage fits, too: what a failed truncation leaves to readers has lost it.
    """
    partition = store.partition(topic, index)
    offset, end = partition.log_start_offset, partition.log_end_offset
    found: list[Stored] = []
    while offset < end:
        batches = partition.read(offset, max_bytes=1 << 20)
        if epochs:
            _check_epochs(partition, batches.buffer)
        for record in batches:
            if record.offset < offset:
                continue
            if record.offset != offset:
                raise BrokenPromise(f"{topic}-{index}: offset {offset} is missing, then comes {record.offset}")
            found.append((record.key, record.value, record.timestamp_ms))
            offset += 1
        if not len(batches):
            raise BrokenPromise(f"{topic}-{index}: nothing to read at {offset} below the end {end}")
    if partition.high_watermark != end:
        raise BrokenPromise(f"{topic}-{index}: high watermark {partition.high_watermark}, end {end}")
    return partition.log_start_offset, found


def _check_epochs(partition: Partition, batches: Buffer) -> None:
    """I10: the lineage says of every batch the epoch that it carries."""
    lineage = partition.log.derived.epochs.entries
    for header in native.headers(batches):
        noted = [entry.epoch for entry in lineage if entry.start_offset <= header.base_offset]
        first = min((entry.epoch for entry in lineage), default=-1)
        if header.leader_epoch != (noted[-1] if noted else first):
            raise BrokenPromise(f"{partition}: {header.base_offset} is of epoch {header.leader_epoch}, not {lineage}")


def check(store: Store, promises: Promises, *, power_loss: bool) -> None:
    """Compare an open store with what was promised; raises `BrokenPromise`."""
    topics = set(store.topics())
    if not promises.certain <= topics <= promises.certain | promises.possible:
        raise BrokenPromise(f"topics {sorted(topics)}; certain {set(promises.certain)}, may {set(promises.possible)}")
    for (topic, index), promise in promises.partitions.items():
        if topic in topics:
            start, found = read_all(store, topic, index)
            compare(f"{topic}-{index}", promise, start, found, power_loss=power_loss)


def compare(name: str, promise: Promise, start: int, found: list[Stored], *, power_loss: bool) -> None:
    """Compare what lies from the log start on with what was promised; raises `BrokenPromise`."""
    end = start + len(found)
    complaints = []
    for history in promise.histories:
        least = history.low if power_loss else history.kept
        lowest, highest = history.start or (promise.start_low, promise.start_high)
        if not lowest <= start <= highest:
            complaints.append(f"starts at {start}, not in {lowest} to {highest}")
        elif not least <= end <= history.high:
            complaints.append(f"ends at {end}, not in {least} to {history.high}")
        elif found != history.records[start:end]:
            at = next(i for i, (a, b) in enumerate(zip(found, history.records[start:end], strict=True)) if a != b)
            complaints.append(f"offset {start + at} holds {found[at]!r}, not {history.records[start + at]!r}")
        else:
            return
    raise BrokenPromise(f"{name}: {'; or '.join(complaints)}")
