"""I25: the same seed and the same code do the same, in any process, under any hash seed, recorded or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from kstore.testing.simulation.run import shape_of, simulate

SOURCES = Path(__file__).parents[2] / "src"
SEEDS, MINUTES = 6, 3
FIRST = 40


def hashes(hash_seed: str) -> dict[int, str]:
    """The trace hashes of some seeds, from a process of its own."""
    command = ["-m", "kstore.testing.simulation", "--seed", str(FIRST), "--seeds", str(SEEDS)]
    done = subprocess.run(
        [sys.executable, *command, "--minutes", str(MINUTES), "--json"],
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    lines = map(json.loads, done.stdout.splitlines()[:-1])
    return {line["seed"]: line["trace_hash"] for line in lines}


def test_the_same_trace_under_any_hash_seed() -> None:
    first, second, here = hashes("1"), hashes("4242"), {}
    assert list(first) == list(range(FIRST, FIRST + SEEDS))
    assert len(set(first.values())) == SEEDS, "seeds differ"
    assert first == second
    for seed in range(FIRST, FIRST + 2):  # and in a process that has simulated others before
        here[seed] = simulate(seed, minutes=MINUTES).trace_hash
    assert here == {seed: first[seed] for seed in here}


def test_recording_changes_nothing() -> None:
    quiet, told = simulate(7, minutes=2), simulate(7, minutes=2, record=True)
    assert quiet.trace_hash == told.trace_hash
    assert (quiet.events, quiet.steps, quiet.counts) == (told.events, told.steps, told.counts)
    assert len(told.story) > 100
    assert not quiet.story


def test_the_schedule_decides_what_happens() -> None:
    options, entries = shape_of(7, 2)
    assert simulate(7, minutes=2).trace_hash == simulate(7, minutes=2, options=options, entries=entries).trace_hash
    assert simulate(7, minutes=2).trace_hash != simulate(7, minutes=2, entries=entries[1:]).trace_hash
    assert shape_of(7, 2) == (options, entries)
    assert shape_of(8, 2) != (options, entries)
