"""Cluster seeds without end: each run goes on where the ledger ends, and adds its row to it.

`python tests/simulation/soak.py --help` names the options; `make soak-simulate` calls it. The ledger
(tests/simulation/LEDGER.md) is committed with the change that the run was for, or alone. A finding is printed as the
simulator's command prints it, with one command that plays it again; the soak goes on behind it, up to ten of them.
Ended by a signal, it has lost at most the seeds of one block; the same code on the same day goes on in the
same row.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import subprocess
import sys
import time
from pathlib import Path

from kstore.testing.simulation.batch import run_seeds
from kstore.testing.simulation.command import FAILURES_MAX, describe_failure
from kstore.testing.simulation.ledger import Ledger, Row, totals
from kstore.testing.simulation.run import MINUTES

ROOT = Path(__file__).parents[2]
LEDGER = Path(__file__).parent / "LEDGER.md"
BLOCK = 50
"""Seeds between two updates of the row: a minute's work or less."""


def commit() -> str:
    """The code that runs."""
    head = _git("rev-parse", "--short=10", "HEAD")
    return head + ("+" if _git("status", "--porcelain", "--", "src") else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def begin(ledger: Ledger, date: str, code: str, first: int) -> Row:
    """The row to go on with: a new one, or the last one where the same code on the same day goes on behind it."""
    last = ledger.rows[-1] if ledger.rows else None
    if last is not None and (last.date, last.commit, last.next_seed) == (date, code, first):
        return last
    row = Row(date, code, first, 0, 0.0, 0.0)
    ledger.add(row)
    return row


def soak(ledger: Ledger, row: Row, end_s: float, seeds_max: int, jobs: int) -> Row:
    """Run blocks of seeds until `end_s` on the monotonic clock, or `seeds_max` seeds; the row as it is then."""
    end_seed, findings_max = row.next_seed + seeds_max, len(row.findings) + FAILURES_MAX
    while time.monotonic() < end_s and row.next_seed < end_seed and len(row.findings) < findings_max:
        seeds = range(row.next_seed, min(row.next_seed + BLOCK, end_seed))
        for outcome in run_seeds(seeds, MINUTES, jobs):
            findings = row.findings
            if outcome.failed:
                print(describe_failure(outcome), flush=True)
                findings += (f"seed {outcome.seed}: {outcome.invariant}",)
            row = row._replace(
                seeds=row.seeds + 1,
                simulated_hours=row.simulated_hours + outcome.simulated_us / 3.6e9,
                core_minutes=row.core_minutes + outcome.cpu_s / 60,
                findings=findings,
            )
        ledger.update(row)
        print(row, flush=True)
    return row


def main() -> int:
    """Run the soak; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10, help="how long to go on, in real time (10)")
    parser.add_argument("--seeds", type=int, default=sys.maxsize, help="at most so many seeds")
    parser.add_argument("--first", type=int, help="the first seed; by default the one behind the ledger's last")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--ledger", type=Path, default=LEDGER, help="the file with the table (LEDGER.md)")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    ledger = Ledger(arguments.ledger)
    first = ledger.next_seed if arguments.first is None else arguments.first
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    row = begin(ledger, today, commit(), first)
    known = len(row.findings)
    end_s = time.monotonic() + arguments.minutes * 60
    try:
        row = soak(ledger, row, end_s, arguments.seeds, arguments.jobs)
    except KeyboardInterrupt:
        row = ledger.rows[-1]
    print(totals(ledger.rows))
    return 1 if len(row.findings) > known else 0


if __name__ == "__main__":
    sys.exit(main())
