"""What the judge reads back from logs whose bits were flipped: every batch that is good, whichever one is not."""

from __future__ import annotations

import pytest

from kstore.testing.simdisk import SimDisk
from kstore.testing.simulation.copies import Held, read_log
from support.stores import new_partition

HEADER_BYTES = 61
BATCHES = 6


def held(disk: SimDisk, partition: object, offset: int = 0) -> tuple[list[Held], bool]:
    return read_log(disk, partition.log.view, offset)  # type: ignore[attr-defined]


@pytest.mark.parametrize("byte", range(HEADER_BYTES))
def test_a_flipped_header_costs_its_own_batch_at_most(byte: int) -> None:
    for bad in (0, 2, BATCHES - 1):
        disk = SimDisk()
        _, partition = new_partition(disk)
        starts = []
        for number in range(BATCHES):
            starts.append(partition.segments[-1].size_bytes)
            partition.append([b"%d" % number] * 2)
        whole, damaged = held(disk, partition)
        assert ([batch.base_offset for batch in whole], damaged) == ([0, 2, 4, 6, 8, 10], False)
        disk.flip_bit(partition.segments[-1].path, (starts[bad] + byte) * 8 + byte % 8)
        partition.append([b"more"])  # a simulated mapping shows a flip only once it is made anew
        for offset in (0, 5):
            found, _ = held(disk, partition, offset)
            good = [batch for i, batch in enumerate(whole) if i != bad and batch.next_offset > offset]
            assert [batch for batch in found if batch in good] == good
            assert len(found) <= len(good) + 2, "those, what was appended, and the bad one"
