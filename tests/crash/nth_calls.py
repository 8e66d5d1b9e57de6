"""Every call of every workload failing in every way: `python tests/crash/nth_calls.py [SEED [CASE]]`.

Without a case it plays all of a seed, some 24,000 in a few minutes, and tells of each that broke a promise with the
command that plays it alone. A case is written as `rolls:half:EIO:17`. Run with `src` on PYTHONPATH.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.nth_call import Case, cases, play
from support.promises import BrokenPromise

EVERY = 1000
"""Cases between two signs of life."""


def main(seed: int, chosen: list[str]) -> int:
    logging.disable(logging.CRITICAL)
    broken = count = 0
    for case in [Case.parse(text) for text in chosen] or cases(seed):
        count += 1
        try:
            play(case, seed)
        except BrokenPromise as failure:
            broken += 1
            print(failure, flush=True)
        if count % EVERY == 0:
            print(f"seed {seed}: {count} cases, {broken} broken", flush=True)
    print(f"seed {seed}: {count} cases, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, sys.argv[2:]))
