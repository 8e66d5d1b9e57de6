"""S21: a crash inside recovery, inside the recovery after that, and inside the next: the end is always the same.

Each case takes crash states of one workload. Of each it kills the recovery at every step, or lets the power go at
drawn ones, goes on three crashes deep, and compares every file with what a recovery leaves that nothing disturbs.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from kstore.testing.simdisk import SimDisk
from support.crash_check import states
from support.crash_nested import MortalDisk, crash_inside, kill_inside, recovered
from support.stores import flip_byte, kill, new_partition
from support.workloads import WORKLOADS, run_workload

DEPTH = 3


def drawn_states(name, seed, count):
    """Crash states of a workload, from those that leave recovery most to do: torn writes and lost pages."""
    found = [state for state in states(run_workload(name, seed).disk.trace, seed) if state.number % 7 == 0]
    return random.Random(seed).sample(found, count)


def crash_all(name, seed, count):
    ends: Counter[int] = Counter()
    for state in drawn_states(name, seed, count):
        ends += crash_inside(state.image, seed, DEPTH)
        ends += kill_inside(state.image, seed, DEPTH)
    return ends


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_crash_at_any_step_of_a_recovery_ends_as_if_there_had_been_none(name, seed):
    ends = crash_all(name, seed, 1)
    assert all(ends[depth] > 0 for depth in range(1, DEPTH + 1)), ends


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_many_recoveries_crash_three_deep(name, seed):
    ends = crash_all(name, seed, 8)
    assert ends.total() > 1000, ends


def test_a_recovery_can_die_at_each_of_its_changes():
    (state,) = drawn_states("rolls", 1, 1)
    steps = len(recovered(state.image).trace.operations)
    assert steps > 5
    lived = [MortalDisk(state.image).recover(after) for after in range(1, steps + 2)]
    assert lived == [False] * steps + [True]


def test_a_crash_while_segments_are_set_aside_ends_as_always_where_offsets_may_be_missing():
    """A compacted topic's log may have holes: segments behind a cut would pass for good if the cut came first."""
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=400, **{"cleanup.policy": "compact"})
    for _ in range(6):
        partition.append([b"k" * 50] * 2)
    assert len(partition.segments) == 3
    kill(store)
    flip_byte(disk, partition.segments[0].path, disk.size(partition.segments[0].path) - 5)
    kept = [path for path in recovered(disk.image()).files() if path.endswith(".corrupt")]
    assert len(kept) == 3
    assert crash_inside(disk.image(), 1, DEPTH)
    assert kill_inside(disk.image(), 1, DEPTH)
