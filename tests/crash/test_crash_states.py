"""Crash states of whole workloads, each recovered by the real recovery and held against what had been promised.

After each operation of a run on the simulated disk: what a power loss may leave, what `kill -9` leaves, and both with
the last write torn at each byte. Every record that was durable is there, nothing is invented, the log is a prefix of
what was submitted, recovery writes no byte of a record, and a second recovery changes no byte of any file.

`make test` takes a sample from a new seed; `make slow` all states of one seed, at least `STATES_AT_LEAST` of them, so
that nothing can shrink them unnoticed; `soak.py` all states of as many seeds as there is time for.
"""

from __future__ import annotations

import os

import pytest

from support.crash_check import states, walk
from support.workloads import WORKLOADS, run_workload

EVERY = int(os.environ.get("KSTORE_CRASH_EVERY", "40"))
SEED = 1
PARTS = 4
"""Each workload's states in so many tests, so that they spread over the processes of pytest-xdist."""
LOG_PATHS = ("appends", "rolls", "large batches", "checkpoints", "restarts", "truncations", "leaders", "starting over")
"""The workloads of the append, roll, flush, checkpoint and truncate paths."""
STATES_AT_LEAST = 100_000


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_sample_of_the_crash_states_keeps_what_was_promised(name, seed):
    run = run_workload(name, seed)
    done = walk(run.disk.trace, seed, every=EVERY, first=seed % EVERY)
    assert done["kill"] > 0
    assert done["power loss"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_crash_state_keeps_what_was_promised(name, part):
    run = run_workload(name, SEED)
    numbers = [state.number for state in states(run.disk.trace, SEED)]
    assert len(numbers) == numbers[-1]
    done = walk(run.disk.trace, SEED, every=PARTS, first=part)
    assert sum(done.values()) == sum(number % PARTS == part for number in numbers)


@pytest.mark.slow
def test_there_are_more_than_a_hundred_thousand_crash_states_and_always_the_same():
    count = {name: sum(1 for _ in states(run_workload(name, SEED).disk.trace, SEED)) for name in WORKLOADS}
    assert sum(count[name] for name in LOG_PATHS) >= STATES_AT_LEAST, count
    again = {name: sum(1 for _ in states(run_workload(name, SEED).disk.trace, SEED)) for name in ("appends", "topics")}
    assert again.items() <= count.items()
