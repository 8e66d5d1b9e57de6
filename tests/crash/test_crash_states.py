"""Crash states of whole workloads, each recovered by the real recovery and held against what had been promised.

After each operation of a run on the simulated disk: what a power loss may leave, what `kill -9` leaves, and both with
the last write torn at each byte. Every record that was durable is there, nothing is invented, the log is a prefix of
what was submitted, recovery writes no byte of a record, and a second recovery leaves logs and indexes as they are.
`KSTORE_CRASH_EVERY=1` takes every state instead of a sample: about 170,000 in a few minutes.
"""

from __future__ import annotations

import os

import pytest

from support.crash_check import walk
from support.workloads import WORKLOADS, run_workload

EVERY = int(os.environ.get("KSTORE_CRASH_EVERY", "20"))


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_crash_state_keeps_what_was_promised(name, seed):
    run = run_workload(name, 1)
    done = walk(run.disk.trace, seed % 1000, every=EVERY)
    assert done["kill"] > 0
    assert done["power loss"] > 0
