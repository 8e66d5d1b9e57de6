"""What every replica's log holds, read back from its disk after each step: the ground that checkers stand on.

Owns one `Copy` for each broker and partition, also while the broker is down, and the `Step` that one event made of it.
It must not judge. Called by `judge`.

Invariant: a copy says what the log's own bytes say, never what a machine believes; only `durable_offset` is a claim,
and `checkers.medium` holds it against the medium.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from kstore._native import batch as native
from kstore.errors import CorruptionError, InvalidBatch

if TYPE_CHECKING:
    from kstore._native.view import View
    from kstore.replication.machine import State
    from kstore.testing.simdisk import SimDisk

READ_BYTES = 1 << 20


class Held(NamedTuple):
    """One batch of a log."""

    base_offset: int
    next_offset: int
    epoch: int
    crc: int
    """Of everything from the attributes on; with the offsets and the epoch it tells batches apart."""


def _base(held: Held) -> int:
    return held.base_offset


class Copy:
    """One replica's log, as last seen."""

    def __init__(self, node: int, key: str) -> None:
        self.node = node
        self.key = key
        self.batches: list[Held] = []
        self.view: View | None = None
        self.state: State | None = None
        self.log_start_offset = 0
        self.log_end_offset = 0
        self.high_watermark = 0
        self.durable_offset = 0
        self.agreed_offset = 0
        """Up to here it was found equal to what is committed."""
        self.is_known = True
        """False where a power loss took what nobody promised to keep, until the controller has heard of a new life: as
        long as it has not, it may count on the old one."""
        self.is_damaged = False
        """Bits were flipped in it: what it lacks is not kstore's fault."""

    def index_of(self, offset: int) -> int:
        """The first batch at or above an offset."""
        return bisect_left(self.batches, offset, key=_base)

    def cut(self, offset: int) -> None:
        """Forget what lies at or above an offset."""
        del self.batches[self.index_of(offset) :]
        self.log_end_offset = min(self.log_end_offset, offset)
        self.agreed_offset = min(self.agreed_offset, offset)

    def __repr__(self) -> str:
        return f"b{self.node} {self.key} [{self.log_start_offset}, {self.log_end_offset})"


class Step(NamedTuple):
    """What one event has made of a replica."""

    copy: Copy
    state: State
    state_before: State | None
    """None at the first step of a life."""
    appended: tuple[Held, ...]
    end_before: int
    high_watermark_before: int
    log_start_before: int


def read_log(disk: SimDisk, view: View, offset: int) -> tuple[list[Held], bool]:
    """The batches from the one that covers `offset` to the log end, and whether some fail their check.

    Of those that do, the ones whose headers make no sense are left out; and all of them, where one does not.
    """
    with faults_aside(disk):
        try:
            return _walk(view, offset), False
        except (CorruptionError, InvalidBatch):
            return _scan(view, offset), True


def _walk(view: View, offset: int) -> list[Held]:
    found: list[Held] = []
    end = view.log_end_offset
    while offset < end:
        data = view.read(offset, READ_BYTES, end).buffer
        following = offset
        for header in native.headers(data):
            if header.next_offset > offset:
                found.append(Held(header.base_offset, header.next_offset, header.leader_epoch, header.crc))
            following = header.next_offset
        if following <= offset:
            break
        offset = following
    return found


def _scan(view: View, offset: int) -> list[Held]:
    """What is good between the damage, by a look at every byte."""
    found: list[Held] = []
    ends = [*(segment.base_offset for segment in view.segments[1:]), view.log_end_offset]
    for segment, end in zip(view.segments, ends, strict=True):
        for good in segment.scan_damage(end, dense=segment.dense).good if end > offset else ():
            for header in native.headers(segment.read(good.position, good.end_position)):
                if header.next_offset > offset:
                    found.append(Held(header.base_offset, header.next_offset, header.leader_epoch, header.crc))
    return found


@contextmanager
def faults_aside(disk: SimDisk) -> Iterator[None]:
    """Let nothing fail while the judge looks."""
    planted, disk.faults.planted = disk.faults.planted, []
    try:
        yield
    finally:
        disk.faults.planted = planted
