"""`make bench`, or `python -m benchmarks [NAME...]`: measure, print the table, write it as JSON and draw it.

NAME picks files or functions by a part of their name (`bench_crc`, `append`). The results lie in build/bench unless
`--output` says otherwise; `--docs` also writes the page of the documentation that shows the last table.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import benchmarks
from benchmarks.support import picture, table
from benchmarks.support.bench import Bench
from benchmarks.support.rows import Row

ROOT = Path(__file__).resolve().parents[1]
ORDER = "crc encode decode append fetch lookup scan embedded group_commit recovery wire instructions".split()


def functions(names: list[str]) -> list[Callable[[Bench], None]]:
    """Every benchmark, or those whose `file.function` contains one of the names."""
    files = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name.startswith("bench_"))
    files.sort(key=lambda name: ORDER.index(name[6:]) if name[6:] in ORDER else len(ORDER))
    found = []
    for file in files:
        module = importlib.import_module(f"benchmarks.{file}")
        for name, value in vars(module).items():
            own = name.startswith("bench_") and getattr(value, "__module__", "") == module.__name__
            if own and (not names or any(part in f"{file}.{name}" for part in names)):
                found.append(value)
    return found


def main() -> int:
    """Run what was asked for; exit code 0 whatever the times, 1 when nothing has that name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of a file's or function's name")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a smaller file to recover")
    parser.add_argument("--dir", help="where to write while measuring (default: a temporary directory)")
    parser.add_argument("--output", default=str(ROOT / "build" / "bench"), help="where the results go")
    parser.add_argument("--record", action="store_true", help="write the baseline of bench_instructions anew")
    parser.add_argument("--docs", metavar="FILE", help="write the table as a page of the documentation too")
    args = parser.parse_args()
    chosen = functions(args.names)
    if not chosen:
        print(f"no benchmark has {' or '.join(args.names)} in its name", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="kstore-benchmarks-", dir=args.dir) as directory:
        bench = Bench(directory, quick=args.quick)
        bench.record = args.record
        bench.on_row = _show
        for function in chosen:
            begun_s = time.monotonic()
            function(bench)
            print(f"  ({function.__name__}: {time.monotonic() - begun_s:.1f} s)", file=sys.stderr, flush=True)
    _write(Path(args.output), bench.rows, args.docs)
    return 0


def _show(row: Row) -> None:
    if sys.stderr.isatty():
        print("  ".join(cell for cell in table.cells(row) if cell), file=sys.stderr, flush=True)


def _write(output: Path, rows: list[Row], docs: str | None) -> None:
    output.mkdir(parents=True, exist_ok=True)
    about = table.machine()
    print(table.text(rows))
    print(table.summary(rows))
    table.write_json(output / "results.json", rows)
    title = f"kstore on {about['processor']}, {about['processors']} processors, Python {about['python']}"
    reason = picture.draw(output / "results.svg", rows, title)
    print(f"{output}/results.json" + (f", {reason}" if reason else f", {output}/results.svg"), file=sys.stderr)
    if docs:
        page = Path(docs)
        page.write_text(_page(rows, about))
        if not reason:
            page.with_suffix(".svg").write_bytes((output / "results.svg").read_bytes())


def _page(rows: list[Row], about: dict[str, object]) -> str:
    facts = ", ".join(f"{key} {value}" for key, value in about.items() if key != "packages")
    return (
        "# Benchmarks\n\n"
        "Every row is a ratio measured in one run: kstore and what it is compared with take turns, round after round, "
        "and the median of the rounds' ratios counts. Repeat it with `make bench`.\n\n"
        f"Measured: {facts}; {about['packages']}.\n\n"
        f"{table.summary(rows)}.\n\n{table.markdown(rows)}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
