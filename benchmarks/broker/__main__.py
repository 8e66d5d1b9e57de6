"""`make bench-broker`, or `python -m benchmarks.broker [SECTION...]`: measure, print the table, write it, draw it.

SECTION is rest, raw or librdkafka; all by default. The results lie in build/bench-broker unless `--output` says
otherwise. Where others use the processors too, run it with precedence: `nice -n -20 make bench-broker`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.broker import clients, raw_frames, resting, results
from benchmarks.broker.run import Run
from benchmarks.broker.servers import ROOT, kafka_version
from benchmarks.support import table

SECTIONS: dict[str, Callable[[Run], None]] = {
    resting.SECTION: resting.measure,
    raw_frames.SECTION: raw_frames.measure,
    clients.SECTION: clients.measure,
}
"""In the order in which they run: what is said of rest comes before any work."""


def main() -> int:
    """Run what was asked for; exit code 0 whatever the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broker", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="one round of little work, a minute in all: does it run?")
    parser.add_argument("--rounds", type=int, help="rounds of each row (default: 5)")
    parser.add_argument("--dir", help="where the brokers keep their logs (default: a temporary directory)")
    parser.add_argument("--output", default=str(ROOT / "build" / "bench-broker"), help="where the results go")
    args = parser.parse_args()
    if unknown := sorted(set(args.sections) - set(SECTIONS)):
        parser.error(f"no section is called {' or '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="kstore-bench-broker-", dir=args.dir) as directory:
        run = Run(directory, quick=args.quick)
        if args.rounds:
            run.rounds = args.rounds
        if run.no_kafka:
            print(f"without Kafka: {run.no_kafka}", file=sys.stderr)
        with run:
            for name in args.sections or SECTIONS:
                begun_s = time.monotonic()
                SECTIONS[name](run)
                print(f"  ({name}: {time.monotonic() - begun_s:.1f} s)", file=sys.stderr, flush=True)
    _write(Path(args.output), run)
    return 0


def _write(output: Path, run: Run) -> None:
    output.mkdir(parents=True, exist_ok=True)
    about = {
        **table.machine(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "kafka": run.no_kafka or kafka_version(),
        "rounds": run.rounds,
    }
    print(results.text(run.rows))
    print(results.summary(run.rows))
    results.write_json(output / "results.json", run.rows, about)
    (output / "results.md").write_text(results.markdown(run.rows) + "\n")
    title = f"kstore's broker beside Kafka {about['kafka']}: {about['processor']}, {about['processors']} processors"
    reason = results.draw(output / "results.svg", run.rows, title)
    print(f"{output}/results.json" + (f", {reason}" if reason else f", {output}/results.svg"), file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
