"""Which records of a `__consumer_offsets` partition are still needed: its snapshot.

Owns the rule of survival, over any records with keys. Removes nothing itself: a log's cleaner does, with what this
returns. Called by the broker and by tests that compare a state with its shortest log.

Invariants
1. Replaying the survivors gives the state that replaying everything gives.
2. Survivors keep their order and their offsets.
3. A survivor of survivors is a survivor: compacting twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class LogRecord(NamedTuple):
    """A record as it stands in the partition."""

    offset: int
    key: bytes
    value: bytes | None


def survivors(records: Sequence[LogRecord], *, keep_tombstones_from: int | None = None) -> Iterator[LogRecord]:
    """The last record of every key, in order, and tombstones at or above `keep_tombstones_from` alone.

    None keeps no tombstone: right for a whole partition, of which nothing older exists anywhere. A cleaner that
    leaves an older part of the log as it is must keep tombstones for it, and for replicas that lag, hence the
    offset. Transactional records take no part: hand in what read_committed shows.
    """
    last = {record.key: record.offset for record in records}
    for record in records:
        if last[record.key] != record.offset:
            continue
        is_kept = keep_tombstones_from is not None and record.offset >= keep_tombstones_from
        if record.value is not None or is_kept:
            yield record


def live_count(records: Iterable[LogRecord]) -> int:
    """How many keys have a value: the size of the snapshot."""
    values = {record.key: record.value for record in records}
    return sum(value is not None for value in values.values())
