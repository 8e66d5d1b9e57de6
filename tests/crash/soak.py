"""Crash states without end: `python tests/crash/soak.py MINUTES [FIRST_SEED]` walks all workloads, seed after seed.

Each finished seed is a line on stdout with the states so far, so that a run is resumed by giving the next seed. The
first failure stops it with the one command that replays it. Run with `src` on PYTHONPATH, as `make soak` does.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.crash_check import walk
from support.promises import BrokenPromise
from support.workloads import WORKLOADS, run_workload


def main(minutes: float, seed: int) -> int:
    logging.disable(logging.CRITICAL)
    end = time.monotonic() + minutes * 60
    states = 0
    while time.monotonic() < end:
        for name in sorted(WORKLOADS):
            try:
                states += sum(walk(run_workload(name, seed).disk.trace, seed).values())
            except BrokenPromise as failure:
                print(f"{name}, seed {seed}: {failure}\nreplay: python tests/crash/soak.py 1 {seed}")
                return 1
            if time.monotonic() >= end:
                break
        print(f"seed {seed}: {states} states so far", flush=True)
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
